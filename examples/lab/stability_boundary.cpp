// Gradient descent on a quadratic of largest curvature lambda is stable for
// rates below 2 / lambda; heavy-ball and Nesterov's momentum move the limit.
// Here 0.999, 1 and 1.001 of the limit, and how fast the iterate shrinks or
// grows in each update.
//
//   stability_boundary [OUT_DIR]

#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/report/line_plot.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <numeric>
#include <string>
#include <vector>

#include "lab.h"

namespace {

struct Method {
  std::string name;
  double momentum;
  bool nesterov;
};

constexpr double kLambda = 8;
constexpr int kSteps = 1000;

// The coordinate of curvature lambda after 0, 1, ..., kSteps updates.
std::vector<double> run_sgd(const Method& method, double rate) {
  const auto curvatures = torch::tensor({kLambda, 3.0, 1.0}, torch::kDouble);
  auto x = torch::ones({3}, torch::kDouble).requires_grad_(true);
  torch::optim::SGD sgd(
      {x},
      torch::optim::SGDOptions(rate)
          .momentum(method.momentum)
          .nesterov(method.nesterov));
  std::vector<double> top = {1};
  for (int step = 0; step < kSteps; ++step) {
    stepsize::lab::update(sgd, [&] { return (curvatures * x * x).sum() / 2; });
    top.push_back(std::abs(x[0].item<double>()));
  }
  return top;
}

// The update is linear in the last two iterates; what it multiplies them by in
// the long run is the larger root of z^2 - b z + c.
double theory(const Method& method, double rate) {
  const double m = method.momentum;
  const double shrunk = 1 - rate * kLambda;
  const double b = method.nesterov ? (1 + m) * shrunk : m + shrunk;
  const double c = method.nesterov ? m * shrunk : m;
  const auto root = std::sqrt(std::complex<double>(b * b - 4 * c));
  return std::max(std::abs(b + root), std::abs(b - root)) / 2;
}

// Of the ratios of one iterate to the one before, the one furthest from
// `expected`, and NaN where one is; the second half only, since momentum takes
// a while to settle.
double worst_ratio(const std::vector<double>& top, double expected) {
  std::vector<double> ratios;
  for (std::size_t i = top.size() / 2; i < top.size(); ++i) {
    ratios.push_back(top[i] / top[i - 1]);
  }
  const auto [least, most] = stepsize::lab::extremes(ratios);
  return expected - least > most - expected ? least : most;
}

// The limit of stability as the literature has it; Polyak, Some methods of
// speeding up the convergence of iteration methods, 1964, for heavy ball.
double known_limit(const Method& method) {
  const double m = method.momentum;
  return (2 + 2 * m) / kLambda / (method.nesterov ? 1 + 2 * m : 1);
}

void experiment(stepsize::lab::Lab& lab) {
  std::vector<double> steps(kSteps + 1);
  std::iota(steps.begin(), steps.end(), 0);
  stepsize::LinePlot plot("Rates of 0.999, 1 and 1.001 times the limit");
  plot.x_label("update").y_label("|x| along the largest curvature").y_log();
  const std::vector<Method> methods = {
      {"plain", 0, false},
      {"heavy ball, momentum 0.5", 0.5, false},
      {"Nesterov, momentum 0.5", 0.5, true}};
  for (const Method& method : methods) {
    const double limit =
        stepsize::max_stable_lr(kLambda, method.momentum, method.nesterov);
    lab.expect_near(method.name + ", limit", known_limit(method), limit, 1e-15);
    for (const char* share : {"0.999", "1", "1.001"}) {
      const double rate = std::stod(share) * known_limit(method);
      const auto top = run_sgd(method, rate);
      const double expected = theory(method, rate);
      const double measured = worst_ratio(top, expected);
      lab.expect_near(method.name + ", " + share, expected, measured, 1e-12);
      plot.line(method.name, steps, top);
    }
  }
  lab.draw("stability_boundary", plot);
}

}  // namespace

int main(int argc, char** argv) {
  return stepsize::lab::run(
      argc,
      argv,
      "What each update multiplies the iterate by, at shares of the limit",
      experiment);
}
