#include "training_run.h"

#include <ATen/Parallel.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/distributed/broadcast.h>
#include <stepsize/schedule/decay.h>

#include <exception>
#include <filesystem>
#include <functional>
#include <ostream>
#include <string>
#include <utility>

#include "lr_choice.h"
#include "machine.h"
#include "make_updater.h"
#include "run.h"
#include "run_end.h"
#include "run_text.h"
#include "text.h"

namespace stepsize::trainer {
namespace {

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

}  // namespace

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
      updater_(make_updater(
          setup.model,
          optimizer_settings(setup.options, setup.lr, setup.ranks))),
      scheduler_(updater_->optimizer(), setup.course.factor),
      stopping_(make_stopping(setup)),
      checkpoints_(
          setup.options.out,
          {setup.model,
           *updater_,
           scheduler_,
           setup.train,
           state_,
           early_stopping()},
          new_record(setup.request.options, setup.data, setup.lr)),
      plan_(run_plan(setup.options, setup.lr, setup.course)) {
  LogPlace place;
  bool has_new_length = false;
  if (resumes()) {
    together(setup_.ranks.get(), [&] {
      place = checkpoints_.load();
      has_new_length = set_length(
          checkpoints_.record(),
          setup_.course,
          scheduler_,
          state_,
          setup_.options,
          setup_.train.size(),
          console_.out);
    });
    check_one_checkpoint(
        setup_.ranks.get(), state_.step, setup_.model, setup_.options);
    plan_ = run_plan(setup_.options, setup_.lr, setup_.course);
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
  if (resumes()) {
    log_.emplace(setup_.options.out, plan_, place);
    if (has_new_length && saves()) {
      checkpoints_.save(*log_, std::nullopt);
    }
  } else {
    // First, so that they never stand beside the log of another run.
    checkpoints_.clear();
    log_.emplace(setup_.options.out, plan_);
  }
}

void TrainingRun::draw() {
  progress_->clear();
  if (log_) {
    draw_what_there_is(*log_, console_.err);
  }
}

template <typename Result>
void TrainingRun::hear(const Result& result) {
  last_rows_.add(result);
  if (log_) {
    log_->add(result);
    watch_.look(*log_, *progress_, console_.err);
  }
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
  listener.on_test = [&](std::int64_t epoch, std::int64_t images) {
    progress_->add_test(epoch, images);
  };
  listener.should_stop = [&] { return setup_.signal.received() != 0; };
  listener.on_pause = [&](std::optional<double> test_loss) { save(test_loss); };
  return train(
      {setup_.model,
       *updater_,
       scheduler_,
       setup_.train,
       setup_.test,
       setup_.timer,
       setup_.classes,
       setup_.options.epochs,
       setup_.course.micro_batches,
       early_stopping(),
       setup_.options.checkpoint_every.value_or(0),
       setup_.ranks.get()},
      state_,
      listener);
}

int TrainingRun::run() {
  const TrainOptions& options = setup_.options;
  const std::int64_t updates = setup_.course.updates;
  describe_run(options, setup_.lr, setup_.course, console_.out);
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
    if (train_on() == TrainingEnd::kStopped) {
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
                      updater_->recovers(),
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
  const std::chrono::duration<double> passed =
      std::chrono::steady_clock::now() - start_;
  return report_end(
      setup_,
      *log_,
      early_stopping(),
      *updater_,
      checkpoints_,
      passed.count(),
      console_);
}

}  // namespace stepsize::trainer
