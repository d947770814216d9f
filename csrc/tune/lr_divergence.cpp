#include "csrc/tune/lr_divergence.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "csrc/text/number.h"
#include "csrc/tune/lr_noise.h"

namespace stepsize::detail {
namespace {

// What stands for the fall where the loss has hardly fallen: no noise, and no
// rounding of a float32 sum, makes the average rise by so much.
constexpr double kNoisesOfDivergence = 4;
constexpr double kRounding = 1e-5;

// The average lags behind a rise by up to fifty points. The middle of so many
// losses does not, and four wild ones do not move it. With fewer, the smooth
// curve would end too soon behind its floor, and put that too far right.
constexpr std::ptrdiff_t kRecent = 9;

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
  const double recent = recent_median();
  if (std::max(latest_, recent) <= best_ + factor_ * fall) return false;
  // A median over all losses, which is seldom asked for.
  fall = std::max(fall, kNoisesOfDivergence * noise_of(losses_));
  const double limit = best_ + factor_ * fall;
  const bool by_average = latest_ > limit;
  const double height = by_average ? latest_ : recent;
  if (height <= limit) return false;
  reason_ =
      by_average ? "the averaged loss" : "the median of the last nine losses";
  reason_ += " rose to " + short_number_text(height) + ", above " +
             short_number_text(limit);
  return true;
}

double DivergenceWatch::recent_median() const {
  if (losses_.size() < static_cast<std::size_t>(kRecent)) return latest_;
  return median({losses_.end() - kRecent, losses_.end()});
}

}  // namespace stepsize::detail
