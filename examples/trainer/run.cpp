#include "run.h"

#include <c10/core/DeviceGuard.h>
#include <stepsize/distributed/broadcast.h>
#include <stepsize/schedule/parse.h>
#include <torch/torch.h>

#include <memory>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>

#include "batch_norm.h"
#include "batch_source.h"
#include "course.h"
#include "image_model.h"
#include "image_set.h"
#include "lr_choice.h"
#include "machine.h"
#include "phase_timer.h"
#include "processes.h"
#include "resume.h"
#include "run_checkpoints.h"
#include "run_end.h"
#include "run_lock.h"
#include "run_setup.h"
#include "run_text.h"
#include "stop_signal.h"
#include "text.h"
#include "training_run.h"

namespace stepsize::trainer {
namespace {

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
  const auto ranks = meet_processes(request, device);
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
    say_as(
        options,
        "stopped by " + signal_name(signal.last()) + ", before any training",
        console.err);
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
      course,
      *lr,
      data,
      sets.classes,
      *model,
      train_images,
      test_images,
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
