#include "rate_finder.h"

#include <stepsize/tune/lr_range_test.h>
#include <torch/torch.h>

#include <algorithm>
#include <utility>

namespace stepsize::trainer {
namespace {

LRRangeTestResult range_test(
    ImageModel& model,
    OptimizerSettings settings,
    BatchSource& source,
    LRRangeTestOptions options) {
  TORCH_CHECK(
      settings.name != "power-sgd",
      "find_rate: power-sgd measures its rate, there is none to find");
  if (settings.name == "rollback-sgd") {
    settings.name = "sgd";
  }
  settings.micro_batch = 0;
  const auto updater = make_updater(model, settings);
  model.train();
  const auto next = [&source] {
    auto batch = source.next();
    if (!batch) {
      source.start_epoch();
      batch = source.next();
    }
    return std::move(*batch);
  };
  const auto closure = [&] {
    const Batch batch = next();
    auto loss = torch::nn::functional::cross_entropy(
        model.forward(batch.images), batch.labels);
    loss.backward();
    return loss;
  };
  return lr_range_test(model, updater->optimizer(), closure, options);
}

}  // namespace

LRRangeTestResult find_rate(
    ImageModel& model,
    const OptimizerSettings& settings,
    BatchSource& source,
    std::int64_t accumulate) {
  constexpr double kFirst = 1e-6;
  constexpr double kLast = 10;
  auto from = settings;
  from.lr = kFirst;
  return range_test(
      model,
      from,
      source,
      LRRangeTestOptions()
          .start_lr(kFirst)
          .end_lr(std::max(kLast, settings.lr))
          .accumulation_steps(accumulate));
}

LRRangeTestResult try_rate(
    ImageModel& model,
    const OptimizerSettings& settings,
    BatchSource& source,
    std::int64_t accumulate) {
  constexpr double kDown = 1e-3;
  constexpr std::int64_t kUpdates = 30;
  return range_test(
      model,
      settings,
      source,
      LRRangeTestOptions()
          .start_lr(settings.lr * kDown)
          .end_lr(settings.lr)
          .num_iterations(kUpdates)
          .accumulation_steps(accumulate));
}

bool went_wrong(const LRRangeTestResult& result) {
  return result.status == LRRangeStatus::kDiverged ||
         result.status == LRRangeStatus::kNonFinite;
}

}  // namespace stepsize::trainer
