#include "run_end.h"

#include <exception>
#include <ostream>

#include "model_export.h"
#include "run.h"
#include "run_text.h"
#include "text.h"

namespace stepsize::trainer {
namespace {

std::string resume_command(const TrainOptions& options) {
  const std::string arguments =
      "--resume --out " + shell_word(options.out.string());
  return options.world_size == 1
             ? "stepsize-train " + arguments
             : "scripts/launch.sh -n " + std::to_string(options.world_size) +
                   " -- " + arguments;
}

}  // namespace

void say_as(
    const TrainOptions& options,
    const std::string& message,
    std::ostream& err) {
  err << "stepsize-train: ";
  if (options.rank != 0) {
    err << "rank " << options.rank << ": ";
  }
  err << message << '\n' << std::flush;
}

void draw_what_there_is(const RunLog& log, std::ostream& err) {
  try {
    log.draw();
  } catch (const std::exception& error) {
    err << "warning: " << error.what() << '\n';
  }
}

int report_stop(
    const TrainOptions& options,
    const std::string& what,
    const RunCheckpoints& checkpoints,
    int signal,
    std::ostream& err) {
  std::string message = "stopped by " + signal_name(signal) + what;
  if (options.checkpoint_every == 0) {
    message += ", and not saved, as --checkpoint-every 0 has it";
  } else if (!checkpoints.error().empty()) {
    message += ", and could not be saved: " + checkpoints.error();
  } else {
    message += "\nsaved in " + checkpoints.newest().value_or("") +
               "\nto go on: " + resume_command(options);
  }
  say_as(options, message, err);
  return kSignal + signal;
}

int report_divergence(
    const TrainOptions& options,
    const DivergedError& error,
    const RunLog& log,
    bool recovers,
    RunCheckpoints& checkpoints,
    std::ostream& err) {
  const auto& epochs = log.epochs();
  const bool went_well_in_test = error.lost_after() < error.result().step &&
                                 !epochs.empty() &&
                                 epochs.back().step == error.lost_after();
  if (!went_well_in_test) {
    checkpoints.remove(error.lost_after());
  }
  std::string message = error.what();
  message += options.safety ? ". Try a lower --safety."
                            : ". Try a lower --lr, --lr auto or a longer "
                              "warm-up.";
  const auto newest = checkpoints.newest();
  const auto best = checkpoints.best();
  if (newest) {
    message += " The last checkpoint before: " + *newest;
  }
  // What has been saved since the loss began to rise may be of no use.
  if (best && recovers) {
    message += (newest ? ", and the best: " : " The best checkpoint: ") + *best;
  }
  say_as(options, message, err);
  return kDiverged;
}

int report_lost_rank(
    const TrainOptions& options,
    const RankLostError& error,
    const std::function<bool()>& save,
    const RunCheckpoints& checkpoints,
    std::ostream& err) {
  std::string message = error.what_without_backtrace();
  bool saved = false;
  if (save) {
    try {
      saved = save();
      if (!saved) {
        message += ". The run could not be saved: " + checkpoints.error();
      }
    } catch (const std::exception& failure) {
      message += std::string(". The run could not be saved: ") + failure.what();
    }
  }
  // Of more than two, what one that may not write finds is not the last word.
  const bool knows_newest = options.rank == 0 || options.world_size == 2;
  if (const auto path = checkpoints.newest(); path && knows_newest) {
    message += (saved ? "\nsaved in " : "\nthe last checkpoint: ") + *path +
               "\nto go on: " + resume_command(options);
  }
  say_as(options, message, err);
  return kRankLost;
}

int report_end(
    const RunSetup& setup,
    const RunLog& log,
    const EarlyStopping* stopping,
    const Updater& updater,
    const RunCheckpoints& checkpoints,
    double seconds,
    const Console& console) {
  const auto& epochs = log.epochs();
  const bool has_best = stopping != nullptr && stopping->best_step() >= 0;
  report_result(
      epochs,
      has_best ? static_cast<std::size_t>(stopping->best_step())
               : epochs.size() - 1,
      stopping != nullptr && stopping->stopped(),
      seconds,
      console.out);
  for (const auto& line : updater.summary()) {
    console.out << setup.options.optimizer << ": " << line << '\n';
  }
  if (setup.options.profile) {
    console.out << "\nwhere the time of the updates went:\n";
    for (const auto& line : setup.timer.report()) {
      console.out << "  " << line << '\n';
    }
  }
  console.out << '\n';
  report_summary(epochs, setup.options.out, console.out);
  if (!setup.options.export_file.empty()) {
    export_weights(setup.model, setup.normalization, setup.options.export_file);
    console.out << "weights: " << setup.options.export_file.string() << '\n';
  }
  if (!log.error().empty()) {
    console.err << "warning: the log lacks its last rows: " << log.error()
                << '\n';
  }
  if (!checkpoints.error().empty()) {
    console.err << "warning: the last checkpoint could not be saved; "
                << (checkpoints.newest()
                        ? "the newest one is " + *checkpoints.newest()
                        : "there is none")
                << '\n';
  }
  return kDone;
}

}  // namespace stepsize::trainer
