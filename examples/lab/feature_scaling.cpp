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
//
// Other coordinates do what other units do. Descent in v = D w sees the
// curvatures of D^-1 H D^-1, H being those of w. With D the roots of H's
// diagonal it goes where descent on standardized data goes, and where a rate of
// lr / d^2 for each weight goes: all three have the same iterates. Of what is
// left, correlation, no diagonal D takes anything away (here; never more than a
// factor of the number of weights: van der Sluis 1969, "Condition numbers and
// equilibration of matrices", doi:10.1007/BF02165096). The root of H itself,
// D = H^(1/2), leaves k = 1, and a single update.

#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/lanczos.h>
#include <stepsize/report/line_plot.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "lab.h"

namespace {

constexpr double kVariance = 0.866625;
constexpr double kCorrelation = 3.0 / 11;
constexpr double kStrong = 0.99;  // another correlation, k = 199
constexpr double kShrink = 1e-12;

// Eight rows: a full factorial design has columns that are orthogonal.
torch::Tensor features(double correlation = kCorrelation) {
  const auto sign = torch::tensor({-1.0, 1.0}, torch::kDouble);
  const auto design = torch::cartesian_prod({sign, sign, sign}).t();
  return torch::stack(
      {std::sqrt(kVariance) * design[0],
       design[1],
       correlation * design[1] +
           std::sqrt(1 - correlation * correlation) * design[2]},
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
  double rate;
  std::vector<double> gaps;
  std::vector<torch::Tensor> weights;  // after each of the first updates

  double updates() const { return static_cast<double>(gaps.size() - 1); }
};

// Least squares from w = 0 at the best constant rate, 2 / (largest + smallest
// curvature), in v = D w. The targets can be fitted exactly: the loss is the
// gap.
Descent descend(
    const torch::Tensor& x,
    const torch::Tensor& targets,
    const torch::Tensor& d = torch::eye(3, torch::kDouble)) {
  constexpr std::size_t kKept = 10;
  const auto d_inverse = torch::inverse(d);
  auto v = torch::zeros({3}, torch::kDouble).requires_grad_(true);
  const auto in_v = x.mm(d_inverse);
  const auto loss = [&] { return (in_v.mv(v) - targets).square().mean() / 2; };
  const auto spectrum = stepsize::lanczos(
      stepsize::hessian_operator(loss, {v}),
      stepsize::LanczosOptions().k(3).tolerance(0));
  const double largest = spectrum.values.front();
  const double smallest = spectrum.values.back();

  Descent descent{largest / smallest, 2 / (largest + smallest), {}, {}};
  torch::optim::SGD sgd({v}, descent.rate);
  do {
    descent.gaps.push_back(stepsize::lab::update(sgd, loss));
    if (descent.weights.size() < kKept) {
      descent.weights.push_back(d_inverse.mv(v.detach()));
    }
  } while (descent.gaps.back() > kShrink * descent.gaps.front() &&
           descent.gaps.size() < 1000000);
  return descent;
}

// The largest difference of two lists of weights, as a share of their size.
double distance(
    const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  const auto x = torch::stack(a);
  return ((x - torch::stack(b)).abs() / x.abs().amax(0)).max().item<double>();
}

// The weights of descent with a rate of its own for each, a group each.
std::vector<torch::Tensor> descend_by_group(
    const torch::Tensor& x,
    const torch::Tensor& targets,
    const torch::Tensor& rates,
    std::size_t updates) {
  std::vector<torch::Tensor> weights;
  std::vector<torch::optim::OptimizerParamGroup> groups;
  for (int64_t i = 0; i < 3; ++i) {
    weights.push_back(torch::zeros({1}, torch::kDouble).requires_grad_(true));
    groups.emplace_back(
        std::vector<torch::Tensor>{weights.back()},
        std::make_unique<torch::optim::SGDOptions>(rates[i].item<double>()));
  }
  torch::optim::SGD sgd(groups, torch::optim::SGDOptions(1));
  std::vector<torch::Tensor> path;
  while (path.size() < updates) {
    stepsize::lab::update(sgd, [&] {
      return (x.mv(torch::cat(weights)) - targets).square().mean() / 2;
    });
    path.push_back(torch::cat(weights).detach());
  }
  return path;
}

// The least condition of D^-1 H D^-1 over diagonal matrices D.
double least_condition(const torch::Tensor& curvatures) {
  double least = INFINITY;
  // The first entry of D is 1: a multiple of D has the same condition.
  for (int i = -50; i <= 50; ++i) {
    for (int j = -50; j <= 50; ++j) {
      const auto d = torch::tensor(
          {1.0, std::pow(1.05, i), std::pow(1.05, j)}, torch::kDouble);
      const auto values =
          torch::linalg_eigvalsh(curvatures / torch::outer(d, d));
      least = std::min(least, (values[2] / values[0]).item<double>());
    }
  }
  return least;
}

torch::Tensor root_of(const torch::Tensor& curvatures) {
  const auto [values, vectors] = torch::linalg_eigh(curvatures);
  return (vectors * values.sqrt()).mm(vectors.t());
}

// As many numbers as there are values: `first` and on.
std::vector<double> count(const std::vector<double>& values, double first) {
  std::vector<double> numbers(values.size());
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

// `raw` are the gaps of descent in w, the first feature times 100.
void reparameterize(stepsize::lab::Lab& lab, const std::vector<double>& raw) {
  const auto best = torch::tensor({1.0, 1.0, -1.0}, torch::kDouble);
  const auto times = torch::tensor({100.0, 1.0, 1.0}, torch::kDouble);
  stepsize::LinePlot plot("The same data in other coordinates");
  plot.x_label("update + 1").x_log();
  plot.y_label("gap over that of the start").y_log();
  plot.y_range(1e-13, 2).x_range(1, 1e5);
  const auto curve = [&](const std::string& name, std::vector<double> gaps) {
    const double start = gaps[0];
    for (double& gap : gaps) gap /= start;
    plot.line(name, count(gaps, 1), gaps);
  };
  curve("other units, w", raw);
  const auto show = [&](const std::string& what,
                        double k,
                        double updates,
                        const Descent& descent) {
    lab.expect_near(what + ": condition", k, descent.condition, 1e-9 * k);
    lab.expect_near(what + ": updates", updates, descent.updates(), 2);
    curve(what, descent.gaps);
  };
  const auto hessian = [](const torch::Tensor& x) {
    return x.t().mm(x) / static_cast<double>(x.size(0));
  };

  // In other units: a diagonal D is enough, ...
  const auto x = features() * times;
  const auto targets = features().mv(best);
  const auto deviation = x.square().mean(0).sqrt();
  const double k = condition(1);
  const auto scaled = descend(x, targets, torch::diag(deviation));
  show("other units, v = D w", k, std::ceil(updates_needed(k)), scaled);
  auto standardized = descend(x / deviation, targets);
  for (auto& weights : standardized.weights) {
    weights = weights / deviation;
  }
  lab.expect_near(
      "  distance from standardized data",
      0,
      distance(scaled.weights, standardized.weights),
      1e-12);
  lab.expect_near(
      "  distance from rates lr / d^2",
      0,
      distance(
          scaled.weights,
          descend_by_group(
              x,
              targets,
              scaled.rate / deviation.square(),
              scaled.weights.size())),
      1e-12);

  // ... against correlation none is: the one with entries 1 is the best of all.
  // The targets need the slowest direction alone.
  const auto y =
      features(kStrong) /
      torch::tensor({std::sqrt(kVariance), 1.0, 1.0}, torch::kDouble);
  const auto slow = y.mv(torch::tensor({0.0, 1.0, -1.0}, torch::kDouble));
  const double strong = (1 + kStrong) / (1 - kStrong);
  show(
      "correlated, v = D w",
      strong,
      std::ceil(updates_needed(strong)),
      descend(y, slow, torch::diag(y.square().mean(0).sqrt())));
  lab.expect_near(
      "  least condition of 10201 D",
      strong,
      least_condition(hessian(y)),
      1e-9 * strong);
  show(
      "correlated, v = H^(1/2) w", 1, 1, descend(y, slow, root_of(hessian(y))));
  lab.draw("feature_scaling_coordinates", plot);
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
        what + ": updates", std::ceil(updates_needed(k)), descent.updates(), 2);
    plot.line(what, count(descent.gaps, 0), descent.gaps);
    return descent.gaps;
  };
  std::vector<double> raw;
  for (const double times : {1.0, 10.0, 100.0}) {
    const auto factors = torch::tensor({times, 1.0, 1.0}, torch::kDouble);
    raw = show(
        "times " + std::to_string(static_cast<int>(times)),
        x * factors,
        kVariance * times * times);
  }
  const auto scaled = x * torch::tensor({100.0, 1.0, 1.0}, torch::kDouble);
  const auto deviation = scaled.square().mean(0).sqrt();
  show("times 100, standardized", scaled / deviation, 1);
  lab.draw("feature_scaling", plot);
  reparameterize(lab, raw);
}

}  // namespace

int main(int argc, char** argv) {
  return stepsize::lab::run(
      argc, argv, "Updates until the gap has shrunk by 1e12", experiment);
}
