// Where gradient descent diverges, lr lambda > 2, the same descent with its
// gradient clipped to C ends on a cycle of two points. Their larger distance
// from the minimum lies between lr C / 2 and C (lr lambda - 1) / lambda; the
// upper end is reached from |x| = C / lambda. (Only an orbit that hits the
// minimum to the bit stays there.)
//
//   clipping_cycle [OUT_DIR]

#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/report/line_plot.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "lab.h"

namespace {

constexpr double kLambda = 2;
constexpr double kMaxNorm = 1;
constexpr int kSteps = 200;

// x after 0, 1, ..., kSteps updates on lambda x^2 / 2.
template <typename Optimizer, typename Options>
std::vector<double> orbit(double start, const Options& options) {
  auto x = torch::full({1}, start, torch::kDouble).requires_grad_(true);
  Optimizer optimizer({x}, options);
  std::vector<double> points = {start};
  for (int step = 0; step < kSteps; ++step) {
    stepsize::lab::update(optimizer, [&] { return kLambda / 2 * x.dot(x); });
    points.push_back(x.item<double>());
  }
  return points;
}

std::vector<double> clipped(double start, double rate) {
  return orbit<stepsize::ClippedSGD>(
      start, stepsize::ClippedSGDOptions(rate).max_norm(kMaxNorm));
}

std::string label(const char* format, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

void check_orbits(stepsize::lab::Lab& lab, double product) {
  const double rate = product / kLambda;
  const double lowest = rate * kMaxNorm / 2;
  const double highest = kMaxNorm * (product - 1) / kLambda;
  std::vector<double> amplitudes;
  std::vector<double> changes;
  for (const double start : {0.01, 0.1, 0.3, 0.7, 1.1, 5.3, 31.7}) {
    const auto points = clipped(start, rate);
    const double last = points[kSteps];
    amplitudes.push_back(
        stepsize::lab::extremes({std::abs(last), std::abs(points[kSteps - 1])})
            .most);
    changes.push_back(std::abs(last - points[kSteps - 2]));
  }
  const auto [least, most] = stepsize::lab::extremes(amplitudes);
  const double change = stepsize::lab::extremes(changes).most;
  const std::string name = label("lr lambda = %g", product);
  lab.expect_between(name + ": smallest amplitude", lowest, highest, least);
  lab.expect_between(name + ": largest amplitude", lowest, highest, most);
  lab.expect_near(name + ": x(t + 2) - x(t)", 0, change, 1e-12);
  const auto extreme = clipped(kMaxNorm / kLambda, rate);
  lab.expect_near(
      name + ": from C / lambda",
      highest,
      std::max(std::abs(extreme[kSteps]), std::abs(extreme[kSteps - 1])),
      1e-12);
}

void experiment(stepsize::lab::Lab& lab) {
  const double rate = 3 / kLambda;
  const auto plain =
      orbit<torch::optim::SGD>(0.1, torch::optim::SGDOptions(rate));
  lab.expect_near(
      "lr lambda = 3: plain, |x| grows by", 2, -plain[21] / plain[20], 1e-12);
  const auto calm = clipped(0.3, 1.9 / kLambda);
  lab.expect_near("lr lambda = 1.9: |x| at the end", 0, calm[kSteps], 1e-9);
  for (const double product : {2.1, 3.0, 4.0, 6.5}) check_orbits(lab, product);

  std::vector<double> steps(kSteps + 1);
  std::iota(steps.begin(), steps.end(), 0);
  stepsize::LinePlot plot("Clipped gradients where lr lambda = 3");
  plot.x_label("update").x_range(0, 20).y_label("x").y_range(-2.2, 2.2);
  const auto first = [](const std::vector<double>& all) {
    return std::vector<double>(all.begin(), all.begin() + 7);
  };
  plot.line("plain, from 0.1", first(steps), first(plain));
  for (const double start : {0.1, 0.5, 2.1}) {
    const std::string name = label("from %g", start);
    const auto points = clipped(start, rate);
    plot.line(name, steps, points).points(name, steps, points);
  }
  lab.draw("clipping_cycle", plot);
}

}  // namespace

int main(int argc, char** argv) {
  return stepsize::lab::run(
      argc, argv, "The cycle of two points that clipping ends on", experiment);
}
