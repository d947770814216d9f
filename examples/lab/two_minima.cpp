// Two minima, equally low: one sharp, one flat. Gradient descent leaves the
// sharp one if its rate is above 2 / its curvature, and from near by only then;
// it ends in the flat one, and stays there below 2 / the curvature of that.
// Noise makes it jump sooner: the sooner, the smaller the batch.
//
//   two_minima [OUT_DIR]
//
// The loss is the lower of 20 x^2 / 2 and (x - 2)^2 / 2, so that the sharp
// minimum is a dent, from -0.58 to 0.37, in the wall of the flat one. In the
// dent an update multiplies x by 1 - 20 lr.
//
// With normal noise on the gradient x in the dent is a Markov chain that ends
// where it leaves: the density of x is multiplied by
//
//   k(y, x) = normal density of y, mean (1 - 20 lr) x, deviation lr s / sqrt(B)
//
// and what is left of its integral is the share of the copies that never left.
// No rate below 2 / 20 is safe for ever then; the share grows with the updates.

#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/lanczos.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/report/line_plot.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "lab.h"

namespace {

constexpr double kSharp = 20;  // curvature at 0
constexpr double kFlat = 1;    // curvature at kFlatAt
constexpr double kFlatAt = 2;
constexpr double kNoise = 2.5;  // s: deviation of the gradient of one example
constexpr int kUpdates = 500;
constexpr double kResolution = 1e-5;  // of the rate that is looked for
constexpr int64_t kCopies = 4000;

// Where the two parabolas meet: sqrt(kSharp) x = +-sqrt(kFlat) (kFlatAt - x).
const double kRatio = std::sqrt(kFlat / kSharp);
const double kRight = kFlatAt * kRatio / (1 + kRatio);
const double kLeft = -kFlatAt * kRatio / (1 - kRatio);

torch::Tensor loss_of(const torch::Tensor& x) {
  return torch::minimum(
             kSharp / 2 * x * x, kFlat / 2 * (x - kFlatAt) * (x - kFlatAt))
      .sum();
}

struct Copies {
  torch::Tensor x;       // at the end
  torch::Tensor left;    // who was out of the dent at some time
  torch::Tensor inside;  // updates until then that ended in the dent

  double share_left() const {
    return left.to(torch::kDouble).mean().item<double>();
  }
  // What lies within a thousandth of the flat minimum.
  double share_in_flat() const {
    const auto near = (x - kFlatAt).abs() < 1e-3;
    return near.to(torch::kDouble).mean().item<double>();
  }
};

// Each element of `starts` goes its own way.
Copies descend(const torch::Tensor& starts, double rate, double noise = 0) {
  auto x = starts.clone().requires_grad_(true);
  torch::optim::SGD sgd({x}, rate);
  Copies copies{
      x.detach(),
      torch::zeros(x.sizes(), torch::kBool),
      torch::zeros(x.sizes(), torch::kLong)};
  for (int update = 0; update < kUpdates; ++update) {
    const auto error = noise > 0 ? torch::randn_like(starts) * noise
                                 : torch::zeros_like(starts);
    stepsize::lab::update(sgd, [&] { return loss_of(x) + x.dot(error); });
    copies.left.logical_or_((copies.x < kLeft).logical_or(copies.x > kRight));
    copies.inside += copies.left.logical_not();
  }
  return copies;
}

// Twenty points on each side of the sharp minimum, from a hundredth to nearly
// the nearer wall: from further left a stable rate may throw x over that, too.
torch::Tensor starts_in_dent() {
  const auto right = torch::linspace(0.01, 0.99 * kRight, 20, torch::kDouble);
  return torch::cat({right, -right});
}

torch::Tensor starts_in_flat() {
  return torch::linspace(kFlatAt - 1, kFlatAt + 1, 40, torch::kDouble);
}

double curvature_at(double place) {
  auto x = torch::full({1}, place, torch::kDouble).requires_grad_(true);
  return stepsize::lanczos(
             stepsize::hessian_operator([&] { return loss_of(x); }, {x}))
      .values.at(0);
}

// From x > 0, which changes sides in each update: the first even power of the
// factor that takes it past kRight, or the first odd one past kLeft.
double updates_to_leave(double x, double rate) {
  const double growth = std::log(rate * kSharp - 1);
  const double even = std::ceil(std::log(kRight / x) / growth / 2) * 2;
  const double odd = std::ceil((std::log(-kLeft / x) / growth - 1) / 2) * 2 + 1;
  return std::min(even, odd);
}

// The smallest rate at which all starts leave within kUpdates.
double measured_threshold() {
  double below = 1 / kSharp;
  double above = 3 / kSharp;
  while (above - below > kResolution) {
    const double middle = (below + above) / 2;
    (descend(starts_in_dent(), middle).share_left() == 1 ? above : below) =
        middle;
  }
  return above;
}

// The share of noisy copies that leave within kUpdates, from the minimum.
double share_by_theory(double rate, double noise) {
  constexpr int64_t kCells = 200;
  const double width = (kRight - kLeft) / kCells;
  const auto y = torch::arange(kCells, torch::kDouble).add(0.5) * width + kLeft;
  const double deviation = rate * noise;
  const auto density = [&](const torch::Tensor& distance) {
    return (distance / deviation).square().div(-2).exp() /
           (deviation * std::sqrt(2 * M_PI));
  };
  const auto kernel =
      density(y.unsqueeze(1) - (1 - rate * kSharp) * y.unsqueeze(0)) * width;
  auto mass = density(y) * width;
  for (int update = 1; update < kUpdates; ++update) {
    mass = kernel.mv(mass);
  }
  return 1 - mass.sum().item<double>();
}

void without_noise(stepsize::lab::Lab& lab, stepsize::LinePlot& plot) {
  const double sharp = curvature_at(0);
  const double flat = curvature_at(kFlatAt);
  lab.expect_near("curvature, sharp", kSharp, sharp, 1e-9);
  lab.expect_near("curvature, flat", kFlat, flat, 1e-9);
  const double leaves = stepsize::max_stable_lr(sharp);
  const double diverges = stepsize::max_stable_lr(flat);

  // The nearest start has to grow to kRight in kUpdates, or one less where it
  // ends on the other side. An update that is too small for that is not told
  // from one that does not grow.
  const double slack = std::pow(kRight / 0.01, 1.0 / (kUpdates - 1)) - 1;
  lab.expect_between(
      "smallest rate at which all leave",
      leaves,
      leaves + slack / sharp + kResolution,
      measured_threshold());
  for (const double share : {1.02, 1.1, 1.5}) {
    const auto start = torch::full({1}, 0.01, torch::kDouble);
    const auto copies = descend(start, share * leaves);
    lab.expect_near(
        "  " + std::to_string(share).substr(0, 4) +
            " of 2 / 20: updates to leave",
        updates_to_leave(0.01, share * leaves),
        copies.inside.item<double>() + 1,
        0);
  }
  lab.expect_near(
      "  0.999 of 2 / 20: they leave",
      0,
      descend(starts_in_dent(), 0.999 * leaves).share_left(),
      0);
  // Up to 1 / kFlat x does not overshoot the flat minimum, and so does not come
  // back to the dent.
  for (const double rate : {1.01 * leaves, 0.2, 0.5, 1 / flat}) {
    lab.expect_near(
        "  " + std::to_string(rate / leaves).substr(0, 5) +
            " of 2 / 20: end in the flat",
        1,
        descend(starts_in_dent(), rate).share_in_flat(),
        0);
  }
  lab.expect_near(
      "  0.99 of 2 / 1: stay in the flat",
      1,
      descend(starts_in_flat(), 0.99 * diverges).share_in_flat(),
      0);
  lab.expect_near(
      "  1.01 of 2 / 1: stay in the flat",
      0,
      descend(starts_in_flat(), 1.01 * diverges).share_in_flat(),
      0);

  std::vector<double> rates;
  std::vector<double> shares;
  std::vector<double> stay;
  for (int i = 0; i <= 32; ++i) {
    rates.push_back(0.021 * std::pow(10, i / 14.0));
    shares.push_back(descend(starts_in_dent(), rates.back()).share_left());
    stay.push_back(descend(starts_in_flat(), rates.back()).share_in_flat());
  }
  const double end = rates.back();
  plot.line("leaves the sharp one", {0.02, leaves, leaves, end}, {0, 0, 1, 1});
  plot.points("leaves the sharp one", rates, shares);
  plot.line(
      "stays in the flat one", {0.02, diverges, diverges, end}, {1, 1, 0, 0});
  plot.points("stays in the flat one", rates, stay);
  plot.mark(leaves, "2 / sharp").mark(diverges, "2 / flat");
}

// Returns the rate at which half of the copies leave.
double with_noise(
    stepsize::lab::Lab& lab, stepsize::LinePlot& plot, int batch) {
  const std::string name = "batch " + std::to_string(batch);
  const double noise = kNoise / std::sqrt(batch);
  const auto starts = torch::zeros({kCopies}, torch::kDouble);
  std::vector<double> rates;
  std::vector<double> theory;
  double half = NAN;
  for (double share = 0.2; share < 0.9999; share += 0.02) {
    rates.push_back(share * 2 / kSharp);
    theory.push_back(share_by_theory(rates.back(), noise));
    if (std::isnan(half) && theory.back() > 0.5) {
      half = rates.back();
    }
  }
  std::vector<double> measured_at;
  std::vector<double> measured;
  for (const double share : {0.9, 1.0, 1.03}) {
    measured_at.push_back(share * half);
    measured.push_back(descend(starts, share * half, noise).share_left());
    const double p = share_by_theory(share * half, noise);
    // A share p of the copies is known to sqrt(p (1 - p) / copies).
    lab.expect_near(
        name + ", lr " + std::to_string(share * half).substr(0, 6) + ": leave",
        p,
        measured.back(),
        5 * std::sqrt(p * (1 - p) / static_cast<double>(kCopies)));
  }
  plot.line("leaves, noise of " + name, rates, theory);
  plot.points("leaves, noise of " + name, measured_at, measured);
  return half;
}

void experiment(stepsize::lab::Lab& lab) {
  torch::manual_seed(1);
  stepsize::LinePlot plot("Who leaves the sharp minimum in 500 updates");
  plot.x_label("learning rate").x_log();
  plot.y_label("share of the starts").y_range(-0.05, 1.05);
  without_noise(lab, plot);
  for (const int batch : {1, 4, 16}) {
    lab.note(
        "  half of them, at lr lambda", kSharp * with_noise(lab, plot, batch));
  }
  lab.draw("two_minima", plot);
}

}  // namespace

int main(int argc, char** argv) {
  return stepsize::lab::run(
      argc, argv, "Two minima, and which rate jumps", experiment);
}
