// The conditions of Robbins and Monro on the rates of a search for a root that
// is seen through noise: their sum is infinite, so that every start is
// forgotten, and the sum of their squares is finite, so that the noise is.
// (Robbins and Monro 1951, "A stochastic approximation method",
// doi:10.1214/aoms/1177729586.)
//
//   robbins_monro [OUT_DIR]
//
// The function is x + noise of mean 0 and variance 1, its root 0, the rate of
// update n is a = (n + 1)^-e. From the start x0 the mean of x goes as x0 times
// the product of 1 - a, and its variance v becomes (1 - a)^2 v + a^2.
//
// Where e > 1 that product has a limit above 0: a start that is too far is
// never made up for. Where e <= 1/2 the mean square still goes to 0, as a / 2
// does, and with normal noise so do the paths. What fails is the promise for
// all noise of this variance. The worst is rare: 1 / a or -1 / a, together with
// probability a^2, which throws x by 1. Such throws are independent, and a^2 is
// what the second condition sums: by the lemmas of Borel and Cantelli they end
// where the sum is finite, and never do where it is not. At e = 1/2, where a^2
// is 1 / (n + 1), half of all paths are thrown in each doubling of n.
//
// Between the two, 1/2 < e <= 1, both hold. The variance is then a / 2 in the
// limit, and at e = 1, where the rate is 1 over the slope, 1 / n (Chung 1954,
// "On a stochastic approximation method", doi:10.1214/aoms/1177728716), which
// is the bound of Cramer and Rao for normal noise.

#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/report/line_plot.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/schedule.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "lab.h"

namespace {

constexpr int kUpdates = 4096;
constexpr int64_t kCopies = 4000;
constexpr double kStart = 5;
// What holds within five standard errors holds for every seed, nearly.
constexpr double kErrors = 5;

// (n + 1)^-e for update n = t + 1. As a schedule it is a factor of the rate of
// update 1.
struct Rates {
  double exponent;
  stepsize::Schedule schedule;
  bool sum_is_infinite;
  bool sum_of_squares_is_finite;
  std::string name;

  double at(int update) const { return std::pow(update + 1, -exponent); }
};

std::vector<Rates> all_rates() {
  using stepsize::inverse_sqrt, stepsize::inverse_time;
  const auto power = [](double t) { return std::pow(1 + t / 2, -0.75); };
  return {
      {0.5, inverse_sqrt(2), true, false, "exponent 0.5"},
      {0.75, stepsize::callable(power), true, true, "exponent 0.75"},
      {1, inverse_time(0.5), true, true, "exponent 1"},
      {1.5, inverse_time(0.5) * inverse_sqrt(2), false, true, "exponent 1.5"}};
}

// What theory says of the last iterate, and of the second half of the updates.
struct Expected {
  double start_left = 1;
  double variance = 0;
  double unthrown = 1;  // share of the paths without a throw
};

Expected expect(const Rates& rates) {
  Expected expected;
  for (int update = 1; update <= kUpdates; ++update) {
    const double rate = rates.at(update);
    expected.start_left *= 1 - rate;
    expected.variance =
        (1 - rate) * (1 - rate) * expected.variance + rate * rate;
    if (update > kUpdates / 2) {
      expected.unthrown *= 1 - rate * rate;
    }
  }
  return expected;
}

enum class Noise { kNormal, kRare };

struct Search {
  torch::Tensor x;           // the last iterate of each copy
  torch::Tensor thrown;      // who moved by 1/2 in the second half
  std::vector<double> path;  // of the first copy
};

Search search(const Rates& rates, Noise noise) {
  auto x = torch::full({kCopies}, kStart, torch::kDouble).requires_grad_(true);
  torch::optim::SGD sgd({x}, torch::optim::SGDOptions(rates.at(1)));
  stepsize::ScheduleLR scheduler(sgd, rates.schedule);
  Search found;
  found.thrown = torch::zeros({kCopies}, torch::kBool);
  found.path = {kStart};
  for (int update = 1; update <= kUpdates; ++update) {
    torch::Tensor error;
    if (noise == Noise::kNormal) {
      error = torch::randn({kCopies}, torch::kDouble);
    } else {
      const double rate = rates.at(update);
      const auto sign = torch::rand({kCopies}, torch::kDouble) * 2 - 1;
      error = sign.sign() * (sign.abs() < rate * rate) / rate;
    }
    const auto before = x.detach().clone();
    stepsize::lab::update(sgd, [&] { return (x * x / 2 + error * x).sum(); });
    scheduler.step();
    if (update > kUpdates / 2) {
      found.thrown.logical_or_((x.detach() - before).abs() > 0.5);
    }
    found.path.push_back(x[0].item<double>());
  }
  found.x = x.detach();
  return found;
}

void check(
    stepsize::lab::Lab& lab, const Rates& rates, stepsize::LinePlot& plot) {
  const Expected expected = expect(rates);
  const auto copies = static_cast<double>(kCopies);
  const auto calm = search(rates, Noise::kNormal);
  const double left = calm.x.mean().item<double>() / kStart;
  lab.expect_near(
      rates.name + ": of the start is left",
      expected.start_left,
      left,
      kErrors * std::sqrt(expected.variance / copies) / kStart);
  // The variance of normal numbers is known to sqrt(2 / copies) of itself.
  const double error = kErrors * std::sqrt(2 / copies);
  const double variance = calm.x.var().item<double>();
  lab.expect_near(
      "  variance", expected.variance, variance, error * expected.variance);
  if (rates.sum_is_infinite) {
    const double rate = rates.at(kUpdates);
    const double limit = rates.exponent < 1 ? 0.5 : 1;
    // The next terms of the series, as shares of this one.
    const double terms = rates.exponent < 1
                             ? rate / 2 + rates.exponent / (2 * kUpdates * rate)
                             : rate;
    lab.expect_near(
        "  variance / rate", limit, variance / rate, (error + terms) * limit);
  }

  const auto rough = search(rates, Noise::kRare);
  const double thrown = rough.thrown.to(torch::kDouble).mean().item<double>();
  // A share p of the copies is known to sqrt(p (1 - p) / copies).
  const double share = 1 - expected.unthrown;
  lab.expect_near(
      "  thrown in the second half",
      share,
      thrown,
      kErrors * std::sqrt(share * (1 - share) / copies));
  lab.expect_near(
      "  forgets the start",
      rates.sum_is_infinite ? 1 : 0,
      std::abs(left) < 0.01 ? 1 : 0,
      0);
  lab.expect_near(
      "  comes to rest",
      rates.sum_of_squares_is_finite ? 1 : 0,
      thrown < 0.05 ? 1 : 0,
      0);

  std::vector<double> updates(rough.path.size());
  std::iota(updates.begin(), updates.end(), 1);
  plot.line(rates.name, updates, rough.path);
}

void experiment(stepsize::lab::Lab& lab) {
  torch::manual_seed(1);
  stepsize::LinePlot plot("Searches for the root 0 among rare, large errors");
  plot.x_label("update + 1").x_log().y_label("x");
  for (const Rates& rates : all_rates()) {
    check(lab, rates, plot);
  }
  lab.draw("robbins_monro", plot);
}

}  // namespace

int main(int argc, char** argv) {
  return stepsize::lab::run(
      argc, argv, "The conditions of Robbins and Monro", experiment);
}
