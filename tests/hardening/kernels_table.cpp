// The kernels' numbers. Their owners are plain structs, so that no header can
// tell which knobs are missing here.

#include <stepsize/kernels/adam.h>
#include <stepsize/kernels/grad_norm.h>
#include <stepsize/kernels/sgd.h>

#include <torch/types.h>

#include <array>
#include <limits>
#include <vector>

#include "tests/hardening/option_table.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

// Printed with six digits.
const std::vector<double> kBelowZero = {
    -1, -kHuge, kNaN, kInfinity, -kInfinity};
const std::vector<double> kNoShare = {
    -1, 1, kHuge, kNaN, kInfinity, -kInfinity};

void sgd_with(const SGDHyperparameters& numbers) {
  const std::vector<torch::Tensor> params = {torch::ones({3})};
  const std::vector<torch::Tensor> grads = {torch::ones({3})};
  std::vector<torch::Tensor> buffers;
  if (numbers.momentum != 0) buffers.push_back(torch::zeros({3}));
  sgd_step(params, grads, buffers, {}, numbers);
}

void adam_with(const AdamHyperparameters& numbers, int64_t step = 1) {
  const std::vector<torch::Tensor> params = {torch::ones({3})};
  const std::vector<torch::Tensor> grads = {torch::ones({3})};
  const std::vector<torch::Tensor> means = {torch::zeros({3})};
  const std::vector<torch::Tensor> squares = {torch::zeros({3})};
  const std::array<int64_t, 1> steps = {step};
  adam_step(params, grads, means, squares, {}, steps, numbers);
}

template <typename Numbers>
auto setting(double Numbers::*member, void (*use)(const Numbers&)) {
  return [member, use](double value) {
    Numbers numbers;
    numbers.*member = value;
    use(numbers);
  };
}

}  // namespace

OptionTable kernels_table() {
  using Sgd = SGDHyperparameters;
  using Adam = AdamHyperparameters;
  const auto adam = [](const Adam& numbers) { adam_with(numbers); };
  OptionTable table;
  OptionCases(table, "SGDHyperparameters", "sgd_step")
      .number("lr", kBelowZero, {0, kHuge}, setting(&Sgd::lr, &sgd_with))
      .number(
          "momentum",
          kBelowZero,
          {0, 1, kHuge},
          setting(&Sgd::momentum, &sgd_with))
      .number(
          "dampening",
          kNotFinite,
          {-kHuge, 0, kHuge},
          setting(&Sgd::dampening, &sgd_with))
      .number(
          "weight_decay",
          kBelowZero,
          {0, kHuge},
          setting(&Sgd::weight_decay, &sgd_with));
  OptionCases(table, "AdamHyperparameters", "adam_step")
      .number("lr", kBelowZero, {0, kHuge}, setting<Adam>(&Adam::lr, +adam))
      .number(
          "beta1", kNoShare, {0, kBelowOne}, setting<Adam>(&Adam::beta1, +adam))
      .number(
          "beta2", kNoShare, {0, kBelowOne}, setting<Adam>(&Adam::beta2, +adam))
      .number("eps", kBelowZero, {0, kHuge}, setting<Adam>(&Adam::eps, +adam))
      .number(
          "weight_decay",
          kBelowZero,
          {0, kHuge},
          setting<Adam>(&Adam::weight_decay, +adam))
      .count("step", kNotCount, {1, kMostCount}, [](int64_t step) {
        adam_with({}, step);
      });
  OptionCases(table, "clip_coefficient", "clip_coefficient")
      .number(
          "max_norm",
          {0, -1, kNaN, -kInfinity},
          {kSmallest, kHuge, kInfinity},
          [](double v) { clip_coefficient(torch::ones({}), v); });
  return table;
}

}  // namespace stepsize::test
