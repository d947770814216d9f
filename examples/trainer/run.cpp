#include "run.h"

#include <c10/core/DeviceGuard.h>
#include <stepsize/distributed/broadcast.h>
#include <stepsize/schedule/parse.h>
#include <torch/torch.h>

#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include "batch_norm.h"
#include "batch_source.h"
#include "comparison.h"
#include "course.h"
#include "evaluate_run.h"
#include "image_model.h"
#include "image_set.h"
#include "lr_choice.h"
#include "machine.h"
#include "model_export.h"
#include "phase_timer.h"
#include "processes.h"
#include "resume.h"
#include "run_checkpoints.h"
#include "run_end.h"
#include "run_folder.h"
#include "run_images.h"
#include "run_lock.h"
#include "run_setup.h"
#include "run_text.h"
#include "stop_signal.h"
#include "text.h"
#include "training_run.h"

namespace stepsize::trainer {
namespace {

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
  TrainOptions options = fit_to_data(asked, sets.train.size(), console.out);

  torch::manual_seed(options.seed);
  const auto model = make_model(options.model, image_shape(sets));
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
  together(ranks.get(), [&] {
    if (options.rank == 0) {
      check_export(options.export_file);
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
      normalization,
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
