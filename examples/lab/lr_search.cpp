// Trials until a search has found a rate, beside a grid of 41 rates and random
// search, where the answer is known: the loss of gradient descent on a
// quadratic of two curvatures after N updates, and a logistic regression on two
// clouds of points.
//
//   lr_search [OUT_DIR]
//
// Draws the model of one search with its band, and the trials that it asked
// for.

#include <ATen/Functions.h>
#include <stepsize/report/line_plot.h>
#include <stepsize/tune/lr_search.h>
#include <torch/optim/sgd.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "lab.h"

namespace {

using stepsize::lr_search;
using stepsize::LRSearchOptions;
using stepsize::LRSearchResult;
using stepsize::Trial;

constexpr double kLow = 1e-5;
constexpr double kHigh = 10;
constexpr int kGrid = 41;
constexpr int kTrials = 15;
constexpr int kMostTrials = 200;
constexpr int kSeeds = 10;
constexpr double kClose = 1.1;

using Loss = std::function<double(double)>;

double rate(double share) { return kLow * std::pow(kHigh / kLow, share); }

// (1 - lr l)^N of each direction, from 1, with l = 1 and 5, and what noise of
// the gradient leaves, which grows with lr. A thirtieth of the range is
// within 1.1 of the lowest.
double quadratic(double lr) {
  constexpr int kUpdates = 30;
  double loss = 1e-2 * lr;
  for (const double curvature : {1.0, 5.0}) {
    loss += curvature * std::pow(1 - lr * curvature, 2 * kUpdates) / 2;
  }
  return loss;
}

double logistic(double lr, int64_t seed) {
  torch::manual_seed(seed);
  constexpr int64_t kPoints = 200;
  const at::Tensor labels = at::arange(kPoints, at::kFloat).remainder(2);
  const at::Tensor points =
      at::randn({kPoints, 5}) + 1.2 * (2 * labels - 1).unsqueeze(1);
  at::Tensor weights = at::zeros({5}).requires_grad_(true);
  torch::optim::SGD sgd({weights}, torch::optim::SGDOptions(lr).momentum(0.9));
  double loss = 0;
  for (int update = 0; update < 15; ++update) {
    loss = stepsize::lab::update(sgd, [&] {
      return at::binary_cross_entropy_with_logits(
          points.matmul(weights), labels);
    });
  }
  return loss;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Counts {
  std::vector<double> trials;  // until one is close
  int close = 0;               // searches whose 15 trials have one

  void add(int first) {
    trials.push_back(first);
    close += first <= kTrials ? 1 : 0;
  }
};

void compare(
    stepsize::lab::Lab& lab,
    const std::string& name,
    const std::function<double(double, int64_t)>& loss) {
  Counts ours;
  Counts random;
  for (int64_t seed = 1; seed <= kSeeds; ++seed) {
    double lowest = INFINITY;
    for (int i = 0; i < kGrid; ++i) {
      lowest = std::min(lowest, loss(rate(i / (kGrid - 1.0)), seed));
    }
    int first = kMostTrials;
    lr_search(
        [&](Trial& trial) {
          const double value = loss(trial.lr(), seed);
          if (value <= kClose * lowest) {
            first = std::min(first, static_cast<int>(trial.number()) + 1);
          }
          return value;
        },
        LRSearchOptions(kLow, kHigh).trials(kTrials).seed(seed));
    ours.add(first);
    std::mt19937_64 generator(static_cast<std::uint64_t>(seed));
    first = 1;
    while (first < kMostTrials &&
           loss(rate(static_cast<double>(generator()) * 0x1p-64), seed) >
               kClose * lowest) {
      ++first;
    }
    random.add(first);
  }
  lab.expect_between(
      name + ": searches of 15 trials within 1.1", kSeeds, kSeeds, ours.close);
  lab.expect_between(
      "  trials of the search, median", 1, kTrials, median(ours.trials));
  lab.expect_between(
      "  of random search",
      median(ours.trials) + 1,
      kMostTrials,
      median(random.trials));
}

void experiment(stepsize::lab::Lab& lab) {
  compare(lab, "quadratic", [](double lr, int64_t) { return quadratic(lr); });
  compare(lab, "logistic", logistic);
  const LRSearchResult result = lr_search(
      [](Trial& trial) { return logistic(trial.lr(), 1); },
      LRSearchOptions(kLow, kHigh).seed(1));
  lab.draw(
      "lr_search", result.plot("lr", "A search over 15 rates, and its model"));
}

}  // namespace

int main(int argc, char** argv) {
  return stepsize::lab::run(
      argc, argv, "trials until within 1.1 of a grid of 41 rates", experiment);
}
