#include "csrc/tune/lr_range_options.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "csrc/core/check.h"
#include "csrc/text/number.h"

namespace stepsize::detail {

void check_lr_range_options(
    const LRRangeTestOptions& options,
    const torch::optim::Optimizer& optimizer) {
  const auto check =
      [](bool holds, const char* option, const std::string& rule, auto value) {
        check_option(holds, kLRRangeTest, option, rule, value);
      };
  const double start = options.start_lr();
  const double end = options.end_lr();
  check(std::isfinite(start) && start > 0, "start_lr", "finite and > 0", start);
  check(
      std::isfinite(end) && end > start,
      "end_lr",
      "finite and > start_lr (" + number_text(start) + ")",
      end);
  check(
      options.num_iterations() >= 2,
      "num_iterations",
      ">= 2",
      options.num_iterations());
  check(
      options.accumulation_steps() >= 1,
      "accumulation_steps",
      ">= 1",
      options.accumulation_steps());
  check(
      options.smoothing() >= 0 && options.smoothing() < 1,
      "smoothing",
      "in [0, 1)",
      options.smoothing());
  check(options.divergence() > 0, "divergence", "> 0", options.divergence());
  check(options.half_width() >= 0, "half_width", ">= 0", options.half_width());

  const auto& ratios = options.group_ratios();
  if (ratios.empty()) return;
  check(
      ratios.size() == 1 || ratios.size() == optimizer.param_groups().size(),
      "group_ratios",
      "one a parameter group (" +
          std::to_string(optimizer.param_groups().size()) + "), or one for all",
      static_cast<int64_t>(ratios.size()));
  check(ratios[0] == 1, "group_ratios[0]", "1", ratios[0]);
  for (const double ratio : ratios) {
    check(
        std::isfinite(ratio) && ratio >= 0,
        "group_ratios",
        "finite and >= 0",
        ratio);
  }
}

int64_t half_width_of(const LRRangeTestOptions& options) {
  constexpr int64_t kLeast = 10;
  constexpr int64_t kPart = 20;
  if (options.half_width() > 0) return options.half_width();
  return std::max(kLeast, options.num_iterations() / kPart);
}

double swept_lr(const LRRangeTestOptions& options, int64_t iteration) {
  const double start = options.start_lr();
  const double end = options.end_lr();
  if (iteration == 0) return start;
  if (iteration == options.num_iterations() - 1) return end;
  const double share = static_cast<double>(iteration) /
                       static_cast<double>(options.num_iterations() - 1);
  if (options.spacing() == LRSpacing::kLinear) {
    return start + (end - start) * share;
  }
  const double ratio = end / start;
  // Of ends that lie further apart than a double reaches.
  if (!std::isfinite(ratio)) {
    return std::exp(std::log(start) * (1 - share) + std::log(end) * share);
  }
  return start * std::pow(ratio, share);
}

std::vector<double> group_ratios(
    const LRRangeTestOptions& options,
    const torch::optim::Optimizer& optimizer) {
  const auto& given = options.group_ratios();
  if (given.size() == 1) {
    return std::vector<double>(optimizer.param_groups().size(), given[0]);
  }
  if (!given.empty()) return given;
  std::vector<double> lrs;
  for (const auto& group : optimizer.param_groups()) {
    lrs.push_back(group.options().get_lr());
  }
  const double first = lrs.front();
  const bool all_zero =
      std::all_of(lrs.begin(), lrs.end(), [](double lr) { return lr == 0; });
  TORCH_CHECK(
      all_zero || first > 0,
      kLRRangeTest,
      ": the rate of the first parameter group must be > 0 where others have "
      "one, got ",
      number_text(first),
      "; give the groups' ratios in group_ratios");
  for (double& lr : lrs) lr = all_zero ? 1.0 : lr / first;
  return lrs;
}

}  // namespace stepsize::detail
