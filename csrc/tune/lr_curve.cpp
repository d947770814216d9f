#include "csrc/tune/lr_curve.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "csrc/core/check.h"

namespace stepsize {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Losses are cut off this many times the noise above the start: lower, and the
// cut would bend the start itself.
constexpr double kHeadroom = 3;
// A fit through some ten points errs by a third of the noise; a fall of twice
// the noise is none that chance makes.
constexpr double kRealFall = 2;

// After a rise by this share of the fall the curve has had its floor: what a
// network that has been blown up does later is of no interest.
constexpr double kRisen = 0.5;

double median(std::vector<double> values) {
  const auto middle =
      values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Sums over one window, x counted from its mean.
struct Window {
  double value = kNaN;
  double slope = kNaN;
  double slope_error = kNaN;
};

Window fit_window(
    const std::vector<double>& x,
    const std::vector<double>& y,
    std::size_t at,
    std::size_t half_width) {
  const std::size_t first = at - std::min(at, half_width);
  const std::size_t last = std::min(at + half_width, x.size() - 1);
  const auto weight = [&](std::size_t j) {
    const double u = (static_cast<double>(j) - static_cast<double>(at)) /
                     (static_cast<double>(half_width) + 1);
    return std::isfinite(y[j]) ? 1 - u * u : 0.0;
  };
  double sum = 0;
  double sum_x = 0;
  double sum_y = 0;
  int64_t count = 0;
  for (std::size_t j = first; j <= last; ++j) {
    const double w = weight(j);
    if (w == 0) continue;
    sum += w;
    sum_x += w * x[j];
    sum_y += w * y[j];
    ++count;
  }
  if (count == 0) return {};
  const double mean_x = sum_x / sum;
  const double mean_y = sum_y / sum;
  if (count == 1) return {mean_y, 0, kInfinity};
  double sxx = 0;
  double sxy = 0;
  double w2 = 0;
  double w2xx = 0;
  for (std::size_t j = first; j <= last; ++j) {
    const double w = weight(j);
    if (w == 0) continue;
    const double dx = x[j] - mean_x;
    sxx += w * dx * dx;
    sxy += w * dx * (y[j] - mean_y);
    w2 += w * w;
    w2xx += w * w * dx * dx;
  }
  Window fit;
  fit.slope = sxy / sxx;
  fit.value = mean_y + fit.slope * (x[at] - mean_x);
  double squares = 0;
  for (std::size_t j = first; j <= last; ++j) {
    const double w = weight(j);
    if (w == 0) continue;
    const double r = y[j] - mean_y - fit.slope * (x[j] - mean_x);
    squares += w * r * r;
  }
  // The expectation of the sum of w r^2, over the variance of the noise.
  const double freedom = sum - w2 / sum - w2xx / sxx;
  fit.slope_error =
      count > 2 ? std::sqrt(squares / freedom * w2xx) / sxx : kInfinity;
  return fit;
}

}  // namespace

namespace detail {

void check_lr_curve(
    const char* function,
    const std::vector<double>& lrs,
    const std::vector<double>& losses) {
  TORCH_CHECK(
      lrs.size() == losses.size(),
      function,
      ": there must be as many rates as losses, got ",
      std::to_string(lrs.size()),
      " and ",
      std::to_string(losses.size()));
  for (std::size_t i = 0; i < lrs.size(); ++i) {
    TORCH_CHECK(
        std::isfinite(lrs[i]) && lrs[i] > 0 && (i == 0 || lrs[i] > lrs[i - 1]),
        function,
        ": the rates must be finite, > 0 and increasing, got ",
        number_text(lrs[i]),
        " at index ",
        std::to_string(i));
  }
}

double noise_of(const std::vector<double>& losses) {
  std::vector<double> jumps;
  jumps.reserve(losses.size());
  double before = kNaN;
  for (const double loss : losses) {
    if (!std::isfinite(loss)) continue;
    if (!std::isnan(before)) jumps.push_back(std::abs(loss - before));
    before = loss;
  }
  if (jumps.empty()) return 0;
  // Of a normal distribution the median of |x| is 0.6745 deviations; that of a
  // difference is sqrt(2) times as wide.
  return median(std::move(jumps)) / (0.6745 * std::sqrt(2.0));
}

std::size_t start_points(std::size_t planned) {
  return std::max<std::size_t>(3, planned / 20);
}

double start_height(const std::vector<double>& losses, std::size_t planned) {
  std::vector<double> first;
  for (const double loss : losses) {
    if (first.size() == start_points(planned)) break;
    if (std::isfinite(loss)) first.push_back(loss);
  }
  return first.empty() ? kNaN : median(std::move(first));
}

LRCurve lr_curve(
    const std::vector<double>& lrs,
    const std::vector<double>& losses,
    int64_t half_width) {
  LRCurve curve;
  const double noise = noise_of(losses);
  curve.start = start_height(losses, losses.size());
  std::vector<double> cut = losses;
  for (double& loss : cut) {
    if (std::isfinite(loss)) {
      loss = std::min(loss, curve.start + kHeadroom * noise);
    }
  }
  curve.fit = fit_lr_curve(lrs, cut, half_width);
  const auto& values = curve.fit.values;
  double lowest = kInfinity;
  for (std::size_t i = 0; i < values.size(); ++i) {
    curve.risen = i + 1;
    if (values[i] < lowest) {
      lowest = values[i];
      curve.lowest = i;
    }
    const double fall = curve.start - lowest;
    if (fall > kRealFall * noise && values[i] - lowest > kRisen * fall) break;
  }
  curve.falls = curve.start - lowest > kRealFall * noise;
  return curve;
}

}  // namespace detail

LRCurveFit fit_lr_curve(
    const std::vector<double>& lrs,
    const std::vector<double>& losses,
    int64_t half_width) {
  detail::check_lr_curve("fit_lr_curve", lrs, losses);
  detail::check_option(
      half_width >= 1, "fit_lr_curve", "half_width", ">= 1", half_width);
  std::vector<double> x;
  x.reserve(lrs.size());
  for (const double lr : lrs) x.push_back(std::log(lr));
  LRCurveFit fit;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const Window window =
        fit_window(x, losses, i, static_cast<std::size_t>(half_width));
    fit.values.push_back(window.value);
    fit.slopes.push_back(window.slope);
    fit.slope_errors.push_back(window.slope_error);
  }
  return fit;
}

}  // namespace stepsize
