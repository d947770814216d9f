#include "rate_finder.h"

#include <stepsize/tune/lr_range_test.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

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
    auto loss = loss_part(
        model.forward(batch.images), batch, batch.size(), settings.ranks.get());
    loss.backward();
    return loss;
  };
  return lr_range_test(
      model, updater->optimizer(), closure, options.reduction(settings.ranks));
}

double median(
    std::vector<double>::const_iterator first,
    std::vector<double>::const_iterator last) {
  std::vector<double> values(first, last);
  const auto middle =
      values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

LRRangeTestResult find_rate(
    ImageModel& model,
    const OptimizerSettings& settings,
    BatchSource& source,
    std::int64_t accumulate,
    const RangeProgress& progress) {
  constexpr double kFirst = 1e-5;
  constexpr double kLast = 10;
  constexpr std::int64_t kUpdates = 300;
  auto from = settings;
  from.lr = kFirst;
  return range_test(
      model,
      from,
      source,
      LRRangeTestOptions()
          .start_lr(kFirst)
          .end_lr(std::max(kLast, settings.lr))
          .num_iterations(kUpdates)
          .accumulation_steps(accumulate)
          .progress([&](std::int64_t i, double lr, double loss) {
            return progress(i + 1, kUpdates, lr, loss);
          }));
}

bool does_harm(
    ImageModel& model,
    const OptimizerSettings& settings,
    BatchSource& source,
    std::int64_t accumulate,
    std::int64_t updates,
    const std::function<bool()>& should_stop) {
  const auto result = range_test(
      model,
      settings,
      source,
      LRRangeTestOptions()
          .start_lr(settings.lr / static_cast<double>(updates))
          .end_lr(settings.lr)
          .spacing(LRSpacing::kLinear)
          .num_iterations(updates)
          .accumulation_steps(accumulate)
          .progress([&](std::int64_t, double, double) {
            return !should_stop || !should_stop();
          }));
  if (went_wrong(result)) {
    return true;
  }
  // A rise alone is no harm: many a network comes back from it. Nor is a loss
  // that stays where it was, as at a rate that is too small.
  constexpr double kRisen = 1.5;
  constexpr double kNotFallen = 0.9;
  const auto& losses = result.losses;
  if (static_cast<std::int64_t>(losses.size()) < kLeastUpdates) {
    return false;
  }
  const double start = losses.front();
  const auto third = static_cast<std::ptrdiff_t>(losses.size() / 3);
  double highest = start;
  for (auto at = losses.begin(); losses.end() - at >= kLeastUpdates / 2; ++at) {
    highest = std::max(highest, median(at, at + kLeastUpdates / 2));
  }
  return highest > kRisen * start &&
         median(losses.end() - third, losses.end()) > kNotFallen * start;
}

bool went_wrong(const LRRangeTestResult& result) {
  return result.status == LRRangeStatus::kDiverged ||
         result.status == LRRangeStatus::kNonFinite;
}

}  // namespace stepsize::trainer
