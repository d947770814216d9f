#include "csrc/tune/lr_curve.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "csrc/core/check.h"
#include "csrc/text/number.h"
#include "csrc/tune/lr_noise.h"

namespace stepsize {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Losses are cut off this many times the noise above the start: lower, and the
// cut would bend the start itself.
constexpr double kHeadroom = 3;
// The lowest of many windows is tried against four numbers of first points. How
// many standard errors it has to be below them, of so many tries: the quantile
// of a normal distribution at a thousandth over them (Abramowitz and Stegun
// 1964, 26.2.23). The noise is an estimate from a window, which makes it more
// in fact.
double significant(std::size_t points, std::size_t half_width) {
  const double width = 2 * static_cast<double>(half_width) + 1;
  const double tries = 4 * std::max(1.0, static_cast<double>(points) / width);
  const double t = std::sqrt(-2 * std::log(1e-3 / tries));
  return t - (2.515517 + t * (0.802853 + t * 0.010328)) /
                 (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
}

// Losses are rounded more than once on their way here.
constexpr double kRoundings = 4;

// A dip of less than this share of the whole fall is on the way down: no rise
// behind it ends the curve.
constexpr double kPartOfSpan = 0.25;
// After a rise by this share of the fall, which is none of noise, the curve has
// had its floor: what a network that has been shaken does later is of no
// interest.
constexpr double kRisen = 0.5;

// Sums over one window, x counted from its mean.
struct Window {
  double value = kNaN;
  double slope = kNaN;
  double slope_error = kNaN;
  // The variance of `value` over that of one loss.
  double value_variance = kNaN;
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
  if (count == 1) return {mean_y, 0, kInfinity, 1};
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
  fit.value_variance = 0;
  double squares = 0;
  for (std::size_t j = first; j <= last; ++j) {
    const double w = weight(j);
    if (w == 0) continue;
    const double share = w / sum + w * (x[j] - mean_x) * (x[at] - mean_x) / sxx;
    fit.value_variance += share * share;
    const double r = y[j] - mean_y - fit.slope * (x[j] - mean_x);
    squares += w * r * r;
  }
  // The expectation of the sum of w r^2, over the variance of the noise.
  const double freedom = sum - w2 / sum - w2xx / sxx;
  fit.slope_error =
      count > 2 ? std::sqrt(squares / freedom * w2xx) / sxx : kInfinity;
  return fit;
}

std::vector<Window> fit_windows(
    const char* function,
    const std::vector<double>& lrs,
    const std::vector<double>& losses,
    int64_t half_width) {
  detail::check_lr_curve(function, lrs, losses);
  detail::check_option(
      half_width >= 1, function, "half_width", ">= 1", half_width);
  std::vector<double> x;
  x.reserve(lrs.size());
  for (const double lr : lrs) x.push_back(std::log(lr));
  std::vector<Window> windows;
  windows.reserve(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    windows.push_back(
        fit_window(x, losses, i, static_cast<std::size_t>(half_width)));
  }
  return windows;
}

LRCurveFit curve_of(const std::vector<Window>& windows) {
  LRCurveFit fit;
  for (const Window& window : windows) {
    fit.values.push_back(window.value);
    fit.slopes.push_back(window.slope);
    fit.slope_errors.push_back(window.slope_error);
  }
  return fit;
}

bool is_finite_loss(double value) { return std::isfinite(value); }

// The points before the lowest that its value is held against, and by how many
// standard errors it is below their mean.
struct Fall {
  double start = kNaN;
  double errors = -kInfinity;
};

// Few points at the start know nothing of a fall that begins at once, and many
// have the smaller error: of four numbers of points, the one that shows most.
Fall fall_to(
    std::size_t lowest,
    double value,
    double variance,
    double noise,
    const std::vector<double>& losses,
    std::size_t half_width) {
  Fall best;
  const std::size_t few = detail::start_points(losses.size());
  half_width = std::min(half_width, losses.size());
  for (const std::size_t count :
       {few, half_width + 1, 2 * half_width + 1, 4 * half_width + 2}) {
    // The window of the lowest value shares no point with these.
    if (count > few && count + half_width > lowest) break;
    double sum = 0;
    double finite = 0;
    for (std::size_t i = 0; i < std::min(count, losses.size()); ++i) {
      if (!std::isfinite(losses[i])) continue;
      sum += losses[i];
      ++finite;
    }
    if (finite == 0) continue;
    const double mean = sum / finite;
    const double error = noise * std::sqrt(1 / finite + variance);
    const double errors = error > 0       ? (mean - value) / error
                          : mean == value ? 0
                          : mean > value  ? kInfinity
                                          : -kInfinity;
    if (errors > best.errors) best = {mean, errors};
  }
  return best;
}

// The lowest value, where the search for it ends, and whether it counts.
void find_floor(
    const std::vector<double>& losses,
    const std::vector<double>& cut,
    const std::vector<double>& variances,
    std::size_t half_width,
    double precision,
    detail::LRCurve& curve) {
  const auto& values = curve.fit.values;
  double largest = 0;
  double least = kInfinity;
  double most = -kInfinity;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const double loss = losses[i];
    if (!std::isfinite(loss)) continue;
    // What a divergence leaves behind rounds nothing before it.
    largest = std::max(largest, std::abs(cut[i]));
    least = std::min(least, loss);
    most = std::max(most, loss);
  }
  const double resolution =
      std::max(detail::resolution_of(losses), precision * largest);
  // The means and fits here add up so many terms.
  const double terms =
      16 + 4 * static_cast<double>(std::min(half_width, losses.size()));
  const double rounding = std::max(
      kRoundings * resolution,
      terms * std::numeric_limits<double>::epsilon() * largest);
  const double few_steps = detail::noise_of_few_steps(losses);
  const double enough = significant(losses.size(), half_width);
  double bottom = kInfinity;
  for (const double value : values) bottom = std::min(bottom, value);
  double lowest = kInfinity;
  double noise = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    curve.risen = i + 1;
    if (values[i] < lowest) {
      lowest = values[i];
      curve.lowest = i;
      // Rounding to a step spreads as twelve parts of its square.
      noise = std::hypot(
          std::max(
              few_steps, detail::noise_up_to(losses, i, curve.noise_reach)),
          resolution / std::sqrt(12.0));
      const Fall fall =
          fall_to(i, lowest, variances[i], noise, cut, half_width);
      curve.falls = fall.errors > enough && fall.start - lowest > rounding;
      if (std::isfinite(fall.start)) curve.start = fall.start;
      curve.lowest_error = noise * std::sqrt(variances[i]);
    }
    const double fall = curve.start - lowest;
    const double rise = values[i] - lowest;
    if (curve.falls && fall > kPartOfSpan * (curve.start - bottom) &&
        rise > kRisen * fall && rise > enough * curve.lowest_error) {
      break;
    }
  }
  const double limit = lowest + curve.lowest_error;
  curve.floor_first = curve.floor_last = curve.lowest;
  for (std::size_t i = 0; i < curve.risen; ++i) {
    if (!(values[i] <= limit)) continue;
    curve.floor_first = std::min(curve.floor_first, i);
    curve.floor_last = std::max(curve.floor_last, i);
  }
  curve.is_flat = most >= least && most - least <= rounding;
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
    int64_t half_width,
    double precision) {
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
  const auto windows = fit_windows("fit_lr_curve", lrs, cut, half_width);
  curve.fit = curve_of(windows);
  std::vector<double> variances;
  for (const Window& window : windows) {
    variances.push_back(window.value_variance);
  }
  const auto width = static_cast<std::size_t>(half_width);
  find_floor(losses, cut, variances, width, precision, curve);

  const auto first = std::find_if(losses.begin(), losses.end(), is_finite_loss);
  const auto last =
      std::find_if(losses.rbegin(), losses.rend(), is_finite_loss);
  curve.first = static_cast<std::size_t>(first - losses.begin());
  curve.end = static_cast<std::size_t>(losses.rend() - last);
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
  return curve_of(fit_windows("fit_lr_curve", lrs, losses, half_width));
}

}  // namespace stepsize
