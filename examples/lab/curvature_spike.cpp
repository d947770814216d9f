// The curvature of the loss jumps to fifty times itself for a while, as it does
// in a network on a bad stretch of data. PowerMethodSGD follows it with one
// Hessian-vector product every few updates and keeps its rate at 2 s / lambda;
// AutoSGD, which looks seldom, is warned by the gradient; SGD at the rate of
// before multiplies its error by |1 - lr lambda| = 49.
//
//   curvature_spike [OUT_DIR]
//
// The loss is lambda(t) / 2 (x1^2 + 0.6 x2^2 + 0.3 x3^2) - n(t) x with seeded
// noise n(t), which stands for mini-batches: without it x would come to rest at
// the optimum and feel no spike.

#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/report/line_plot.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "lab.h"

namespace {

constexpr int kSteps = 1500;
constexpr int kSpikeFrom = 300;
constexpr int kSpikeTo = 500;
constexpr double kSpike = 50;
constexpr double kSafety = 0.5;
constexpr double kFlattest = 0.3;

double lambda(int step) {
  return kSpikeFrom <= step && step < kSpikeTo ? kSpike : 1;
}

class Problem {
 public:
  Problem() {
    torch::manual_seed(1);
    noise_ = 0.01 * torch::randn({kSteps, 3}, torch::kDouble);
  }

  torch::Tensor loss(const torch::Tensor& x, int step) const {
    return lambda(step) / 2 * (curvatures_ * x * x).sum() - noise_[step].dot(x);
  }

 private:
  torch::Tensor curvatures_ =
      torch::tensor({1.0, 0.6, kFlattest}, torch::kDouble);
  torch::Tensor noise_;
};

torch::Tensor start() {
  return torch::ones({3}, torch::kDouble).requires_grad_(true);
}

void experiment(stepsize::lab::Lab& lab) {
  const Problem problem;
  std::vector<double> steps(kSteps), truth(kSteps), measured, rates, sizes;
  std::iota(steps.begin(), steps.end(), 0);
  std::transform(steps.begin(), steps.end(), truth.begin(), [](double step) {
    return lambda(static_cast<int>(step));
  });

  auto x = start();
  // By default the old curvature is forgotten over thousands of updates.
  stepsize::PowerMethodSGD power(
      {x},
      stepsize::PowerMethodSGDOptions().tracker(
          stepsize::SharpnessTrackerOptions().safety(kSafety).decay(0.9)));
  for (int step = 0; step < kSteps; ++step) {
    power.step([&] { return problem.loss(x, step); });
    measured.push_back(power.sharpness());
    rates.push_back(power.current_lr());
    sizes.push_back(x.norm().item<double>());
  }

  auto z = start();
  stepsize::AutoSGD automatic({z}, stepsize::AutoSGDOptions().momentum(0));
  std::vector<double> edge_rates, edge_sizes;
  int64_t losses_before = 0;
  int64_t losses_in_spike = 0;
  for (int step = 0; step < kSteps; ++step) {
    automatic.step([&] { return problem.loss(z, step); });
    edge_rates.push_back(automatic.current_lr());
    edge_sizes.push_back(z.norm().item<double>());
    if (step == kSpikeFrom - 1) losses_before = automatic.extra_losses();
    if (step == kSpikeTo - 1) losses_in_spike = automatic.extra_losses();
  }
  losses_in_spike -= losses_before;

  auto y = start();
  const double old_rate = rates[kSpikeFrom - 1];
  torch::optim::SGD plain({y}, old_rate);
  std::vector<double> plain_sizes;
  for (int step = 0; step < kSteps; ++step) {
    stepsize::lab::update(plain, [&] { return problem.loss(y, step); });
    plain_sizes.push_back(y.norm().item<double>());
  }

  const double calm_rate = 2 * kSafety;
  const auto last_before = kSpikeFrom - 1;
  lab.expect_near("sharpness before", 1, measured[last_before], 1e-9);
  lab.expect_near("rate before", calm_rate, rates[last_before], 1e-9);
  lab.expect_near(
      "sharpness one update into the spike",
      kSpike,
      measured[kSpikeFrom + 1],
      0.01 * kSpike);
  lab.expect_near(
      "rate one update into the spike",
      calm_rate / kSpike,
      rates[kSpikeFrom + 1],
      0.01 * calm_rate / kSpike);
  lab.expect_near(
      "rate at the end of the spike",
      calm_rate / kSpike,
      rates[kSpikeTo - 1],
      1e-9);
  lab.expect_near("rate at the end", calm_rate, rates.back(), 0.01);
  lab.expect_between(
      "largest |x| in the spike",
      0,
      0.5,
      stepsize::lab::extremes(
          {sizes.begin() + kSpikeFrom, sizes.begin() + kSpikeTo})
          .most);
  lab.expect_near(
      "plain SGD in the spike: |x| grows by",
      kSpike * old_rate - 1,
      plain_sizes[kSpikeFrom + 40] / plain_sizes[kSpikeFrom + 39],
      1e-9);
  lab.note("products", static_cast<double>(power.products()));
  // Without momentum the edge is 1.8 over a curvature along the gradient, and
  // gradients that were cut leave 0.3 of it at least.
  const double least_rate = 0.3 * 1.8;
  const double most_rate = 1.8 / kFlattest;
  lab.expect_between(
      "AutoSGD: rate before", least_rate, most_rate, edge_rates[last_before]);
  lab.expect_between(
      "AutoSGD: rate at the end of the spike",
      least_rate / kSpike,
      most_rate / kSpike,
      edge_rates[kSpikeTo - 1]);
  lab.expect_between(
      "AutoSGD: rate at the end", least_rate, most_rate, edge_rates.back());
  lab.expect_between(
      "AutoSGD: largest |x| in the spike",
      0,
      0.5,
      stepsize::lab::extremes(
          {edge_sizes.begin() + kSpikeFrom, edge_sizes.begin() + kSpikeTo})
          .most);
  lab.note(
      "AutoSGD: losses in the spike", static_cast<double>(losses_in_spike));

  stepsize::LinePlot plot("A spike of curvature and the rate that follows it");
  plot.x_label("update").y_label("curvature, rate").y_log().y_range(0.01, 100);
  plot.line("curvature", steps, truth);
  plot.line("sharpness as measured", steps, measured);
  plot.line("its rate", steps, rates);
  plot.line("AutoSGD's rate", steps, edge_rates);
  lab.draw("curvature_spike", plot);
  stepsize::LinePlot errors("The distance from the minimum meanwhile");
  errors.x_label("update").y_label("|x|").y_log().y_range(1e-5, 1e3);
  errors.line("SGD at the rate of before", steps, plain_sizes);
  errors.line("PowerMethodSGD", steps, sizes);
  errors.line("AutoSGD", steps, edge_sizes);
  lab.draw("curvature_spike_error", errors);
}

}  // namespace

int main(int argc, char** argv) {
  return stepsize::lab::run(
      argc, argv, "The power method under a spike of curvature", experiment);
}
