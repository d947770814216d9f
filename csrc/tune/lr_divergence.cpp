#include "csrc/tune/lr_divergence.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "csrc/core/check.h"
#include "csrc/tune/lr_curve.h"

namespace stepsize::detail {
namespace {

// What stands for the fall where the loss has hardly fallen: no noise, and no
// rounding of a float32 sum, makes the average rise by so much.
constexpr double kNoises = 4;
constexpr double kRounding = 1e-5;

}  // namespace

DivergenceWatch::DivergenceWatch(const LRRangeTestOptions& options)
    : smoothing_(options.smoothing()),
      factor_(options.divergence()),
      planned_(static_cast<std::size_t>(options.num_iterations())) {}

bool DivergenceWatch::seen(double loss) {
  losses_.push_back(loss);
  average_ = smoothing_ * average_ + (1 - smoothing_) * loss;
  share_ *= smoothing_;
  latest_ = average_ / (1 - share_);
  best_ = std::min(best_, latest_);
  if (losses_.size() < start_points(planned_)) return false;
  if (losses_.size() == start_points(planned_)) {
    initial_ = start_height(losses_, planned_);
  }
  double fall = std::max(initial_ - best_, kRounding * std::abs(initial_));
  if (latest_ <= best_ + factor_ * fall) return false;
  // A median over all losses, which is seldom asked for.
  fall = std::max(fall, kNoises * noise_of(losses_));
  limit_ = best_ + factor_ * fall;
  return latest_ > limit_;
}

std::string DivergenceWatch::reason() const {
  char text[96];
  std::snprintf(
      text,
      sizeof text,
      "the averaged loss rose to %.4g, above %.4g",
      latest_,
      limit_);
  return text;
}

}  // namespace stepsize::detail
