// Where six rules of learning rate finders put the steepest point of a range
// test whose steepest point is known, and how much they scatter.
//
//   lr_finders [OUT_DIR]
//
// The loss falls along a logistic curve in log10 lr, steepest at 1e-3, rises
// beyond 1e-1, and has normal noise; 100 rates from 1e-7 to 10, 200 curves that
// differ in their noise.

#include <stepsize/report/line_plot.h>
#include <stepsize/tune/lr_suggestion.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "lab.h"

namespace {

constexpr int kCurves = 200;
constexpr int kRates = 100;
constexpr double kSteepest = -3;  // log10
constexpr double kNoise = 0.1;

using Values = std::vector<double>;

struct Curve {
  Values lrs;
  Values losses;
};

Curve curve(std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<double> noise(0, kNoise);
  Curve points;
  for (int i = 0; i < kRates; ++i) {
    const double l = -7 + 8.0 * i / (kRates - 1);
    const double fall = 1.5 / (1 + std::exp(-(l - kSteepest) / 0.35));
    const double rise = l > -1 ? 1.5 * (l + 1) * (l + 1) : 0;
    points.lrs.push_back(std::pow(10.0, l));
    points.losses.push_back(2.3 - fall + rise + noise(generator));
  }
  return points;
}

// Where the slope between neighbours is lowest, by the rate itself: a
// difference of a hundredth weighs the more, the smaller the rate is.
std::optional<double> steepest_in_lr(const Values& lrs, const Values& losses) {
  std::size_t best = 1;
  double lowest = INFINITY;
  for (std::size_t i = 1; i + 1 < lrs.size(); ++i) {
    const double slope =
        (losses[i + 1] - losses[i - 1]) / (lrs[i + 1] - lrs[i - 1]);
    if (slope < lowest) {
      lowest = slope;
      best = i;
    }
  }
  return lrs[best];
}

// fastai leaves out the first tenth and the last five points, Lightning the
// first ten and the last; the losses are averaged before.
Curve averaged(const Curve& whole, int at_end) {
  constexpr int kAtStart = kRates / 10;
  const auto part = [at_end](const Values& values) {
    return Values(values.begin() + kAtStart, values.end() - at_end);
  };
  return {part(whole.lrs), part(stepsize::averaged_losses(whole.losses))};
}

struct Finder {
  std::string name;
  std::function<std::optional<double>(const Curve&)> find;
};

std::vector<Finder> finders() {
  constexpr int kFastai = 5;
  constexpr int kLightning = 1;
  return {
      {"local line through raw losses",
       [](const Curve& c) {
         return stepsize::suggest_lr(c.lrs, c.losses).steepest;
       }},
      {"raw differences in ln lr",
       [](const Curve& c) { return stepsize::steep_lr(c.lrs, c.losses); }},
      {"fastai: steep",
       [](const Curve& c) {
         const auto [lrs, losses] = averaged(c, kFastai);
         return stepsize::steep_lr(lrs, losses);
       }},
      {"fastai: valley",
       [](const Curve& c) {
         const auto [lrs, losses] = averaged(c, kFastai);
         return stepsize::valley_lr(lrs, losses);
       }},
      {"fastai: minimum / 10",
       [](const Curve& c) {
         const auto [lrs, losses] = averaged(c, kFastai);
         return stepsize::minimum_tenth_lr(lrs, losses);
       }},
      {"Lightning: steepest in lr", [](const Curve& c) {
         const auto [lrs, losses] = averaged(c, kLightning);
         return steepest_in_lr(lrs, losses);
       }}};
}

double quantile(const Values& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double part = at - static_cast<double>(below);
  return (1 - part) * sorted[below] + part * sorted[above];
}

void experiment(stepsize::lab::Lab& lab) {
  stepsize::LinePlot plot("Six rules on 200 curves that are steepest at 1e-3");
  plot.x_label("rate that the rule says").x_log();
  plot.y_label("share of curves below, %");
  bool is_ours = true;
  for (const Finder& finder : finders()) {
    Values found;
    for (std::uint64_t seed = 1; seed <= kCurves; ++seed) {
      if (const auto rate = finder.find(curve(seed))) {
        found.push_back(std::log10(*rate));
      }
    }
    if (found.empty()) {
      lab.note(finder.name, NAN);
      continue;
    }
    std::sort(found.begin(), found.end());
    const double median = quantile(found, 0.5);
    const double range = quantile(found, 0.75) - quantile(found, 0.25);
    if (is_ours) {
      lab.expect_near(finder.name, kSteepest, median, 0.1);
      lab.expect_between("  interquartile range, decades", 0, 0.25, range);
      lab.expect_near(
          "  curves with an answer",
          kCurves,
          static_cast<double>(found.size()),
          0);
    } else {
      lab.note(finder.name, median);
      lab.note("  interquartile range, decades", range);
    }
    is_ours = false;
    Values rates;
    Values shares;
    for (std::size_t i = 0; i < found.size(); ++i) {
      constexpr double kPercent = 100;
      rates.push_back(std::pow(10.0, found[i]));
      shares.push_back(
          kPercent * (static_cast<double>(i) + 0.5) /
          static_cast<double>(found.size()));
    }
    plot.line(finder.name, rates, shares);
  }
  lab.draw("lr_finders", plot);
}

}  // namespace

int main(int argc, char** argv) {
  return stepsize::lab::run(
      argc,
      argv,
      "log10 of the steepest rate, median of 200 curves",
      experiment);
}
