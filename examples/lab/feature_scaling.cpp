// One feature in other units, and gradient descent takes ten thousand times as
// long: its best constant rate shrinks the gap by ((k - 1) / (k + 1))^2 in each
// update, k being the ratio of the largest to the smallest curvature.
//
//   feature_scaling [OUT_DIR]
//
// The data are made so that k is known. Of three features the second and third
// have variance 1 and correlation r = 3/11, the first is uncorrelated with them
// and has variance a. With the first one times s the curvatures are the
// eigenvalues of X'X / n: a s^2, 1 + r and 1 - r.

#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/lanczos.h>
#include <stepsize/report/line_plot.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "lab.h"

namespace {

constexpr double kVariance = 0.866625;
constexpr double kCorrelation = 3.0 / 11;
constexpr double kShrink = 1e-12;

// Eight rows: a full factorial design has columns that are orthogonal.
torch::Tensor features() {
  const auto sign = torch::tensor({-1.0, 1.0}, torch::kDouble);
  const auto design = torch::cartesian_prod({sign, sign, sign}).t();
  return torch::stack(
      {std::sqrt(kVariance) * design[0],
       design[1],
       kCorrelation * design[1] +
           std::sqrt(1 - kCorrelation * kCorrelation) * design[2]},
      1);
}

double condition(double variance) {
  const double r = kCorrelation;
  return std::max(variance, 1 + r) / std::min(variance, 1 - r);
}

double updates_needed(double k) {
  return std::log(kShrink) / (2 * std::log((k - 1) / (k + 1)));
}

struct Descent {
  double condition;
  std::vector<double> gaps;
};

// Least squares from w = 0 at the best constant rate, 2 / (largest + smallest
// curvature). The targets can be fitted exactly: the loss is the gap.
Descent descend(const torch::Tensor& x, const torch::Tensor& targets) {
  auto w = torch::zeros({3}, torch::kDouble).requires_grad_(true);
  const auto loss = [&] { return (x.mv(w) - targets).square().mean() / 2; };
  const auto spectrum = stepsize::lanczos(
      stepsize::hessian_operator(loss, {w}),
      stepsize::LanczosOptions().k(3).tolerance(0));
  const double largest = spectrum.values.front();
  const double smallest = spectrum.values.back();

  Descent descent{largest / smallest, {}};
  torch::optim::SGD sgd({w}, 2 / (largest + smallest));
  do {
    descent.gaps.push_back(stepsize::lab::update(sgd, loss));
  } while (descent.gaps.back() > kShrink * descent.gaps.front() &&
           descent.gaps.size() < 1000000);
  return descent;
}

void experiment(stepsize::lab::Lab& lab) {
  const auto x = features();
  const auto targets = x.mv(torch::tensor({1.0, 1.0, -1.0}, torch::kDouble));
  stepsize::LinePlot plot("The same data with one feature times 1, 10, 100");
  plot.x_label("updates").x_log().x_range(1, 1e5);
  plot.y_label("gap to the optimum").y_log().y_range(1e-13, 2);

  const auto show = [&](const std::string& what,
                        const torch::Tensor& scaled,
                        double variance) {
    const double k = condition(variance);
    const Descent descent = descend(scaled, targets);
    lab.expect_near(what + ": condition", k, descent.condition, 1e-9 * k);
    lab.expect_near(
        what + ": updates",
        std::ceil(updates_needed(k)),
        static_cast<double>(descent.gaps.size() - 1),
        2);
    std::vector<double> updates(descent.gaps.size());
    for (std::size_t i = 0; i < updates.size(); ++i) {
      updates[i] = static_cast<double>(i);
    }
    plot.line(what, updates, descent.gaps);
  };
  for (const double times : {1.0, 10.0, 100.0}) {
    const auto factors = torch::tensor({times, 1.0, 1.0}, torch::kDouble);
    show(
        "times " + std::to_string(static_cast<int>(times)),
        x * factors,
        kVariance * times * times);
  }
  const auto scaled = x * torch::tensor({100.0, 1.0, 1.0}, torch::kDouble);
  const auto deviation = scaled.square().mean(0).sqrt();
  show("times 100, standardized", scaled / deviation, 1);
  lab.draw("feature_scaling", plot);
}

}  // namespace

int main(int argc, char** argv) {
  return stepsize::lab::run(
      argc, argv, "Updates until the gap has shrunk by 1e12", experiment);
}
