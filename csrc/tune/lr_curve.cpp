#include "csrc/tune/lr_curve.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "csrc/core/check.h"
#include "csrc/tune/lr_noise.h"

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

// A dip of less than this share of the whole fall is on the way down: no rise
// behind it ends the curve.
constexpr double kPartOfSpan = 0.25;
// After a rise by this share of the fall the curve has had its floor: what a
// network that has been blown up does later is of no interest.
constexpr double kRisen = 0.5;

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

bool is_finite_loss(double value) { return std::isfinite(value); }

// The lowest value, where the search for it ends, and whether it counts.
void find_floor(const std::vector<double>& losses, detail::LRCurve& curve) {
  const auto& values = curve.fit.values;
  double bottom = kInfinity;
  for (const double value : values) bottom = std::min(bottom, value);
  const double least = kPartOfSpan * (curve.start - bottom);
  double lowest = kInfinity;
  double counts = kInfinity;
  for (std::size_t i = 0; i < values.size(); ++i) {
    curve.risen = i + 1;
    if (values[i] < lowest) {
      lowest = values[i];
      curve.lowest = i;
      counts = kRealFall * detail::noise_up_to(losses, i, curve.noise_reach);
    }
    const double fall = curve.start - lowest;
    curve.falls = fall > counts;
    if (curve.falls && fall > least && values[i] - lowest > kRisen * fall) {
      break;
    }
  }
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

LRCurve lr_curve(
    const std::vector<double>& lrs,
    const std::vector<double>& losses,
    int64_t half_width) {
  LRCurve curve;
  curve.noise_reach = noise_reach(half_width);
  curve.start = start_height(losses, losses.size());
  std::vector<double> cut = losses;
  if (!losses.empty()) {
    const double top =
        curve.start + kHeadroom * noise_up_to(losses, 0, curve.noise_reach);
    for (double& loss : cut) {
      if (std::isfinite(loss)) loss = std::min(loss, top);
    }
  }
  curve.fit = fit_lr_curve(lrs, cut, half_width);
  find_floor(losses, curve);

  const auto first = std::find_if(losses.begin(), losses.end(), is_finite_loss);
  const auto last =
      std::find_if(losses.rbegin(), losses.rend(), is_finite_loss);
  curve.first = static_cast<std::size_t>(first - losses.begin());
  curve.end = static_cast<std::size_t>(losses.rend() - last);
  const auto width = static_cast<std::size_t>(half_width);
  curve.suggests = curve.falls && curve.lowest > curve.first + width;
  curve.falls_to_the_end =
      curve.suggests && curve.lowest + width + 1 >= curve.end;
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
