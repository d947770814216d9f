#include <gtest/gtest.h>
#include <stepsize/kernels/sgd.h>

#include "tests/kernels/support/problem.h"

namespace stepsize::test {
namespace {

torch::Tensor doubles(std::initializer_list<double> values) {
  return torch::tensor(std::vector<double>(values), torch::kDouble);
}

// One parameter of value 8 with gradient 2, then 4; powers of two, so that
// every result is exact.
double after_two_steps(SGDHyperparameters h, double scale = 1.0) {
  h.lr = 0.25;
  const Tensors params = {doubles({8})};
  Tensors buffers;
  if (h.momentum != 0.0) buffers = {doubles({99})};
  const auto factor = torch::tensor(scale, torch::kDouble);
  sgd_step(params, {doubles({2})}, buffers, {true}, h, factor);
  sgd_step(params, {doubles({4})}, buffers, {false}, h, factor);
  return params[0].item<double>();
}

TEST(SGDStep, PlainByHand) {
  EXPECT_EQ(after_two_steps({}), 8 - 0.25 * 2 - 0.25 * 4);
}

TEST(SGDStep, MomentumStartsWithTheGradientItself) {
  SGDHyperparameters h;
  h.momentum = 0.5;
  // b = 2, then 0.5 * 2 + 4 = 5.
  EXPECT_EQ(after_two_steps(h), 8 - 0.25 * 2 - 0.25 * 5);
  h.dampening = 0.75;
  // b = 2, undamped; then 1 + 0.25 * 4 = 2.
  EXPECT_EQ(after_two_steps(h), 8 - 0.25 * 2 - 0.25 * 2);
}

TEST(SGDStep, NesterovByHand) {
  SGDHyperparameters h;
  h.momentum = 0.5;
  h.nesterov = true;
  // b = 2, d = 2 + 1; b = 5, d = 4 + 2.5.
  EXPECT_EQ(after_two_steps(h), 8 - 0.25 * 3 - 0.25 * 6.5);
}

TEST(SGDStep, WeightDecayByHand) {
  SGDHyperparameters h;
  h.weight_decay = 0.5;
  // d = 2 + 4 = 6, p = 6.5; d = 4 + 3.25.
  EXPECT_EQ(after_two_steps(h), 6.5 - 0.25 * 7.25);
  h.decoupled_weight_decay = true;
  // p = 8 * 0.875 - 0.5 = 6.5; 6.5 * 0.875 - 1.
  EXPECT_EQ(after_two_steps(h), 6.5 * 0.875 - 1);
}

TEST(SGDStep, MaximizeTurnsTheGradientButNotTheDecay) {
  SGDHyperparameters h;
  h.maximize = true;
  EXPECT_EQ(after_two_steps(h), 8 + 0.25 * 2 + 0.25 * 4);
  h.weight_decay = 0.5;
  // d = -2 + 4 = 2, p = 7.5; d = -4 + 3.75.
  EXPECT_EQ(after_two_steps(h), 7.5 + 0.25 * 0.25);
}

TEST(SGDStep, ScaleIsAppliedToTheGradientAlone) {
  SGDHyperparameters h;
  EXPECT_EQ(after_two_steps(h, 0.5), 8 - 0.25 * 1 - 0.25 * 2);
  h.weight_decay = 0.5;
  // d = 1 + 4 = 5, p = 6.75; d = 2 + 3.375.
  EXPECT_EQ(after_two_steps(h, 0.5), 6.75 - 0.25 * 5.375);
}

TEST(SGDStep, LeavesGradientsAsTheyAre) {
  const Tensors params = {doubles({1, 2})};
  const Tensors grads = {doubles({3, 4})};
  SGDHyperparameters h;
  h.lr = 0.5;
  h.maximize = true;
  sgd_step(params, grads, {}, {}, h, torch::tensor(0.5, torch::kDouble));
  expect_same(grads, {doubles({3, 4})});
}

TEST(SGDStep, FirstStepIsOneParametersOwn) {
  SGDHyperparameters h;
  h.lr = 1.0;
  h.momentum = 0.5;
  const Tensors params = {doubles({0}), doubles({0})};
  const Tensors buffers = {doubles({8}), doubles({8})};
  sgd_step(params, {doubles({1}), doubles({1})}, buffers, {true, false}, h);
  expect_same(params, {doubles({-1}), doubles({-5})});
  expect_same(buffers, {doubles({1}), doubles({5})});
}

TEST(SGDStep, NoFlagsMeanNoFirstStep) {
  SGDHyperparameters h;
  h.lr = 1.0;
  h.momentum = 0.5;
  const Tensors params = {doubles({0})};
  sgd_step(params, {doubles({1})}, {doubles({8})}, {}, h);
  EXPECT_EQ(params[0].item<double>(), -5.0);
}

TEST(SGDStep, UndefinedGradientLeavesItsParameterAlone) {
  SGDHyperparameters h;
  h.lr = 1.0;
  h.momentum = 0.5;
  const Tensors params = {doubles({3}), doubles({3})};
  const Tensors buffers = {doubles({8}), doubles({8})};
  sgd_step(params, {torch::Tensor(), doubles({1})}, buffers, {}, h);
  expect_same(params, {doubles({3}), doubles({-2})});
  EXPECT_EQ(buffers[0].item<double>(), 8.0);
}

TEST(SGDStep, ScaleThatIsNotFiniteChangesNothing) {
  SGDHyperparameters h;
  h.lr = 1.0;
  h.momentum = 0.5;
  h.weight_decay = 0.1;
  for (const double scale : {std::nan(""), HUGE_VAL}) {
    const Tensors params = {doubles({3})};
    const Tensors buffers = {doubles({8})};
    sgd_step(
        params,
        {doubles({1})},
        buffers,
        {},
        h,
        torch::tensor(scale, torch::kDouble));
    expect_same(params, {doubles({3})});
    expect_same(buffers, {doubles({8})});
  }
}

TEST(SGDStep, NoParametersAreFine) {
  EXPECT_NO_THROW(sgd_step({}, {}, {}, {}, {}));
}

TEST(SGDStep, TellsAutogradOfItsWrites) {
  const auto param = torch::ones({3}, torch::kDouble).requires_grad_();
  const auto product = (param * param).sum();
  SGDHyperparameters h;
  h.lr = 1.0;
  sgd_step({param}, {torch::ones({3}, torch::kDouble)}, {}, {}, h);
  // The product's gradient needs the old values.
  EXPECT_THROW(product.backward(), c10::Error);
}

// 1000 steps against torch::optim::SGD. The gradients do not depend on the
// parameters, so nothing but rounding can drive the two apart.
void compare_sgd_with_torch(torch::Dtype type, double tolerance) {
  torch::manual_seed(7);
  const Tensors start = random_params(type);
  std::vector<Tensors> grads;
  for (int i = 0; i < 1000; ++i) grads.push_back(random_grads(start));
  for (const SGDHyperparameters& h : all_sgd_hyperparameters()) {
    SCOPED_TRACE(to_text(h));
    SGDRun ours(start, h);
    TorchRun theirs(start, h);
    for (const Tensors& grad : grads) {
      ours.step(grad);
      theirs.step(grad);
    }
    expect_close(ours.params, theirs.params(), tolerance);
  }
}

TEST(SGDStep, FollowsTorchInFloat32) {
  compare_sgd_with_torch(torch::kFloat, 1e-6);
}

TEST(SGDStep, FollowsTorchInFloat64) {
  compare_sgd_with_torch(torch::kDouble, 1e-13);
}

}  // namespace
}  // namespace stepsize::test
