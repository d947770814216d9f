#include "examples/trainer/run/resume.h"

#include <stepsize/checkpoint/checkpoint_folder.h>
#include <stepsize/checkpoint/checkpoint_info.h>

#include <charconv>
#include <cmath>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "examples/trainer/cli/option_values.h"
#include "examples/trainer/cli/text.h"
#include "examples/trainer/run/run_checkpoints.h"

namespace stepsize::trainer {
namespace {

std::int64_t epochs_of(const RunRecord& record) {
  return record.stretches.empty() ? record.planned_epochs
                                  : record.stretches.back().epochs;
}

std::string run_in(const TrainOptions& options) {
  return "the run in " + options.out.string();
}

// Updates after which so many images have been seen.
std::int64_t updates_after(
    std::int64_t seen, const TrainOptions& options, std::int64_t images) {
  const std::int64_t batch = options.whole_batch() * options.accumulate;
  return seen / images * updates_an_epoch(options, images) +
         (seen % images + batch - 1) / batch;
}

// The update at which a schedule of this length ends.
double schedule_end(
    double length,
    const RunRecord& record,
    const TrainOptions& options,
    std::int64_t images) {
  const std::int64_t epoch = updates_an_epoch(options, images);
  std::int64_t epochs = record.planned_epochs;
  for (const auto& stretch : record.stretches) {
    length = extended_length(
        length,
        updates_after(stretch.images, options, images),
        epochs * epoch,
        stretch.epochs * epoch);
    epochs = stretch.epochs;
  }
  return length;
}

// A factor below this is none: the end of a cosine is not 0 to the last bit.
constexpr double kNoRate = 1e-9;

// The training images that data_text() begins with; 0 where it does not.
std::int64_t images_of(const RunRecord& record) {
  std::int64_t images = 0;
  const char* text = record.data.data();
  std::from_chars(text, text + record.data.size(), images);
  return images;
}

// Whether a schedule that ends there has ended; its parts may not add up to the
// last digit.
bool has_come_to(double end, std::int64_t step) {
  constexpr double kRounding = 1e-6;
  return end < static_cast<double>(step) + kRounding;
}

// The update at which the schedule of a run that has ended has come down to 0.
// Nothing where it has not, or where that cannot be told before the images are
// read: `is_known` is then false.
std::optional<double> end_at_zero(const RunRequest& request, bool& is_known) {
  const std::int64_t images = images_of(*request.earlier);
  is_known = images > 0 && request.options.batch_schedule == 0;
  if (!is_known) {
    return std::nullopt;
  }
  std::ostringstream nowhere;
  const auto options = fit_to_data(request.options, images, nowhere);
  const Schedule factor =
      first_schedule(request, options, images, nowhere).factor;
  const double end =
      schedule_end(factor.length(), *request.earlier, options, images);
  const bool is_at_zero = has_come_to(end, request.earlier->step) &&
                          factor(factor.length()) < kNoRate;
  return is_at_zero ? std::make_optional(end) : std::nullopt;
}

// Whether that checkpoint was saved before update `end`.
bool is_before(const std::string& checkpoint, double end) {
  try {
    const auto info = read_checkpoint_info(checkpoint);
    return !has_come_to(end, to_record(info.values).step);
  } catch (const std::exception&) {
    // A damaged one is of no use either.
    return false;
  }
}

// How a run becomes longer all the same whose rate has come to 0 at `end`.
std::string advice_at_zero(const TrainOptions& options, double end) {
  const auto numbered =
      CheckpointFolder(checkpoint_folder(options.out).string()).paths();
  return numbered.size() > 1 && is_before(numbered[numbered.size() - 2], end)
             ? "To go on from the checkpoint before it remove " +
                   numbered.back()
             : "There is no earlier checkpoint to go on from: begin a new run "
               "with more epochs";
}

}  // namespace

RunRequest read_request(const CommandLine& command, std::ostream& err) {
  if (!command.resume) {
    return {command.options, std::nullopt};
  }
  const auto& out = command.options.out;
  RunRecord record = read_record(out, err);
  auto options =
      options_from(resumed_options(record.options, command.given, out));
  options.out = out;
  options.profile = command.options.profile;
  options.export_file = command.options.export_file;
  options.tensorboard = command.options.tensorboard;
  if (options.world_size != command.options.world_size) {
    throw std::invalid_argument(
        "--resume: " + run_in(options) + " is one of " +
        std::to_string(options.world_size) +
        (options.world_size == 1 ? " process" : " processes") +
        "; start as many, not " + std::to_string(command.options.world_size) +
        (options.world_size == 1 ? "" : ", as scripts/launch.sh does"));
  }
  options.rank = command.options.rank;
  options.local_rank = command.options.local_rank;
  options.master = command.options.master;
  options.timeout = command.options.timeout;
  return {options, std::move(record)};
}

std::string nothing_left(const RunRequest& request) {
  if (!request.earlier) {
    return {};
  }
  const auto& options = request.options;
  const std::int64_t done = request.earlier->epochs_done;
  const std::string after = " after " + counted(done, "epoch");
  const std::string to_export =
      options.export_file.empty()
          ? ""
          : "; --evaluate " +
                (checkpoint_folder(options.out) / "best.ckpt").string() +
                " --export writes its weights";
  if (request.earlier->stopped_early) {
    return run_in(options) + " stopped early" + after +
           ": there is nothing left to do" + to_export;
  }
  const bool has_ended = done == epochs_of(*request.earlier);
  const bool lacks_table =
      options.ensemble > 0 &&
      !std::filesystem::exists(options.out / "ensemble.csv");
  if (has_ended && options.epochs == done && lacks_table) {
    // It was stopped while its snapshots were tested.
    return {};
  }
  if (options.epochs < done || (options.epochs == done && !has_ended)) {
    throw std::invalid_argument(
        "--epochs " + std::to_string(options.epochs) + ": " + run_in(options) +
        " has done " + counted(done, "epoch") + " already");
  }
  if (options.epochs > done) {
    return {};
  }
  bool is_known = false;
  if (const auto at_zero = end_at_zero(request, is_known)) {
    return run_in(options) + " has ended" + after +
           " at a rate of 0, and more --epochs change nothing. " +
           advice_at_zero(options, *at_zero) + to_export;
  }
  return run_in(options) + " has ended" + after +
         "; a larger --epochs makes it longer" +
         (is_known ? "" : ", unless its schedule ended at a rate of 0") +
         to_export;
}

void check_data(const RunRequest& request, const std::string& data) {
  if (request.earlier && request.earlier->data != data) {
    throw std::invalid_argument(
        "--data-dir " + request.options.data_dir.string() + ": it has\n  " +
        data + ",\nand " + run_in(request.options) + " was trained on\n  " +
        request.earlier->data);
  }
}

RunSchedule first_schedule(
    const RunRequest& request,
    TrainOptions options,
    std::int64_t images,
    std::ostream& err) {
  if (!request.earlier) {
    return plan_schedule(options, images, err);
  }
  options.epochs = request.earlier->planned_epochs;
  std::ostringstream said_before;
  return plan_schedule(options, images, said_before);
}

bool set_length(
    RunRecord& record,
    RunSchedule& run_schedule,
    ScheduleLR& scheduler,
    const TrainingState& state,
    const TrainOptions& options,
    std::int64_t images,
    std::ostream& out) {
  const bool is_new = options.epochs != epochs_of(record);
  const bool is_longer = options.epochs > epochs_of(record);
  const bool had_ended = state.epoch > epochs_of(record);
  if (is_new) {
    record.stretches.push_back({state.images, options.epochs});
  }
  lengthen(run_schedule, record.stretches, options, images);
  const double length = scheduler.schedule().length();
  const double end = schedule_end(length, record, options, images);
  if (run_schedule.growing ? !record.stretches.empty() : end != length) {
    run_schedule.text += " (stretched)";
  }
  if (!is_new) {
    return false;
  }
  const auto step = static_cast<double>(state.step);
  if (run_schedule.growing) {
    // The update that comes next may have got another batch.
    scheduler.seek(state.step);
  } else if (!had_ended && std::isfinite(end) && end > step) {
    scheduler.extend(static_cast<std::int64_t>(end));
  }
  const bool schedule_ended =
      run_schedule.growing ? had_ended : has_come_to(end, state.step);
  if (!schedule_ended) {
    return true;
  }
  const double factor = scheduler.get_last_lr().front() / record.lr;
  if (is_longer && factor < kNoRate) {
    throw std::invalid_argument(
        "--epochs " + std::to_string(options.epochs) +
        ": the schedule has come to its end at a rate of 0, at which more "
        "epochs change nothing. " +
        advice_at_zero(options, end));
  }
  if (had_ended) {
    out << format(
        "the schedule has ended: its last factor, %.3g, stays\n", factor);
  }
  return true;
}

}  // namespace stepsize::trainer
