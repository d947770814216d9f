// What a larger batch asks of the rate: the square-root rule keeps the noise of
// an update, the linear rule that of where SGD ends up.
//
//   batch_noise [OUT_DIR]
//
// The gradient of one example is lambda x plus noise of variance s^2. An update
// by the mean of B of them adds noise of variance lr^2 s^2 / B. On lambda x^2 /
// 2 the updates settle where x has the variance
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
#include <utility>
#include <vector>

#include "lab.h"

namespace {

using stepsize::BatchRule;

constexpr double kLambda = 1;
constexpr double kNoise = 1;    // s
constexpr double kRate = 0.01;  // for a batch of 1

// Copies of x, all at `start`, and SGD that moves each by a batch of its own.
class Copies {
 public:
  Copies(double start, int64_t count, double rate, double lambda)
      : x_(torch::full({count}, start, torch::kDouble).requires_grad_(true)),
        sgd_({x_}, torch::optim::SGDOptions(rate)),
        lambda_(lambda) {}

  void update(int64_t batch) {
    const auto noise =
        torch::randn({batch, x_.numel()}, torch::kDouble).mean(0) * kNoise;
    stepsize::lab::update(
        sgd_, [&] { return (lambda_ / 2 * x_ * x_ + noise * x_).sum(); });
  }

  double mean_square() const {
    return x_.detach().square().mean().item<double>();
  }

 private:
  torch::Tensor x_;
  torch::optim::SGD sgd_;
  double lambda_;
};

// The variance of one update, from where there is no slope.
double update_variance(double rate, int64_t batch) {
  Copies copies(0, 100000, rate, 0);
  copies.update(batch);
  return copies.mean_square();
}

void compare_updates(stepsize::lab::Lab& lab) {
  stepsize::LinePlot plot("The noise of an update");
  plot.x_label("batch").y_label("variance of an update").x_log().y_log();
  const std::vector<std::pair<std::string, BatchRule>> rules = {
      {"rate linear in the batch", BatchRule::linear()},
      {"rate by its square root", BatchRule::square_root()},
      // A noise scale of no examples: the rate stays.
      {"the same rate", BatchRule::noise_scale(0)}};
  for (const auto& [name, rule] : rules) {
    std::vector<double> batches;
    std::vector<double> theory;
    std::vector<double> measured;
    for (const int64_t batch : {1, 4, 16, 64}) {
      const double rate = stepsize::scale_lr(kRate, 1, batch, rule);
      batches.push_back(static_cast<double>(batch));
      theory.push_back(rate * rate * kNoise * kNoise / batches.back());
      measured.push_back(update_variance(rate, batch));
    }
    plot.line(name, batches, theory);
    plot.points(name, batches, measured);
    // Over that at a batch of 1; each is off by half a percent.
    const double growth = theory.back() / theory.front();
    lab.expect_near(
        name + ": times",
        growth,
        measured.back() / measured.front(),
        0.03 * growth);
  }
  lab.draw("batch_noise", plot);
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
  Copies copies(1, 10000, rate, kLambda);
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
    lab.expect_near(
        std::string(name) + ": variance", theory, run.settled, 0.01 * theory);
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
    const double theory = left + settled_variance(rate, batch) * (1 - left);
    lab.expect_near(
        "  on the way, after 128 examples",
        theory,
        run.squares[static_cast<std::size_t>(updates)],
        0.02 * theory);
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
  compare_runs(lab);
}

}  // namespace

int main(int argc, char** argv) {
  return stepsize::lab::run(
      argc, argv, "The noise of a batch and the rate", experiment);
}
