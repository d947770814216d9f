#include <stepsize/tune/lr_suggestion.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "csrc/core/check.h"
#include "csrc/tune/lr_curve.h"

namespace stepsize {
namespace {

struct Points {
  std::vector<double> lrs;
  std::vector<double> losses;
};

Points finite_points(
    const char* function,
    const std::vector<double>& lrs,
    const std::vector<double>& losses) {
  detail::check_lr_curve(function, lrs, losses);
  Points finite;
  for (std::size_t i = 0; i < lrs.size(); ++i) {
    if (std::isfinite(losses[i])) {
      finite.lrs.push_back(lrs[i]);
      finite.losses.push_back(losses[i]);
    }
  }
  return finite;
}

}  // namespace

std::vector<double> averaged_losses(
    const std::vector<double>& losses, double smoothing) {
  detail::check_option(
      smoothing >= 0 && smoothing < 1,
      "averaged_losses",
      "smoothing",
      "in [0, 1)",
      smoothing);
  std::vector<double> averaged;
  averaged.reserve(losses.size());
  double average = 0;
  double share = 1;
  for (const double loss : losses) {
    average = smoothing * average + (1 - smoothing) * loss;
    share *= smoothing;
    averaged.push_back(average / (1 - share));
  }
  return averaged;
}

std::optional<double> valley_lr(
    const std::vector<double>& lrs, const std::vector<double>& losses) {
  const Points points = finite_points("valley_lr", lrs, losses);
  // Patience sorting: ends[k] is the highest loss that a decreasing subsequence
  // of k + 1 points can end on.
  std::vector<double> ends;
  std::size_t end = 0;
  for (std::size_t i = 0; i < points.losses.size(); ++i) {
    const double loss = points.losses[i];
    const auto place = std::lower_bound(
        ends.begin(), ends.end(), loss, [](double there, double value) {
          return there > value;
        });
    if (place == ends.end()) {
      ends.push_back(loss);
      end = i;
    } else {
      *place = loss;
    }
  }
  const std::size_t length = ends.size();
  if (length < 2) return std::nullopt;
  // With a curve that only falls the start lies before the first point.
  const std::size_t index = end + length / 3 + length / 6;
  return points.lrs[index < length ? 0 : index - length];
}

std::optional<double> steep_lr(
    const std::vector<double>& lrs, const std::vector<double>& losses) {
  const Points points = finite_points("steep_lr", lrs, losses);
  std::optional<double> best;
  double lowest = 0;
  for (std::size_t i = 1; i < points.lrs.size(); ++i) {
    const double slope = (points.losses[i] - points.losses[i - 1]) /
                         std::log(points.lrs[i] / points.lrs[i - 1]);
    if (slope < lowest) {
      lowest = slope;
      best = points.lrs[i - 1];
    }
  }
  return best;
}

std::optional<double> minimum_tenth_lr(
    const std::vector<double>& lrs, const std::vector<double>& losses) {
  const Points points = finite_points("minimum_tenth_lr", lrs, losses);
  const auto lowest =
      std::min_element(points.losses.begin(), points.losses.end());
  if (lowest == points.losses.end()) return std::nullopt;
  return points.lrs[static_cast<std::size_t>(lowest - points.losses.begin())] /
         10;
}

}  // namespace stepsize
