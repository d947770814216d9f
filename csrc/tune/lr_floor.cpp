#include "csrc/tune/lr_floor.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

#include "csrc/tune/lr_noise.h"

namespace stepsize::detail {
namespace {

constexpr std::size_t kReach = 2;
constexpr double kRise = 0.1;
constexpr double kNoisesOfFloor = 2;

// Of five losses around each; the ends have the nearest of such medians. One
// that is not finite counts as the highest.
std::vector<double> running_medians(const std::vector<double>& losses) {
  constexpr std::size_t kWidth = 2 * kReach + 1;
  std::vector<double> medians(losses.size());
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const std::size_t first =
        std::min(i - std::min(i, kReach), losses.size() - kWidth);
    std::array<double, kWidth> window{};
    for (std::size_t k = 0; k < kWidth; ++k) {
      const double loss = losses[first + k];
      window[k] =
          std::isfinite(loss) ? loss : std::numeric_limits<double>::infinity();
    }
    std::nth_element(window.begin(), window.begin() + kReach, window.end());
    medians[i] = window[kReach];
  }
  return medians;
}

}  // namespace

std::size_t floor_end(const std::vector<double>& losses, const LRCurve& curve) {
  if (losses.size() < 2 * kReach + 1) {
    return curve.lowest;
  }
  const auto medians = running_medians(losses);
  const double fall = curve.start - curve.fit.values[curve.lowest];
  const auto floor = std::min_element(
      medians.begin(),
      medians.begin() + static_cast<std::ptrdiff_t>(curve.risen));
  const double noise = noise_up_to(
      losses,
      static_cast<std::size_t>(floor - medians.begin()),
      curve.noise_reach);
  const double limit = *floor + std::max(kRise * fall, kNoisesOfFloor * noise);
  const auto above = std::find_if(
      floor, medians.end(), [limit](double loss) { return loss > limit; });
  return static_cast<std::size_t>(above - medians.begin()) - 1;
}

}  // namespace stepsize::detail
