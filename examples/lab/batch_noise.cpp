// What a larger batch asks of the rate: the square-root rule keeps the noise of
// an update, the linear rule that of where SGD ends up.
//
//   batch_noise [OUT_DIR]
//
// The gradient of one example is lambda x plus noise of variance s^2. An update
// by the mean of B of them adds noise of variance lr^2 s^2 / B; if they are
// drawn from a data set of N, none twice, of that times (N - B) / (N - 1). Over
// the B examples that it has seen, an update moves x by lr / B times the slope
// an example, and adds lr^2 s^2 / B^2 to the variance. So from B0 to kappa B0
//
//                        rate         variance of     mean of a   variance of
//                                     an update       move, an    a move, an
//                                                     example     example
//   linear               kappa        kappa           1           1
//   square root          sqrt kappa   1               kappa^-1/2  1 / kappa
//   the same             1            1 / kappa       1 / kappa   kappa^-2
//
// On lambda x^2 / 2 the updates settle where x has the variance
//
//   lr s^2 / (B lambda (2 - lr lambda))
//
// and the way there takes ln(1 / |1 - lr lambda|) an update: as long as lr
// lambda is far below 2, both depend on lr / B alone, counted over the examples
// seen. Each measurement takes many copies of x at once.

#include <stepsize/report/line_plot.h>
#include <stepsize/tune/batch_scaling.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "lab.h"

namespace {

using stepsize::BatchRule;

constexpr double kLambda = 1;
constexpr double kNoise = 1;    // s
constexpr double kRate = 0.01;  // for a batch of 1
constexpr int64_t kCopies = 10000;

// Copies of x, all at `start`, and SGD that moves each by a batch of its own.
class Copies {
 public:
  Copies(double start, int64_t count, double rate)
      : x_(torch::full({count}, start, torch::kDouble).requires_grad_(true)),
        sgd_({x_}, torch::optim::SGDOptions(rate)) {}

  void update(int64_t batch) {
    const auto noise =
        torch::randn({batch, x_.numel()}, torch::kDouble).mean(0) * kNoise;
    stepsize::lab::update(
        sgd_, [&] { return (kLambda / 2 * x_ * x_ + noise * x_).sum(); });
  }

  double mean_square() const {
    return x_.detach().square().mean().item<double>();
  }

 private:
  torch::Tensor x_;
  torch::optim::SGD sgd_;
};

// Mean and variance of a move.
struct Move {
  double mean;
  double variance;
};

// One update of a loss of slope 1, in many copies.
Move one_update(double rate, int64_t batch) {
  constexpr int64_t kCount = 100000;
  auto x = torch::zeros({kCount}, torch::kDouble).requires_grad_(true);
  torch::optim::SGD sgd({x}, torch::optim::SGDOptions(rate));
  const auto noise =
      torch::randn({batch, kCount}, torch::kDouble).mean(0) * kNoise;
  stepsize::lab::update(sgd, [&] { return (x + noise * x).sum(); });
  return {x.mean().item<double>(), x.var().item<double>()};
}

// What a rule makes of a batch 64 times as large, as powers of 64.
struct Rule {
  std::string name;
  BatchRule rule;
  double update_variance;
  double example_mean;
  double example_variance;
};

void compare_updates(stepsize::lab::Lab& lab) {
  stepsize::LinePlot plot("The noise of an update");
  plot.x_label("batch").y_label("variance of an update").x_log().y_log();
  const std::vector<Rule> rules = {
      {"rate linear in the batch", BatchRule::linear(), 1, 0, 0},
      {"rate by its square root", BatchRule::square_root(), 0, -0.5, -1},
      // A noise scale of no examples: the rate stays.
      {"the same rate", BatchRule::noise_scale(0), -1, -1, -2}};
  for (const Rule& rule : rules) {
    std::vector<double> batches;
    std::vector<double> theory;
    std::vector<double> measured;
    std::vector<double> means;
    for (const int64_t batch : {1, 4, 16, 64}) {
      const double rate = stepsize::scale_lr(kRate, 1, batch, rule.rule);
      const Move move = one_update(rate, batch);
      batches.push_back(static_cast<double>(batch));
      theory.push_back(rate * rate * kNoise * kNoise / batches.back());
      measured.push_back(move.variance);
      means.push_back(move.mean);
      // Of normal numbers a variance is known to sqrt(2 / count) of itself,
      // 0.45 %: five times that.
      lab.expect_near(
          batch == 1 ? rule.name + ", B 1" : "  B " + std::to_string(batch),
          theory.back(),
          measured.back(),
          0.0225 * theory.back());
    }
    plot.line(rule.name, batches, theory);
    plot.points(rule.name, batches, measured);
    const double kappa = batches.back();
    const auto expect_growth =
        [&](const char* what, double power, double growth, double tolerance) {
          const double expected = std::pow(kappa, power);
          lab.expect_near(what, expected, growth, tolerance * expected);
        };
    // A quotient of two such variances, of which both are off.
    const double growth = measured.back() / measured.front();
    expect_growth("  B 64 over B 1", rule.update_variance, growth, 0.032);
    // A mean of 100000 at B = 1, where the deviation is kNoise times the slope,
    // is known to 0.32 %.
    expect_growth(
        "  mean of a move, an example",
        rule.example_mean,
        means.back() / means.front() / kappa,
        0.016);
    expect_growth(
        "  variance of a move, an example",
        rule.example_variance,
        growth / kappa,
        0.032);
  }
  lab.draw("batch_noise", plot);
}

// The gradients of batches of a data set of 64 examples, drawn with no example
// twice: one that is the whole set has no noise.
void compare_epochs(stepsize::lab::Lab& lab) {
  constexpr int64_t kExamples = 64;
  constexpr int64_t kCount = 20000;
  const auto slopes = torch::randn({kExamples}, torch::kDouble);
  const double s2 = slopes.var(/*unbiased=*/false).item<double>();
  for (const int64_t batch : {4, 16, 64}) {
    const auto order = torch::rand({kCount, kExamples}).argsort();
    const auto drawn = slopes.take(order.narrow(1, 0, batch)).mean(1);
    auto x = torch::zeros({kCount}, torch::kDouble).requires_grad_(true);
    torch::optim::SGD sgd({x}, torch::optim::SGDOptions(kRate));
    stepsize::lab::update(sgd, [&] { return (drawn * x).sum(); });
    const auto b = static_cast<double>(batch);
    const double free = kRate * kRate * s2 / b;
    // The mean of a few is nearly normal: 0.0100 each, five times that.
    lab.expect_near(
        "B " + std::to_string(batch) + " of 64, none twice: variance",
        free * (kExamples - b) / (kExamples - 1),
        x.var().item<double>(),
        0.05 * free * (kExamples - b) / (kExamples - 1) + 1e-20);
  }
}

// One run of `examples` examples in batches: the mean of x^2 over the examples
// seen, and what it settles at.
struct Run {
  std::vector<double> seen = {0};
  std::vector<double> squares = {1};
  double settled = 0;
};

Run run_batches(double rate, int64_t batch, int64_t examples) {
  Run run;
  Copies copies(1, kCopies, rate);
  double sum = 0;
  int64_t count = 0;
  for (int64_t seen = batch; seen <= examples; seen += batch) {
    copies.update(batch);
    run.seen.push_back(static_cast<double>(seen));
    run.squares.push_back(copies.mean_square());
    if (seen > examples / 2) {
      sum += run.squares.back();
      ++count;
    }
  }
  run.settled = sum / static_cast<double>(count);
  return run;
}

double settled_variance(double rate, int64_t batch) {
  return rate * kNoise * kNoise /
         (static_cast<double>(batch) * kLambda * (2 - rate * kLambda));
}

void compare_runs(stepsize::lab::Lab& lab) {
  constexpr int64_t kExamples = 4096;
  stepsize::LinePlot plot("Equal lr / B, the same curve");
  plot.x_label("examples seen").y_label("mean of x^2").y_log();
  plot.x_range(0, 1000);
  const auto add = [&](double rate, int64_t batch) {
    const Run run = run_batches(rate, batch, kExamples);
    char name[64];
    std::snprintf(
        name, sizeof name, "lr %g, B %d", rate, static_cast<int>(batch));
    const double theory = settled_variance(rate, batch);
    // Of n normal numbers the mean square is known to sqrt(2 / n) of itself.
    // The squares of a copy are correlated, from one update to the next by r.
    const double r = std::pow(1 - rate * kLambda, 2);
    const double numbers = static_cast<double>(kCopies * kExamples) /
                           (2 * static_cast<double>(batch)) * (1 - r) / (1 + r);
    lab.expect_near(
        std::string(name) + ": variance",
        theory,
        run.settled,
        5 * std::sqrt(2 / numbers) * theory);
    plot.line(name, run.seen, run.squares);
    return run;
  };
  for (const int64_t batch : {1, 4, 16}) {
    const double rate =
        stepsize::scale_lr(kRate, 1, batch, BatchRule::linear());
    const Run run = add(rate, batch);
    const int64_t updates = 128 / batch;
    const double left =
        std::pow(1 - rate * kLambda, 2 * static_cast<double>(updates));
    const double noise = settled_variance(rate, batch) * (1 - left);
    // A normal number of mean m and variance v has a square of mean m^2 + v and
    // variance 2 v^2 + 4 m^2 v.
    const double theory = left + noise;
    const double error =
        std::sqrt((2 * noise * noise + 4 * left * noise) / kCopies);
    lab.expect_near(
        "  on the way, after 128 examples",
        theory,
        run.squares[static_cast<std::size_t>(updates)],
        5 * error);
  }
  // The rule ends where lr lambda is no longer far below 2, ...
  add(stepsize::scale_lr(kRate, 1, 128, BatchRule::linear()), 128);
  // ... and another lr / B is another curve.
  add(stepsize::scale_lr(kRate, 1, 16, BatchRule::square_root()), 16);
  lab.draw("batch_noise_collapse", plot);
}

void experiment(stepsize::lab::Lab& lab) {
  torch::manual_seed(1);
  compare_updates(lab);
  compare_epochs(lab);
  compare_runs(lab);
}

}  // namespace

int main(int argc, char** argv) {
  return stepsize::lab::run(
      argc, argv, "The noise of a batch and the rate", experiment);
}
