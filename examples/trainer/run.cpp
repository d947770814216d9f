#include "run.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/distributed/broadcast.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/tune/early_stopping.h>
#include <torch/torch.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "batch_norm.h"
#include "batch_source.h"
#include "course.h"
#include "image_model.h"
#include "image_set.h"
#include "lr_choice.h"
#include "machine.h"
#include "make_updater.h"
#include "phase_timer.h"
#include "processes.h"
#include "progress.h"
#include "resume.h"
#include "run_checkpoints.h"
#include "run_lock.h"
#include "run_log.h"
#include "run_text.h"
#include "stop_signal.h"
#include "text.h"
#include "training.h"

namespace stepsize::trainer {
namespace {

void say(const std::string& message, std::ostream& err) {
  err << "stepsize-train: " << message << '\n' << std::flush;
}

// Other processes than the first say who they are.
void say_as(
    const TrainOptions& options,
    const std::string& message,
    std::ostream& err) {
  say(options.rank == 0
          ? message
          : "rank " + std::to_string(options.rank) + ": " + message,
      err);
}

TrainTestSets load_images(const TrainOptions& options, std::ostream& out) {
  TrainTestSets sets = load_sets(options.dataset, options.data_dir);
  for (const auto& note : sets.notes) {
    out << note << '\n';
  }
  if (options.limit_train > sets.train.size()) {
    out << "--limit-train " << options.limit_train << ": there are "
        << counted(sets.train.size(), "image") << '\n';
  } else if (options.limit_train > 0) {
    sets.train.images = sets.train.images.narrow(0, 0, options.limit_train);
    sets.train.labels = sets.train.labels.narrow(0, 0, options.limit_train);
  }
  return sets;
}

void wait_for_cuda() { torch::cuda::synchronize(); }

BatchSource train_source(
    const TrainTestSets& sets,
    const Normalization& normalization,
    const TrainOptions& options,
    torch::Device device) {
  constexpr std::int64_t kCropPadding = 4;
  BatchSourceOptions source;
  source.batch_size = options.batch_size;
  source.shuffle = true;
  source.seed = options.seed;
  source.flip = options.augment != "none";
  source.padding = options.augment == "crop-flip" ? kCropPadding : 0;
  source.ranks = options.world_size;
  source.rank = options.rank;
  return {sets.train, normalization, source, device};
}

BatchSource test_source(
    const TrainTestSets& sets,
    const Normalization& normalization,
    const TrainOptions& options,
    torch::Device device) {
  BatchSourceOptions source;
  source.ranks = options.world_size;
  source.rank = options.rank;
  // On a CPU a batch's activations should stay in the caches.
  source.batch_size = device.is_cpu() ? 100 : 1000;
  return {sets.test, normalization, source, device};
}

RunPlan run_plan(const TrainOptions& options, double lr, const Course& course) {
  RunPlan plan{course.factor, lr, course.updates, options.max_norm};
  plan.batch_varies = options.accumulate > 1 || options.batch_schedule > 0;
  if (options.safety) {
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

// The course as it was planned first.
Course first_course(
    const RunRequest& request,
    TrainOptions options,
    std::int64_t images,
    std::ostream& err) {
  if (!request.earlier) {
    return plan_course(options, images, err);
  }
  options.epochs = request.earlier->planned_epochs;
  std::ostringstream said_before;
  return plan_course(options, images, said_before);
}

// Of a run that has got another length the scheduler knows the rates.
RunPlan stretched(RunPlan plan, const ScheduleLR& scheduler) {
  plan.schedule = callable([&scheduler, lr = plan.lr](double update) {
    return scheduler.lr_at(static_cast<std::int64_t>(update)).front() / lr;
  });
  return plan;
}

// After a failure, whose message a second one must not hide.
void draw_what_there_is(const RunLog& log, std::ostream& err) {
  try {
    log.draw();
  } catch (const std::exception& error) {
    err << "warning: " << error.what() << '\n';
  }
}

// Says what goes wrong with log and pictures: once, until it is another thing.
class LogWatch {
 public:
  void look(const RunLog& log, Progress& progress, std::ostream& err) {
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

  void draw(const RunLog& log, Progress& progress, std::ostream& err) {
    try {
      log.draw();
    } catch (const std::exception& error) {
      progress.clear();
      err << "warning: " << error.what() << '\n';
    }
  }

 private:
  std::string said_;
};

// The signal that any process has received; 0: none.
class AgreedSignal {
 public:
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

struct Console {
  std::ostream& out;
  std::ostream& err;
  bool bar;
  // Of processes that say nothing to `err` too.
  std::ostream& all_err;
};

// All must have seen the same folder.
void check_one_checkpoint(
    Reduction* ranks, std::int64_t step, const TrainOptions& options) {
  if (ranks == nullptr) {
    return;
  }
  const auto own = static_cast<double>(step);
  TORCH_CHECK(
      !ranks->any(ranks->max(own) != own),
      "--resume: the processes have found different checkpoints in ",
      checkpoint_folder(options.out).string(),
      "; they must share the folder of --out");
}

// What a run is made of once all that was asked for has been checked; nothing
// is owned.
struct RunSetup {
  const RunRequest& request;
  // Those of the request, fit to the data.
  const TrainOptions& options;
  Course& course;
  double lr;
  const std::string& data;
  std::int64_t classes;
  ImageModel& model;
  BatchSource& train;
  BatchSource& test;
  PhaseTimer& timer;
  AgreedSignal& signal;
  // Null where this process is alone.
  const std::shared_ptr<Reduction>& ranks;

  // Whether this process writes files.
  bool is_first() const { return options.rank == 0; }
};

std::string resume_command(const TrainOptions& options) {
  const std::string arguments =
      "--resume --out " + shell_word(options.out.string());
  return options.world_size == 1
             ? "stepsize-train " + arguments
             : "scripts/launch.sh -n " + std::to_string(options.world_size) +
                   " -- " + arguments;
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
  say(message, err);
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
  say(message, err);
  return kDiverged;
}

// A process that is left saves what all had done, where it can.
int report_lost_rank(
    const RunSetup& setup,
    const RankLostError& error,
    const LogPlace& place,
    const std::function<LogPlace()>& complete_log,
    RunCheckpoints& checkpoints,
    std::ostream& err) {
  const TrainOptions& options = setup.options;
  std::string message = error.what_without_backtrace();
  // Of more than two, only rank 0 is sure to be the only one that writes.
  const bool writes = setup.is_first() || options.world_size == 2;
  bool saved = false;
  if (writes && options.checkpoint_every != 0) {
    try {
      saved = setup.is_first() ? checkpoints.save(place, std::nullopt)
                               : checkpoints.save_for_other(complete_log());
      if (!saved) {
        message += ". The run could not be saved: " + checkpoints.error();
      }
    } catch (const std::exception& failure) {
      message += std::string(". The run could not be saved: ") + failure.what();
    }
  }
  if (const auto path = checkpoints.newest()) {
    message += (saved ? "\nsaved in " : "\nthe last checkpoint: ") + *path +
               "\nto go on: " + resume_command(options);
  }
  say_as(options, message, err);
  return kRankLost;
}

void report_end(
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
}

int train_and_report(const RunSetup& setup, const Console& console) {
  const auto start = std::chrono::steady_clock::now();
  const TrainOptions& options = setup.options;
  Course& course = setup.course;
  const auto updater = make_updater(
      setup.model, optimizer_settings(options, setup.lr, setup.ranks));
  ScheduleLR scheduler(updater->optimizer(), course.factor);
  std::optional<EarlyStopping> stopping;
  if (options.early_stop > 0) {
    stopping.emplace(
        setup.model, EarlyStoppingOptions().patience(options.early_stop - 1));
  }
  auto* const early_stopping = stopping ? &*stopping : nullptr;
  TrainingState state;
  RunCheckpoints checkpoints(
      options.out,
      {setup.model, *updater, scheduler, setup.train, state, early_stopping},
      new_record(setup.request.options, setup.data, setup.lr));

  const bool resumes = setup.request.earlier.has_value();
  LogPlace place;
  bool has_new_length = false;
  if (resumes) {
    together(setup.ranks.get(), [&] {
      place = checkpoints.load();
      has_new_length = set_length(
          checkpoints.record(),
          course,
          scheduler,
          state,
          options,
          setup.train.size(),
          console.out);
    });
    check_one_checkpoint(setup.ranks.get(), state.step, options);
  }
  RunPlan plan = run_plan(options, setup.lr, course);
  if (!checkpoints.record().stretches.empty()) {
    plan = stretched(std::move(plan), scheduler);
  }
  const bool saves = options.checkpoint_every != 0;
  std::optional<RunLog> log;
  LastRows last_rows;
  last_rows.start_at(place);
  together(setup.ranks.get(), [&] {
    if (!setup.is_first()) {
      return;
    }
    if (resumes) {
      log.emplace(options.out, plan, place);
      if (has_new_length && saves) {
        checkpoints.save(*log, std::nullopt);
      }
    } else {
      // First, so that they never stand beside the log of another run.
      checkpoints.clear();
      log.emplace(options.out, plan);
    }
  });
  const auto draw = [&] {
    if (log) {
      draw_what_there_is(*log, console.err);
    }
  };
  describe_run(options, setup.lr, course, console.out);
  if (resumes) {
    console.out << "goes on after " << counted(state.step, "update") << ", in "
                << "epoch " << state.epoch << "\n\n";
  }

  Progress progress(
      console.out,
      console.bar,
      options.epochs,
      course.updates,
      options.epochs * setup.train.size(),
      state.images);
  LogWatch watch;
  TrainingListener listener;
  listener.on_step = [&](const StepResult& result) {
    last_rows.add(result);
    if (log) {
      log->add(result);
      watch.look(*log, progress, console.err);
    }
    progress.add(result);
  };
  listener.on_epoch = [&](const EpochResult& result) {
    last_rows.add(result);
    if (log) {
      log->add(result);
      watch.look(*log, progress, console.err);
      watch.draw(*log, progress, console.err);
    }
    progress.add(result);
  };
  listener.should_stop = [&] { return setup.signal.received() != 0; };
  listener.on_pause = [&](std::optional<double> test_loss) {
    if (saves && log && !checkpoints.save(*log, test_loss)) {
      progress.clear();
      console.err << "warning: a checkpoint could not be saved, and the run "
                  << "goes on: " << checkpoints.error() << '\n';
    }
  };
  try {
    const auto end = train(
        {setup.model,
         *updater,
         scheduler,
         setup.train,
         setup.test,
         setup.timer,
         setup.classes,
         options.epochs,
         course.micro_batches,
         early_stopping,
         options.checkpoint_every.value_or(0),
         setup.ranks.get()},
        state,
        listener);
    if (end == TrainingEnd::kStopped) {
      progress.clear();
      draw();
      const std::string what = " after update " + std::to_string(state.step) +
                               " of " + std::to_string(course.updates);
      return report_stop(
          options, what, checkpoints, setup.signal.last(), console.err);
    }
  } catch (const DivergedError& error) {
    progress.clear();
    draw();
    return log ? report_divergence(
                     options,
                     error,
                     *log,
                     updater->recovers(),
                     checkpoints,
                     console.err)
               : kDiverged;
  } catch (const RankLostError& error) {
    progress.clear();
    draw();
    const auto complete_log = [&] {
      const RunLog completed = last_rows.complete(options.out, plan);
      draw_what_there_is(completed, console.err);
      return completed.place();
    };
    return report_lost_rank(
        setup,
        error,
        last_rows.place(),
        complete_log,
        checkpoints,
        console.all_err);
  } catch (...) {
    progress.clear();
    draw();
    throw;
  }
  if (!log) {
    return kDone;
  }
  const std::chrono::duration<double> passed =
      std::chrono::steady_clock::now() - start;
  report_end(
      setup,
      *log,
      early_stopping,
      *updater,
      checkpoints,
      passed.count(),
      console);
  return kDone;
}

int start_run(const CommandLine& command, const Console& console) {
  check_processes(command.options);
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
  const auto ranks = meet_processes(asked, device);
  TrainTestSets sets;
  std::string data;
  together(ranks.get(), [&] {
    sets = load_images(asked, console.out);
    data = data_text(sets);
    check_data(request, data);
  });
  const StopSignals signals;
  AgreedSignal signal(signals, ranks.get());
  const auto should_stop = [&] { return signal.received() != 0; };
  const TrainOptions options =
      fit_to_data(asked, sets.train.size(), console.out);

  const auto& images = sets.train.images;
  torch::manual_seed(options.seed);
  const auto model = make_model(
      options.model,
      {images.size(1), images.size(2), images.size(3), sets.classes});
  model->to(device);
  if (ranks) {
    set_reduction(*model, ranks);
    broadcast_state(*model, *ranks);
  }
  const auto normalization = normalization_of(sets.train.images);
  auto train_images = train_source(sets, normalization, options, device);
  auto test_images = test_source(sets, normalization, options, device);

  Course course =
      first_course(request, options, train_images.size(), console.err);
  std::optional<RunLock> lock;
  together(ranks.get(), [&] {
    if (options.rank == 0) {
      lock.emplace(options.out);
      if (!command.resume && !command.overwrite && !options.lr_find) {
        check_unused(options.out);
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
                                                         course,
                                                         *model,
                                                         for_range_test,
                                                         ranks,
                                                         should_stop,
                                                         console.out,
                                                         console.err,
                                                         console.bar);
  if (should_stop()) {
    say("stopped by " + signal_name(signal.last()) + ", before any training",
        console.err);
    return kSignal + signal.last();
  }
  if (!lr) {
    return kDone;
  }
  PhaseTimer timer(
      options.profile && device.is_cuda() ? wait_for_cuda : nullptr);
  return train_and_report(
      {request,
       options,
       course,
       *lr,
       data,
       sets.classes,
       *model,
       train_images,
       test_images,
       timer,
       signal,
       ranks},
      console);
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
