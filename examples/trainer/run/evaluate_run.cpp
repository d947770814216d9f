#include "examples/trainer/run/evaluate_run.h"

#include <c10/core/DeviceGuard.h>
#include <stepsize/checkpoint/checkpoint_info.h>

#include <ostream>
#include <stdexcept>
#include <string>

#include "examples/trainer/cli/option_values.h"
#include "examples/trainer/cli/text.h"
#include "examples/trainer/data/run_images.h"
#include "examples/trainer/loop/choose_lr.h"
#include "examples/trainer/loop/tested_weights.h"
#include "examples/trainer/loop/train.h"
#include "examples/trainer/loop/trained_optimizer.h"
#include "examples/trainer/loop/watched_curvature.h"
#include "examples/trainer/model/model_export.h"
#include "examples/trainer/run/machine.h"
#include "examples/trainer/run/resume.h"
#include "examples/trainer/run/run.h"
#include "examples/trainer/run/run_checkpoints.h"
#include "examples/trainer/run/run_record.h"

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;

RunRequest request_of(const CommandLine& command) {
  const auto& path = command.evaluate;
  if (fs::is_directory(path)) {
    throw std::invalid_argument(
        "--evaluate " + path.string() + ": is a folder; name a file, such as " +
        (checkpoint_folder(path) / "best.ckpt").string());
  }
  RunRecord record = to_record(verify_checkpoint(path.string()).values);
  auto options =
      options_from(resumed_options(record.options, command.given, path));
  // As check_data() speaks of it.
  options.out = path;
  options.export_file = command.options.export_file;
  return {options, std::move(record)};
}

// Fills the model from the checkpoint, all of which must fit.
void load_model(
    const RunRequest& request,
    const TrainTestSets& sets,
    const Normalization& normalization,
    ImageModel& model,
    torch::Device device) {
  std::ostream nowhere(nullptr);
  const auto options = fit_to_data(request.options, sets.train.size(), nowhere);
  const auto run_schedule =
      first_schedule(request, options, sets.train.size(), nowhere);
  const auto optimizer =
      make_optimizer(model, optimizer_choice(options, request.earlier->lr, {}));
  ScheduleLR scheduler(optimizer->inner(), run_schedule.factor);
  auto train = train_source(sets, normalization, options, device);
  std::optional<EarlyStopping> stopping;
  if (options.early_stop > 0) {
    stopping.emplace(
        model, EarlyStoppingOptions().patience(options.early_stop - 1));
  }
  auto monitor = make_monitor(*optimizer, options);
  TrainingState state;
  LoadOptions load_options;
  if (options.ensemble > 0) {
    load_options.leave_out({"ensemble"});
  }
  RunCheckpoints(
      {},
      {model,
       *optimizer,
       scheduler,
       train,
       state,
       stopping ? &*stopping : nullptr,
       monitor ? &*monitor : nullptr},
      *request.earlier)
      .load(options.out.string(), load_options);
  // One process measures on whole batches, whatever the run had.
  TrainOptions alone = options;
  alone.batch_size = options.whole_batch();
  alone.world_size = 1;
  alone.rank = 0;
  auto statistics = statistics_source(sets, normalization, alone, device);
  const auto buffers = TestedWeights(*optimizer, &statistics).buffers();
  take_tested_weights(*optimizer, buffers);
}

}  // namespace

int evaluate_checkpoint(const CommandLine& command, const Console& console) {
  const RunRequest request = request_of(command);
  check_export(request.options.export_file);
  const TrainOptions& options = request.options;
  set_threads(options.threads, console.err);
  const torch::Device device = find_device(options.device);
  const c10::OptionalDeviceGuard guard(device);
  const auto amp = find_amp(options.amp, device);
  std::ostream nowhere(nullptr);
  const TrainTestSets sets = load_images(options, nowhere);
  check_data(request, data_text(sets));
  const auto model = make_model(options.model, image_shape(sets));
  model->to(device);
  model->set_autocast(amp);
  const auto normalization = normalization_of(sets.train.images);
  load_model(request, sets, normalization, *model, device);

  // One process tests on all images, whatever the run had.
  TrainOptions alone = options;
  alone.world_size = 1;
  auto images = test_source(sets, normalization, alone, device);
  const auto result =
      *evaluate(*model, images, nullptr, nullptr, [&](std::int64_t done) {
        if (console.bar) {
          console.out << "\rtest " << done << '/' << images.size() << "\x1b[K"
                      << std::flush;
        }
      });
  constexpr double kPercent = 100;
  console.out << (console.bar ? "\r\x1b[K" : "") << options.out.string()
              << ":\n"
              << options.model << " on " << options.dataset << " after "
              << counted(request.earlier->step, "update") << '\n'
              << counted(images.size(), "test image")
              << format(
                     ": loss %.4f, accuracy %.2f%%\n",
                     result.loss,
                     kPercent * result.accuracy);
  if (!options.export_file.empty()) {
    export_weights(*model, normalization, options.export_file);
    console.out << "weights: " << options.export_file.string() << '\n';
  }
  return kDone;
}

}  // namespace stepsize::trainer
