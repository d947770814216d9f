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
//
// So with lr = (1 - beta) eta, the two go the same way as eta becomes small: at
// t = eta lambda n they are apart by
//
//   eta lambda beta / (1 - beta) (1 - t) exp(-t)
//
// and smaller terms, which is largest at the start, where momentum has not
// gathered speed yet. They settle in the same noise, too: with variance s^2 of
// the gradient, x has the variance
//
//   eta s^2 / (lambda (2 - eta lambda))                                   plain
//   eta s^2 (1 + beta) / (lambda (2 (1 + beta) - (1 - beta) eta lambda))
//                                                                      momentum
//
// (solve the two recursions for the second moments of x and the velocity). The
// quotient of the two goes to 1 with eta, and to 0 at eta lambda = 2, where
// plain descent ends and momentum, whose limit is 2 (1 + beta) / (1 - beta),
// does not.

#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/report/line_plot.h>
#include <stepsize/tune/batch_scaling.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "lab.h"

namespace {

constexpr double kLambda = 1;
constexpr int kCount = 2000;
constexpr int64_t kCopies = 40000;

// x after 0, 1, ..., count updates.
std::vector<double> trajectory(
    double rate, double momentum, int count = kCount) {
  auto x = torch::ones({1}, torch::kDouble).requires_grad_(true);
  torch::optim::SGD sgd({x}, torch::optim::SGDOptions(rate).momentum(momentum));
  std::vector<double> points = {1};
  for (int step = 0; step < count; ++step) {
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

// The root, of the two above, of the larger absolute value.
std::complex<double> larger_root(double rate, double momentum) {
  const double b = 1 + momentum - rate * kLambda;
  const auto root = std::sqrt(std::complex<double>(b * b - 4 * momentum));
  return (b < 0 ? b - root : b + root) / 2.0;
}

// The table of one pair of rate and momentum.
void compare(stepsize::lab::Lab& lab, double rate, double momentum) {
  const double a = rate * kLambda;
  const double root = larger_root(rate, momentum).real();
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

// How far momentum is ahead of plain descent at the same effective rate (it
// starts behind and catches up), over eta lambda.
std::vector<double> lead(double effective, double momentum) {
  auto ahead = trajectory(stepsize::nominal_lr(effective, momentum), momentum);
  const auto plain = trajectory(effective, 0);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    ahead[i] = (ahead[i] - plain[i]) / (effective * kLambda);
  }
  return ahead;
}

void compare_paths(stepsize::lab::Lab& lab) {
  constexpr double kMomentum = 0.9;
  constexpr double kTime = 0.5;  // eta lambda n
  const double most = kMomentum / (1 - kMomentum);
  for (const double effective : {4e-3, 1e-3}) {
    char what[64];
    std::snprintf(
        what, sizeof what, "eta %g: apart / eta, at t = 0.5", effective);
    const auto apart = lead(effective, kMomentum);
    const double theory = most * (1 - kTime) * std::exp(-kTime);
    // The next term is a few eta lambda / (1 - beta) of this one.
    lab.expect_near(
        what,
        theory,
        apart.at(std::lround(kTime / (effective * kLambda))),
        4 * effective * kLambda / (1 - kMomentum) * theory);
    const auto [least, largest] = stepsize::lab::extremes(apart);
    lab.expect_between(
        "  at most", 0, most, std::max(std::abs(least), std::abs(largest)));
  }
}

// The variance that copies of x settle at, each with noise of its own.
double settled_variance(double rate, double momentum) {
  auto x = torch::zeros({kCopies}, torch::kDouble).requires_grad_(true);
  torch::optim::SGD sgd({x}, torch::optim::SGDOptions(rate).momentum(momentum));
  // Until what was at the start is down to exp(-6), of its square exp(-12).
  const double shrinks = std::abs(larger_root(rate, momentum));
  const auto updates = static_cast<int>(std::ceil(6 / (1 - shrinks)));
  for (int update = 0; update < updates; ++update) {
    const auto noise = torch::randn({kCopies}, torch::kDouble);
    stepsize::lab::update(
        sgd, [&] { return (kLambda / 2 * x * x + noise * x).sum(); });
  }
  return x.detach().square().mean().item<double>();
}

// With s = 1.
double variance_by_theory(double effective, double momentum) {
  return effective * (1 + momentum) /
         (kLambda *
          (2 * (1 + momentum) - (1 - momentum) * effective * kLambda));
}

void compare_noise(stepsize::lab::Lab& lab) {
  constexpr double kMomentum = 0.9;
  // Of normal numbers the variance is known to sqrt(2 / copies) of itself.
  const double error = 5 * std::sqrt(2.0 / kCopies);
  stepsize::LinePlot plot("The variance of x at equal effective rates");
  plot.x_label("effective rate times lambda").x_log();
  plot.y_label("variance over eta s^2 / (2 lambda)").y_log().y_range(0.7, 30);
  const auto draw = [&](const std::string& name, double momentum) {
    std::vector<double> rates;
    std::vector<double> theory;
    for (double eta = 0.02; eta < 12; eta *= 1.02) {
      const double value = variance_by_theory(eta, momentum) / (eta / 2);
      rates.push_back(eta);
      // Below 0 where the rate is past the limit.
      theory.push_back(value > 0 ? value : NAN);
    }
    plot.line(name, rates, theory);
  };
  draw("plain", 0);
  draw("momentum 0.9", kMomentum);
  std::vector<double> rates;
  std::vector<double> plain_at;
  std::vector<double> heavy_at;
  for (const double eta : {0.05, 0.5, 1.0, 1.5, 1.9}) {
    char what[64];
    std::snprintf(what, sizeof what, "eta %g: variance, plain", eta);
    const double plain_theory = variance_by_theory(eta, 0);
    const double heavy_theory = variance_by_theory(eta, kMomentum);
    const double plain = settled_variance(eta, 0);
    const double heavy =
        settled_variance(stepsize::nominal_lr(eta, kMomentum), kMomentum);
    lab.expect_near(what, plain_theory, plain, error * plain_theory);
    lab.expect_near(
        "  momentum 0.9", heavy_theory, heavy, error * heavy_theory);
    const double quotient = heavy_theory / plain_theory;
    // Of two such variances: the errors add up.
    lab.expect_near(
        "  quotient", quotient, heavy / plain, 2 * error * quotient);
    rates.push_back(eta);
    plain_at.push_back(plain / (eta / 2));
    heavy_at.push_back(heavy / (eta / 2));
  }
  const double beyond = 3;
  const double heavy =
      settled_variance(stepsize::nominal_lr(beyond, kMomentum), kMomentum);
  const double theory = variance_by_theory(beyond, kMomentum);
  lab.expect_near("eta 3: momentum 0.9", theory, heavy, error * theory);
  lab.expect_near(
      "  plain, growth an update",
      beyond * kLambda - 1,
      -last_factor(trajectory(beyond, 0, 100)),
      1e-12);
  rates.push_back(beyond);
  plain_at.push_back(NAN);
  heavy_at.push_back(heavy / (beyond / 2));
  plot.points("plain", rates, plain_at);
  plot.points("momentum 0.9", rates, heavy_at);
  lab.expect_near(
      "largest stable eta lambda, plain",
      2,
      stepsize::max_stable_lr(kLambda) * kLambda,
      1e-12);
  lab.expect_near(
      "  momentum 0.9",
      2 * (1 + kMomentum) / (1 - kMomentum),
      stepsize::effective_lr(
          stepsize::max_stable_lr(kLambda, kMomentum), kMomentum) *
          kLambda,
      1e-9);
  lab.draw("momentum_rate_noise", plot);
}

void experiment(stepsize::lab::Lab& lab) {
  torch::manual_seed(1);
  compare(lab, 1e-3, 0.5);
  compare(lab, 2e-4, 0.9);
  compare(lab, 2e-6, 0.99);
  for (const double rate : {0.05, 0.5}) {
    char what[64];
    std::snprintf(what, sizeof what, "lr %g, momentum 0.9: swing", rate);
    const auto swinging = trajectory(rate, 0.9);
    lab.expect_near(what, std::sqrt(0.9), swing_factor(swinging, 90), 1e-9);
  }

  compare_paths(lab);
  compare_noise(lab);

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
