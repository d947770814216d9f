#include "examples/trainer/run/run.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <stepsize/adaptive/snapshot_ensemble.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/distributed/broadcast.h>
#include <stepsize/distributed/overlapped_reduction.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/tune/early_stopping.h>
#include <torch/torch.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <stepsize/distributed/sync_batch_norm.h>
#include "examples/trainer/cli/option_values.h"
#include "examples/trainer/cli/text.h"
#include "examples/trainer/data/batch_source.h"
#include "examples/trainer/data/image_set.h"
#include "examples/trainer/data/run_images.h"
#include "examples/trainer/loop/choose_lr.h"
#include "examples/trainer/loop/optimizer_table.h"
#include "examples/trainer/loop/phase_timer.h"
#include "examples/trainer/loop/run_schedule.h"
#include "examples/trainer/loop/tested_ensemble.h"
#include "examples/trainer/loop/train.h"
#include "examples/trainer/loop/trained_optimizer.h"
#include "examples/trainer/loop/training_state.h"
#include "examples/trainer/loop/watched_curvature.h"
#include "examples/trainer/model/image_model.h"
#include "examples/trainer/model/model_export.h"
#include "examples/trainer/run/comparison.h"
#include "examples/trainer/run/evaluate_run.h"
#include "examples/trainer/run/machine.h"
#include "examples/trainer/run/processes.h"
#include "examples/trainer/run/progress.h"
#include "examples/trainer/run/resume.h"
#include "examples/trainer/run/run_checkpoints.h"
#include "examples/trainer/run/run_folder.h"
#include "examples/trainer/run/run_log.h"
#include "examples/trainer/run/run_report.h"
#include "examples/trainer/run/run_text.h"
#include "examples/trainer/run/stop_signal.h"
#include "examples/trainer/run/tensorboard_log.h"

namespace stepsize::trainer {
namespace {

// The signal that any process has received; 0: none.
class AgreedSignal {
 public:
  // Both must outlive this; `ranks` is null where the process is alone.
  AgreedSignal(const StopSignals& own, Reduction* ranks)
      : own_(own), ranks_(ranks) {}

  // To be asked by all of them.
  int received() {
    const int own = own_.received();
    last_ = ranks_ != nullptr ? static_cast<int>(ranks_->max(own)) : own;
    return last_;
  }
  // The last answer.
  int last() const { return last_; }

 private:
  const StopSignals& own_;
  Reduction* ranks_;
  int last_ = 0;
};

// What a run is made of once all that was asked for has been checked; nothing
// is owned.
struct RunSetup {
  const RunRequest& request;
  // Those of the request, fit to the data.
  const TrainOptions& options;
  RunSchedule& run_schedule;
  double lr;
  const std::string& data;
  std::int64_t classes;
  ImageModel& model;
  const Normalization& normalization;
  BatchSource& train;
  BatchSource& test;
  BatchSource* statistics;
  PhaseTimer& timer;
  AgreedSignal& signal;
  // Null where this process is alone.
  const std::shared_ptr<Reduction>& ranks;

  // Whether this process writes files.
  bool is_first() const { return options.rank == 0; }
};

std::string resume_command(const TrainOptions& options) {
  const std::string arguments =
      "--resume --out " + shell_word(options.out.string()) +
      (options.tensorboard.empty()
           ? ""
           : " --tensorboard " + shell_word(options.tensorboard.string()));
  return options.world_size == 1
             ? "stepsize-train " + arguments
             : "scripts/launch.sh -n " + std::to_string(options.world_size) +
                   " -- " + arguments;
}

// "stepsize-train: MESSAGE", with its rank where the process is not the first.
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

// Draws the pictures after a failure, whose message a second one must not
// hide.
void draw_what_there_is(const RunLog& log, std::ostream& err) {
  try {
    log.draw();
  } catch (const std::exception& error) {
    err << "warning: " << error.what() << '\n';
  }
}

// By a signal. `what`: how far the run came (" after update 74 of 141").
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

// By a hopeless loss. Removes the checkpoint with the weights that gave it.
// `recovers`: the best checkpoint may be of use.
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
  const bool has_rate = optimizer_row(options.optimizer).finds_rate.empty();
  message += options.safety ? ". Try a lower --safety."
             : has_rate     ? ". Try a lower --lr, --lr auto or a longer "
                              "warm-up."
                            : ". Try a lower --lr or a longer warm-up.";
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

// By the loss of another process. `save` saves what all had done, false where
// checkpoints.error() says why not; null where this process may not write. Of
// more than two such a one does not speak of checkpoints: another may be about
// to save one.
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

// As it should.
int report_end(
    const RunSetup& setup,
    const RunLog& log,
    const EarlyStopping* stopping,
    const TrainedOptimizer& optimizer,
    const std::vector<EnsembleRow>& ensemble,
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
  for (const auto& line : optimizer.summary()) {
    console.out << setup.options.optimizer << ": " << line << '\n';
  }
  if (const auto line = curvature_text(log.place().curvature); !line.empty()) {
    console.out << "curvature: " << line << '\n';
  }
  if (report_ensemble(ensemble, setup.options.out, console)) {
    draw_what_there_is(log, console.err);  // a report with its table
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
  if (!setup.options.tensorboard.empty()) {
    console.out << "curves: tensorboard --logdir "
                << shell_word(setup.options.tensorboard.string()) << '\n';
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

// Says what goes wrong with log and pictures: once, until it is another thing.
class LogWatch {
 public:
  void look(const RunLog& log, Progress& progress, std::ostream& err);
  void draw(const RunLog& log, Progress& progress, std::ostream& err);

 private:
  std::string said_;
};

// The training of a run, with its log and checkpoints, from the set-up to the
// report.
class TrainingRun {
 public:
  // Makes optimizer and scheduler, loads what a run that goes on has saved, and
  // opens the log. Where loading or opening throws on one process, it throws
  // on all. Set-up and console must live as long as this does.
  TrainingRun(const RunSetup& setup, const Console& console);
  TrainingRun(const TrainingRun&) = delete;
  TrainingRun& operator=(const TrainingRun&) = delete;

  // Trains and reports; returns the exit status.
  int run();

 private:
  bool saves() const { return setup_.options.checkpoint_every != 0; }
  bool resumes() const { return setup_.request.earlier.has_value(); }
  EarlyStopping* early_stopping() { return stopping_ ? &*stopping_ : nullptr; }
  CurvatureMonitor* monitor() { return monitor_ ? &*monitor_ : nullptr; }
  SnapshotEnsemble* ensemble() { return ensemble_ ? &*ensemble_ : nullptr; }
  void open_log(const LogPlace& place, bool has_new_length);
  template <typename Result>
  void hear(const Result& result);
  TrainingEnd train_on();
  bool test_snapshots();
  void save(std::optional<double> test_loss);
  // What all had done before another process was lost.
  bool save_for_lost();
  void draw();
  template <typename Result>
  void tell_tensorboard(const Result& result);
  void show_pictures();
  void warn_of_tensorboard();

  const RunSetup& setup_;
  const Console& console_;
  std::chrono::steady_clock::time_point start_ =
      std::chrono::steady_clock::now();
  std::unique_ptr<TrainedOptimizer> optimizer_;
  ScheduleLR scheduler_;
  std::optional<EarlyStopping> stopping_;
  std::optional<CurvatureMonitor> monitor_;
  std::optional<SnapshotEnsemble> ensemble_;
  TrainingState state_;
  RunCheckpoints checkpoints_;
  RunPlan plan_;
  // Of the first process only.
  std::optional<RunLog> log_;
  std::optional<TensorBoardLog> board_;
  LastRows last_rows_;
  std::vector<EnsembleRow> ensemble_rows_;
  LogWatch watch_;
  std::optional<Progress> progress_;
};

RunPlan run_plan(const RunSetup& setup) {
  const auto& options = setup.options;
  const auto& run_schedule = setup.run_schedule;
  RunPlan plan{
      run_schedule.factor, setup.lr, run_schedule.updates, options.max_norm};
  describe_for_report(options, setup.data, plan);
  const auto& row = optimizer_row(options.optimizer);
  plan.rate = !row.finds_rate.empty() ? RateOrigin::kFound
              : row.learns_rate       ? RateOrigin::kLearned
                                      : RateOrigin::kSchedule;
  plan.monitors = !options.monitor.empty();
  plan.batch_varies = options.accumulate > 1 || options.batch_schedule > 0;
  if (options.policy == "sharpness") {
    plan.stability_limit = max_stable_lr(
        /*lambda=*/1,
        options.momentum,
        /*nesterov=*/false,
        MomentumLimit::kEffectiveRate);
  }
  return plan;
}

// The record of a new run, or of one that goes on and whose checkpoint is yet
// to be loaded.
RunRecord new_record(
    const TrainOptions& asked, const std::string& data, double lr) {
  RunRecord record;
  record.options = option_values(asked);
  record.options["--data-dir"] =
      std::filesystem::absolute(asked.data_dir).string();
  // Another number of threads adds up in another order.
  record.options["--threads"] = std::to_string(at::get_num_threads());
  record.data = data;
  record.lr = lr;
  record.planned_epochs = asked.epochs;
  return record;
}

// Of a run that has got another length the scheduler knows the rates.
RunPlan stretched(RunPlan plan, const ScheduleLR& scheduler) {
  plan.schedule = callable([&scheduler, lr = plan.lr](double update) {
    return scheduler.lr_at(static_cast<std::int64_t>(update)).front() / lr;
  });
  return plan;
}

// All must have seen the same folder.
void check_one_checkpoint(
    Reduction* ranks,
    std::int64_t step,
    const ImageModel& model,
    const TrainOptions& options) {
  if (ranks == nullptr) {
    return;
  }
  auto tensors = model.parameters();
  for (const auto& buffer : model.buffers()) {
    tensors.push_back(buffer);
  }
  const auto own = static_cast<double>(step);
  bool same = !ranks->any(ranks->max(own) != own);
  if (same) {
    try {
      check_same(tensors, *ranks);
    } catch (const RankLostError&) {
      throw;
    } catch (const c10::Error&) {
      // On all of them.
      same = false;
    }
  }
  TORCH_CHECK(
      same,
      "--resume: the processes have found different checkpoints in ",
      checkpoint_folder(options.out).string(),
      "; they must share the folder of --out");
}

std::optional<EarlyStopping> make_stopping(const RunSetup& setup) {
  const auto epochs = setup.options.early_stop;
  if (epochs == 0) {
    return std::nullopt;
  }
  return std::make_optional<EarlyStopping>(
      setup.model, EarlyStoppingOptions().patience(epochs - 1));
}

std::optional<SnapshotEnsemble> make_ensemble(const RunSetup& setup) {
  if (setup.options.ensemble == 0) {
    return std::nullopt;
  }
  return std::make_optional<SnapshotEnsemble>(
      setup.model,
      SnapshotEnsembleOptions().max_snapshots(setup.options.ensemble));
}

void LogWatch::look(const RunLog& log, Progress& progress, std::ostream& err) {
  if (said_ == log.error()) {
    return;
  }
  said_ = log.error();
  progress.clear();
  err << "warning: "
      << (said_.empty() ? "the log has been made up for"
                        : said_ + "; the run goes on, and the rows wait")
      << '\n';
}

void LogWatch::draw(const RunLog& log, Progress& progress, std::ostream& err) {
  try {
    log.draw();
  } catch (const std::exception& error) {
    progress.clear();
    err << "warning: " << error.what() << '\n';
  }
}

TrainingRun::TrainingRun(const RunSetup& setup, const Console& console)
    : setup_(setup),
      console_(console),
      optimizer_(make_optimizer(
          setup.model, optimizer_choice(setup.options, setup.lr, setup.ranks))),
      scheduler_(optimizer_->inner(), setup.run_schedule.factor),
      stopping_(make_stopping(setup)),
      monitor_(make_monitor(*optimizer_, setup.options)),
      ensemble_(make_ensemble(setup)),
      checkpoints_(
          setup.options.out,
          {setup.model,
           *optimizer_,
           scheduler_,
           setup.train,
           state_,
           early_stopping(),
           monitor(),
           ensemble()},
          new_record(setup.request.options, setup.data, setup.lr)),
      plan_(run_plan(setup)) {
  LogPlace place;
  bool has_new_length = false;
  if (resumes()) {
    together(setup_.ranks.get(), [&] {
      place = checkpoints_.load();
      has_new_length = set_length(
          checkpoints_.record(),
          setup_.run_schedule,
          scheduler_,
          state_,
          setup_.options,
          setup_.train.size(),
          console_.out);
    });
    check_one_checkpoint(
        setup_.ranks.get(), state_.step, setup_.model, setup_.options);
    plan_ = run_plan(setup_);
    if (!checkpoints_.record().stretches.empty()) {
      plan_ = stretched(std::move(plan_), scheduler_);
    }
  }
  last_rows_.start_at(place);
  together(setup_.ranks.get(), [&] {
    if (setup_.is_first()) {
      open_log(place, has_new_length);
    }
  });
}

void TrainingRun::open_log(const LogPlace& place, bool has_new_length) {
  // First: where it throws, the run that was there is still whole.
  if (!setup_.options.tensorboard.empty()) {
    board_.emplace(
        setup_.options.tensorboard,
        option_values(setup_.request.options),
        place.steps);
  }
  // An earlier one would pass for that of the run which goes on or begins.
  std::filesystem::remove(setup_.options.out / "ensemble.csv");
  if (resumes()) {
    log_.emplace(setup_.options.out, plan_, place);
    if (has_new_length && saves()) {
      checkpoints_.save(*log_, std::nullopt);
    }
  } else {
    // Before the log, so that they never stand beside the log of another run.
    checkpoints_.clear();
    log_.emplace(setup_.options.out, plan_);
  }
}

void TrainingRun::warn_of_tensorboard() {
  if (board_ && !board_->error().empty()) {
    progress_->clear();
    console_.err << "warning: " << board_->error()
                 << "; the run goes on without --tensorboard\n";
    board_.reset();
  }
}

template <typename Result>
void TrainingRun::tell_tensorboard(const Result& result) {
  if (board_) {
    board_->add(result);
    warn_of_tensorboard();
  }
}

void TrainingRun::show_pictures() {
  if (board_ && log_) {
    board_->add_pictures(setup_.options.out, log_->place().steps);
    warn_of_tensorboard();
  }
}

void TrainingRun::draw() {
  progress_->clear();
  if (log_) {
    draw_what_there_is(*log_, console_.err);
    show_pictures();
  }
}

template <typename Result>
void TrainingRun::hear(const Result& result) {
  last_rows_.add(result);
  if (log_) {
    log_->add(result);
    watch_.look(*log_, *progress_, console_.err);
  }
  tell_tensorboard(result);
}

void TrainingRun::save(std::optional<double> test_loss) {
  if (saves() && log_ && !checkpoints_.save(*log_, test_loss)) {
    progress_->clear();
    console_.err << "warning: a checkpoint could not be saved, and the run "
                 << "goes on: " << checkpoints_.error() << '\n';
  }
}

bool TrainingRun::save_for_lost() {
  if (log_) {
    return checkpoints_.save(*log_, std::nullopt);
  }
  RunLog completed = last_rows_.complete(setup_.options.out, plan_);
  draw_what_there_is(completed, console_.err);
  completed.sync();
  return checkpoints_.save_for_other(completed.place());
}

TrainingEnd TrainingRun::train_on() {
  TrainingListener listener;
  listener.on_step = [&](const StepResult& result) {
    hear(result);
    progress_->add(result);
  };
  listener.on_epoch = [&](const EpochResult& result) {
    hear(result);
    if (log_) {
      watch_.draw(*log_, *progress_, console_.err);
    }
    progress_->add(result);
  };
  listener.on_curvature = [&](const CurvatureMeasurement& row) {
    if (log_) {
      log_->add(row);
      watch_.look(*log_, *progress_, console_.err);
    }
    tell_tensorboard(row);
  };
  listener.on_test = [&](std::int64_t epoch, std::int64_t images) {
    progress_->add_test(epoch, images);
  };
  listener.should_stop = [&] { return setup_.signal.received() != 0; };
  listener.on_pause = [&](std::optional<double> test_loss) { save(test_loss); };
  return train(
      {setup_.model,
       *optimizer_,
       scheduler_,
       setup_.train,
       setup_.test,
       setup_.statistics,
       setup_.timer,
       setup_.classes,
       setup_.options.epochs,
       setup_.run_schedule.micro_batches,
       early_stopping(),
       setup_.options.checkpoint_every.value_or(0),
       setup_.ranks.get(),
       monitor(),
       ensemble(),
       setup_.run_schedule.updates},
      state_,
      listener);
}

// False where a signal ended it.
bool TrainingRun::test_snapshots() {
  if (!ensemble_) {
    return true;
  }
  const auto rows = test_ensemble(
      *ensemble_,
      setup_.model,
      setup_.test,
      *setup_.statistics,
      [&] { return setup_.signal.received() != 0; },
      setup_.ranks.get());
  if (!rows) {
    return false;
  }
  ensemble_rows_ = *rows;
  return true;
}

int TrainingRun::run() {
  const TrainOptions& options = setup_.options;
  const std::int64_t updates = setup_.run_schedule.updates;
  describe_run(options, setup_.lr, setup_.run_schedule, console_.out);
  if (resumes()) {
    console_.out << "goes on after " << counted(state_.step, "update")
                 << ", in epoch " << state_.epoch << "\n\n";
  }
  ProgressPlan plan;
  plan.epochs = options.epochs;
  plan.steps = updates;
  plan.images = options.epochs * setup_.train.size();
  plan.test_images = setup_.test.size();
  plan.images_done = state_.images;
  plan.tests_done = state_.epoch - 1;
  progress_.emplace(console_.out, console_.bar, plan);
  try {
    if (train_on() == TrainingEnd::kStopped || !test_snapshots()) {
      draw();
      const std::string what = " after update " + std::to_string(state_.step) +
                               " of " + std::to_string(updates);
      return report_stop(
          options, what, checkpoints_, setup_.signal.last(), console_.err);
    }
  } catch (const DivergedError& error) {
    draw();
    return log_ ? report_divergence(
                      options,
                      error,
                      *log_,
                      optimizer_->recovers(),
                      checkpoints_,
                      console_.err)
                : kDiverged;
  } catch (const RankLostError& error) {
    draw();
    // Of more than two, only rank 0 is sure to be the only one that writes.
    const bool writes =
        saves() && (setup_.is_first() || options.world_size == 2);
    std::function<bool()> save;
    if (writes) {
      save = [&] { return save_for_lost(); };
    }
    return report_lost_rank(
        options, error, save, checkpoints_, console_.all_err);
  } catch (...) {
    draw();
    throw;
  }
  if (!log_) {
    return kDone;
  }
  show_pictures();
  const std::chrono::duration<double> passed =
      std::chrono::steady_clock::now() - start_;
  return report_end(
      setup_,
      *log_,
      early_stopping(),
      *optimizer_,
      ensemble_rows_,
      checkpoints_,
      passed.count(),
      console_);
}

void wait_for_cuda() { torch::cuda::synchronize(); }

// A folder of its own where none is named.
void choose_folder(TrainOptions& options, Reduction* ranks) {
  if (!options.out.empty()) {
    return;
  }
  const std::string name = run_name(options);
  std::int64_t number = 0;
  together(ranks, [&] { number = options.rank == 0 ? make_new_run(name) : 0; });
  if (ranks != nullptr) {
    number = static_cast<std::int64_t>(ranks->max(static_cast<double>(number)));
  }
  options.out = run_folder(name, number);
}

int start_run(CommandLine command, const Console& console) {
  check_processes(command.options);
  if (command.resume && command.options.out.empty()) {
    command.options.out = last_run();
  }
  const RunRequest request = read_request(command, console.err);
  const TrainOptions& asked = request.options;
  if (const auto why = nothing_left(request); !why.empty()) {
    console.out << why << '\n';
    return kDone;
  }
  set_threads(asked.threads, console.err);
  if (asked.safety && *asked.safety > 1) {
    console.err << "warning: --safety " << *asked.safety
                << ": above 1 a rate is past the limit of stability\n";
  }
  const torch::Device device =
      device_of_process(find_device(asked.device), asked);
  // What asks for "the" device, to wait for it for example, means this one.
  const c10::OptionalDeviceGuard guard(device);
  const auto amp = find_amp(asked.amp, device);
  auto ranks = meet_processes(request, device);
  TrainTestSets sets;
  std::string data;
  together(ranks.get(), [&] {
    sets = load_images(asked, console.out);
    data = data_text(sets);
    check_data(request, data);
  });
  check_same_data(ranks.get(), data);
  const StopSignals signals;
  AgreedSignal signal(signals, ranks.get());
  const auto should_stop = [&] { return signal.received() != 0; };
  TrainOptions options = fit_to_data(asked, sets.train.size(), console.out);

  torch::manual_seed(options.seed);
  const auto model = make_model(options.model, image_shape(sets));
  model->to(device);
  model->set_autocast(amp);
  if (ranks) {
    set_reduction(*model, ranks);
    broadcast_state(*model, *ranks);
    // From here on gradients travel while others are computed.
    ranks = std::make_shared<OverlappedReduction>(ranks, model->parameters());
  }
  const auto normalization = normalization_of(sets.train.images);
  auto train_images = train_source(sets, normalization, options, device);
  auto test_images = test_source(sets, normalization, options, device);
  std::optional<BatchSource> for_statistics;
  if (optimizer_row(options.optimizer).averages || options.ensemble > 0) {
    for_statistics.emplace(
        statistics_source(sets, normalization, options, device));
  }

  RunSchedule run_schedule =
      first_schedule(request, options, train_images.size(), console.err);
  together(ranks.get(), [&] {
    if (options.rank == 0) {
      check_export(options.export_file);
      check_tensorboard(
          options.tensorboard,
          command.resume || command.overwrite,
          console.err);
    }
  });
  choose_folder(options, ranks.get());
  std::optional<RunLock> lock;
  together(ranks.get(), [&] {
    if (options.rank == 0) {
      lock.emplace(options.out);
      if (!command.resume && !command.overwrite && !options.lr_find) {
        check_unused(options.out);
      }
      if (command.overwrite) {
        std::filesystem::remove(options.out / "lr_search.jsonl");
      }
    }
  });
  describe_data(options, sets, *model, console.out);
  const auto for_range_test = [&] {
    return train_source(sets, normalization, options, device);
  };
  const std::optional<double> lr = request.earlier ? request.earlier->lr
                                                   : choose_lr(
                                                         options,
                                                         run_schedule,
                                                         *model,
                                                         for_range_test,
                                                         ranks,
                                                         should_stop,
                                                         console.out,
                                                         console.err,
                                                         console.bar);
  if (should_stop()) {
    std::string message =
        "stopped by " + signal_name(signal.last()) + ", before any training";
    if (options.search > 0) {
      message += "\nto go on with the search: the same command with --out " +
                 shell_word(options.out.string());
    }
    say_as(options, message, console.err);
    return kSignal + signal.last();
  }
  if (!lr) {
    return kDone;
  }
  PhaseTimer timer(
      options.profile && device.is_cuda() ? wait_for_cuda : nullptr);
  const RunSetup setup{
      request,
      options,
      run_schedule,
      *lr,
      data,
      sets.classes,
      *model,
      normalization,
      train_images,
      test_images,
      for_statistics ? &*for_statistics : nullptr,
      timer,
      signal,
      ranks};
  return TrainingRun(setup, console).run();
}

}  // namespace

int run(
    const CommandLine& command,
    std::ostream& out,
    std::ostream& err,
    bool bar) {
  const auto fail = [&](const std::string& message) {
    say_as(command.options, message, err);
  };
  try {
    if (!command.compare.empty()) {
      return compare_runs(command.compare, command.options.out, out);
    }
    if (!command.evaluate.empty()) {
      return evaluate_checkpoint(command, {out, err, bar, err});
    }
    if (command.options.rank == 0) {
      return start_run(command, {out, err, bar, err});
    }
    std::ostream nowhere(nullptr);
    return start_run(command, {nowhere, nowhere, /*bar=*/false, err});
  } catch (const ParseError& error) {
    fail(std::string("--schedule cannot be read:\n") + error.what());
  } catch (const RankLostError& error) {
    fail(error.what_without_backtrace());
    return kRankLost;
  } catch (const c10::Error& error) {
    fail(error.what_without_backtrace());
  } catch (const std::exception& error) {
    fail(error.what());
  }
  return kBadInput;
}

}  // namespace stepsize::trainer
