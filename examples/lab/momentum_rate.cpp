// Momentum beta at a small rate lr moves as plain gradient descent does at
// lr / (1 - beta): ten times as fast for 0.9, a hundred times for 0.99.
//
//   momentum_rate [OUT_DIR]
//
// In the long run an update on lambda x^2 / 2 multiplies x by the larger root
// of z^2 - (1 + beta - lr lambda) z + beta, and plain descent by
// 1 - lr lambda / (1 - beta). The two differ by
// -beta (lr lambda)^2 / (1 - beta)^3 and smaller terms. Past lr lambda = (1 -
// sqrt beta)^2 the roots are complex: x swings, shrinks by sqrt beta whatever
// the rate, and the rule is at its end.

#include <stepsize/report/line_plot.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "lab.h"

namespace {

constexpr double kLambda = 1;
constexpr int kCount = 2000;

// x after 0, 1, ..., kCount updates.
std::vector<double> trajectory(double rate, double momentum) {
  auto x = torch::ones({1}, torch::kDouble).requires_grad_(true);
  torch::optim::SGD sgd({x}, torch::optim::SGDOptions(rate).momentum(momentum));
  std::vector<double> points = {1};
  for (int step = 0; step < kCount; ++step) {
    stepsize::lab::update(sgd, [&] { return kLambda / 2 * x.dot(x); });
    points.push_back(x.item<double>());
  }
  return points;
}

double last_factor(const std::vector<double>& points) {
  return points.back() / points[points.size() - 2];
}

// The factor by which a swing shrinks in an update: x(t-1) x(t+1) - x(t)^2 is
// multiplied by the product of the two roots, its square.
double swing_factor(const std::vector<double>& points, std::size_t t) {
  const auto form = [&](std::size_t i) {
    return points[i - 1] * points[i + 1] - points[i] * points[i];
  };
  return std::sqrt(form(t) / form(t - 1));
}

// The table of one pair of rate and momentum.
void compare(stepsize::lab::Lab& lab, double rate, double momentum) {
  const double a = rate * kLambda;
  const double b = 1 + momentum - a;
  const double root = (b + std::sqrt(b * b - 4 * momentum)) / 2;
  const double effective = rate / (1 - momentum);
  const double heavy = last_factor(trajectory(rate, momentum));
  const double plain = last_factor(trajectory(effective, 0));
  char what[64];
  std::snprintf(what, sizeof what, "lr %g, momentum %g", rate, momentum);
  const std::string name = what;
  lab.expect_near(name + ": factor", root, heavy, 1e-6);
  lab.expect_near("  plain", 1 - effective * kLambda, plain, 1e-6);
  const double difference = -momentum * a * a / std::pow(1 - momentum, 3);
  // The next term of the series is a few percent of this one.
  lab.expect_near("  difference", difference, heavy - plain, -0.1 * difference);
}

void experiment(stepsize::lab::Lab& lab) {
  compare(lab, 1e-3, 0.5);
  compare(lab, 2e-4, 0.9);
  compare(lab, 2e-6, 0.99);
  for (const double rate : {0.05, 0.5}) {
    char what[64];
    std::snprintf(what, sizeof what, "lr %g, momentum 0.9: swing", rate);
    const auto swinging = trajectory(rate, 0.9);
    lab.expect_near(what, std::sqrt(0.9), swing_factor(swinging, 90), 1e-9);
  }

  std::vector<double> steps(kCount + 1);
  std::iota(steps.begin(), steps.end(), 0);
  stepsize::LinePlot plot("Three ways to an effective rate of 0.002");
  plot.x_label("update").y_label("x");
  plot.line("lr 0.0002, momentum 0.9", steps, trajectory(2e-4, 0.9));
  plot.line("lr 0.001, momentum 0.5", steps, trajectory(1e-3, 0.5));
  const auto plain = trajectory(2e-3, 0);
  std::vector<double> some_steps;
  std::vector<double> some;
  for (int i = 0; i <= kCount; i += 50) {
    some_steps.push_back(i);
    some.push_back(plain[i]);
  }
  plot.points("lr 0.002, plain", some_steps, some);
  plot.line("lr 0.0002, plain", steps, trajectory(2e-4, 0));
  plot.line("lr 0.05, momentum 0.9: swings", steps, trajectory(0.05, 0.9));
  lab.draw("momentum_rate", plot);
}

}  // namespace

int main(int argc, char** argv) {
  return stepsize::lab::run(
      argc, argv, "The effective rate of momentum", experiment);
}
