#include "run.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/tune/early_stopping.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "batch_source.h"
#include "course.h"
#include "image_model.h"
#include "image_set.h"
#include "lr_choice.h"
#include "make_updater.h"
#include "phase_timer.h"
#include "progress.h"
#include "run_log.h"
#include "text.h"
#include "training.h"

namespace stepsize::trainer {
namespace {

void set_threads(int threads, std::ostream& err) {
  const auto cores = std::thread::hardware_concurrency();
  if (cores > 0 && threads > static_cast<int>(cores)) {
    err << "warning: --threads " << threads << " on " << counted(cores, "core")
        << ": threads that wait for each other "
        << "make a run slower\n";
  }
  if (threads == 0 && at::get_num_threads() == 1 &&
      std::getenv("OMP_NUM_THREADS") == nullptr) {
    // Some builds of LibTorch cannot count the cores of a virtual machine.
    threads = static_cast<int>(std::thread::hardware_concurrency());
  }
  if (threads > 0) {
    at::set_num_threads(threads);
  }
}

torch::Device find_device(const std::string& name) {
  const auto fail = [&](const std::string& why) {
    throw std::invalid_argument("--device " + name + ": " + why);
  };
  torch::Device device(torch::kCPU);
  try {
    device = torch::Device(name);
  } catch (const c10::Error&) {
    fail("must be cpu, cuda, cuda:1 or another name that LibTorch knows");
  }
  if (device.is_cuda()) {
    const auto count = static_cast<int>(torch::cuda::device_count());
    if (!torch::cuda::is_available() || device.index() >= count) {
      fail("LibTorch sees " + std::to_string(count) + " CUDA devices");
    }
  }
  try {
    torch::ones({1}, device).item<float>();
  } catch (const std::exception&) {
    fail("LibTorch cannot compute there");
  }
  return device;
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
  return {sets.train, normalization, source, device};
}

BatchSource test_source(
    const TrainTestSets& sets,
    const Normalization& normalization,
    torch::Device device) {
  BatchSourceOptions source;
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

void describe_data(
    const TrainOptions& options,
    const TrainTestSets& sets,
    const ImageModel& model,
    std::ostream& out) {
  const auto& images = sets.train.images;
  out << options.dataset << ": " << sets.train.size() << " training and "
      << sets.test.size() << " test images, " << images.size(1) << "x"
      << images.size(2) << "x" << images.size(3) << ", " << sets.classes
      << " classes\n"
      << options.model << ": " << parameter_count(model) << " parameters\n"
      << std::flush;
}

void describe_run(
    const TrainOptions& options,
    double lr,
    const Course& course,
    std::ostream& out) {
  const std::int64_t batch = options.batch_size * options.accumulate;
  out << options.optimizer << ": lr " << lr
      << (options.safety ? " of the measured rate" : "");
  if (options.base_batch_size > 0) {
    out << " (" << options.lr << " at batch " << options.base_batch_size << ", "
        << options.lr_scaling << ')';
  }
  out << ", momentum " << options.momentum << ", weight decay "
      << options.weight_decay;
  if (options.max_norm) {
    out << ", max norm " << *options.max_norm;
  }
  if (options.safety) {
    out << ", safety " << *options.safety;
  }
  out << '\n' << counted(course.updates, "update") << " of ";
  if (options.batch_schedule > 0) {
    out << batch << " to ";
  }
  out << counted(std::max(batch, options.batch_schedule), "image") << " in "
      << counted(options.epochs, "epoch") << " on " << options.device << " ("
      << counted(at::get_num_threads(), "thread") << "), seed " << options.seed
      << '\n'
      << "augmentation: " << options.augment << '\n'
      << "schedule: " << course.text << '\n'
      << "log and plots: " << options.out.string() << "\n\n"
      << std::flush;
}

// After a failure, whose message a second one must not hide.
void draw_what_there_is(const RunLog& log, std::ostream& err) {
  try {
    log.draw();
  } catch (const std::exception& error) {
    err << "warning: " << error.what() << '\n';
  }
}

void train_and_report(
    const TrainOptions& asked, std::ostream& out, std::ostream& err, bool bar) {
  const auto start = std::chrono::steady_clock::now();
  set_threads(asked.threads, err);
  if (asked.safety && *asked.safety > 1) {
    err << "warning: --safety " << *asked.safety
        << ": above 1 a rate is past the limit of stability\n";
  }
  const torch::Device device = find_device(asked.device);
  // What asks for "the" device, to wait for it for example, means this one.
  const c10::OptionalDeviceGuard guard(device);
  TrainTestSets sets = load_sets(asked.dataset, asked.data_dir);
  for (const auto& note : sets.notes) {
    out << note << '\n';
  }
  if (asked.limit_train > sets.train.size()) {
    out << "--limit-train " << asked.limit_train << ": there are "
        << counted(sets.train.size(), "image") << '\n';
  } else if (asked.limit_train > 0) {
    sets.train.images = sets.train.images.narrow(0, 0, asked.limit_train);
    sets.train.labels = sets.train.labels.narrow(0, 0, asked.limit_train);
  }
  const TrainOptions options = fit_to_data(asked, sets.train.size(), out);

  const auto& images = sets.train.images;
  torch::manual_seed(options.seed);
  const auto model = make_model(
      options.model,
      {images.size(1), images.size(2), images.size(3), sets.classes});
  model->to(device);
  const auto normalization = normalization_of(sets.train.images);
  auto train_images = train_source(sets, normalization, options, device);
  auto test_images = test_source(sets, normalization, device);

  const Course course = plan_course(options, train_images.size(), err);
  describe_data(options, sets, *model, out);
  const auto for_range_test = [&] {
    return train_source(sets, normalization, options, device);
  };
  const auto lr =
      choose_lr(options, course, *model, for_range_test, out, err, bar);
  if (!lr) {
    return;
  }
  const auto updater = make_updater(*model, optimizer_settings(options, *lr));
  ScheduleLR scheduler(updater->optimizer(), course.factor);
  RunLog log(options.out, run_plan(options, *lr, course));
  describe_run(options, *lr, course, out);

  PhaseTimer timer(
      options.profile && device.is_cuda() ? wait_for_cuda : nullptr);
  Progress progress(
      out,
      bar,
      options.epochs,
      course.updates,
      options.epochs * train_images.size());
  TrainingListener listener;
  listener.on_step = [&](const StepResult& result) {
    log.add(result);
    progress.add(result);
  };
  std::vector<EpochResult> epochs;
  listener.on_epoch = [&](const EpochResult& result) {
    log.add(result);
    log.draw();
    progress.add(result);
    epochs.push_back(result);
  };
  std::optional<EarlyStopping> stopping;
  if (options.early_stop > 0) {
    stopping.emplace(
        *model, EarlyStoppingOptions().patience(options.early_stop - 1));
  }
  try {
    train(
        {*model,
         *updater,
         scheduler,
         train_images,
         test_images,
         timer,
         sets.classes,
         options.epochs,
         course.micro_batches,
         stopping ? &*stopping : nullptr},
        listener);
  } catch (...) {
    progress.clear();
    draw_what_there_is(log, err);
    throw;
  }

  const std::chrono::duration<double> passed =
      std::chrono::steady_clock::now() - start;
  const EpochResult& kept =
      stopping && stopping->best_step() >= 0
          ? epochs[static_cast<std::size_t>(stopping->best_step())]
          : epochs.back();
  out << '\n';
  if (stopping && (stopping->stopped() || kept.epoch != epochs.back().epoch)) {
    out << (stopping->stopped() ? "stopped early after " : "after ")
        << counted(epochs.back().epoch, "epoch")
        << ": the test loss was lowest in epoch " << kept.epoch
        << ", which is the result\n";
  }
  out << "test accuracy " << 100 * kept.test_accuracy << "% after "
      << clock_text(passed.count()) << '\n';
  for (const auto& line : updater->summary()) {
    out << options.optimizer << ": " << line << '\n';
  }
  if (options.profile) {
    out << "\nwhere the time of the updates went:\n";
    for (const auto& line : timer.report()) {
      out << "  " << line << '\n';
    }
  }
}

}  // namespace

int run(
    const TrainOptions& options,
    std::ostream& out,
    std::ostream& err,
    bool bar) {
  const auto say = [&](const std::string& message) {
    err << "stepsize-train: " << message << '\n' << std::flush;
  };
  try {
    train_and_report(options, out, err, bar);
    return kDone;
  } catch (const DivergedError& error) {
    say(std::string(error.what()) +
        (options.safety ? ". Try a lower --safety."
                        : ". Try a lower --lr, --lr auto or a longer "
                          "warm-up."));
    return kDiverged;
  } catch (const ParseError& error) {
    say(std::string("--schedule cannot be read:\n") + error.what());
  } catch (const c10::Error& error) {
    say(error.what_without_backtrace());
  } catch (const std::exception& error) {
    say(error.what());
  }
  return kBadInput;
}

}  // namespace stepsize::trainer
