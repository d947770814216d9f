// An operator belongs to one point and one batch: what the user writes in
// between is seen, or refused, but never mixed with what was there before.

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <stepsize/curvature/hessian_operator.h>
#include <torch/version.h>

#include <cmath>

#include "tests/curvature/support/problems.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"

namespace stepsize::test {
namespace {

at::Tensor product_with_ones(const HessianOperator& op) {
  return op.apply({torch::ones_like(op.like()[0])})[0];
}

TEST(HessianPoint, AGivenGradientIsKeptAsItWas) {
  const at::Tensor w = leaf({1, 2});
  const auto loss = [&] { return w.pow(3).sum(); };
  loss().backward();
  const HessianOperator op = hessian_operator(
      loss,
      {w},
      HessianOptions()
          .method(HessianMethod::kFiniteDifference)
          .gradient({w.grad()}));
  w.mutable_grad().zero_();
  const at::Tensor expected = torch::tensor({6.0, 12.0}, torch::kDouble);
  EXPECT_LT(relative_error(product_with_ones(op), expected), 1e-6);
  EXPECT_TRUE(
      op.gradient()[0].equal(torch::tensor({3.0, 12.0}, torch::kDouble)));
}

TEST(HessianPoint, AutomaticFallsBackWithBothGradientsFromOneBatch) {
  const at::Tensor w = leaf({1, 2});
  const at::Tensor x = torch::ones({2}, torch::kDouble);
  const HessianOperator op =
      hessian_operator([&] { return (w * x).pow(2).sum() / 2; }, {w});
  x.mul_(2);  // autograd refuses the kept graph
  const at::Tensor four = torch::full({2}, 4.0, torch::kDouble);
  EXPECT_LT(relative_error(product_with_ones(op), four), 1e-6);
  EXPECT_EQ(op.method(), HessianMethod::kFiniteDifference);
  EXPECT_TRUE(
      op.gradient()[0].equal(torch::tensor({4.0, 8.0}, torch::kDouble)));
  EXPECT_EQ(op.loss().item<double>(), 10);
}

TEST(HessianPoint, ADifferenceNoticesWhatLibTorchDoesNotCount) {
  for (const HessianMethod method :
       {HessianMethod::kAutomatic,
        HessianMethod::kFiniteDifference,
        HessianMethod::kCentralDifference}) {
    at::Tensor w = leaf({1, 2});
    const HessianOperator op = hessian_operator(
        [&] { return w.pow(3).sum(); }, {w}, HessianOptions().method(method));
    const auto version = w._version();
    w.mutable_grad() = torch::ones({2}, torch::kDouble);
    torch::optim::SGD({w}, torch::optim::SGDOptions(0.1)).step();
    EXPECT_EQ(w._version(), version);
    EXPECT_EQ(
        message_of([&] { product_with_ones(op); }),
        "hessian_operator: the parameters have changed since the operator was "
        "made: make a new one");
  }
}

TEST(HessianPoint, ParametersWithANaNAreNoChange) {
  const at::Tensor w = leaf({1, std::nan("")});
  const HessianOperator op = hessian_operator(
      [&] { return w.pow(3).sum(); },
      {w},
      HessianOptions().method(HessianMethod::kFiniteDifference));
  EXPECT_NO_THROW(product_with_ones(op));
}

// Autocast to bfloat16 on the CPU.
class Autocast {
 public:
  Autocast() {
    switch_to(true);
    at::autocast::increment_nesting();
  }
  ~Autocast() {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    switch_to(false);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  static void switch_to(bool on) {
#if TORCH_VERSION_MAJOR > 2 || \
    (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
    at::autocast::set_autocast_enabled(at::kCPU, on);
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
#else
    at::autocast::set_cpu_enabled(on);
    at::autocast::set_autocast_cpu_dtype(at::kBFloat16);
#endif
  }
};

TEST(HessianPoint, ADifferenceSeesMovedWeightsUnderAutocast) {
  // A leaf that goes into a product as it is: what autocast caches. No
  // convolution, which oneDNN of LibTorch 2.6.0 gets wrong in bfloat16 on some
  // processors.
  torch::manual_seed(1);
  const at::Tensor w = torch::randn({16, 4}).div_(4).requires_grad_();
  const at::Tensor x = torch::randn({32, 16});
  const auto loss = [&] {
    return torch::mm(x, w).to(torch::kFloat).pow(2).mean();
  };
  const at::Tensor outputs = torch::mm(x, w).detach();
  const HessianOperator exact = hessian_operator(
      loss, {w}, HessianOptions().method(HessianMethod::kExact));
  const TensorVector v = gaussian(exact.like(), 2);
  const at::Tensor expected = exact.apply(v)[0];
  const Autocast autocast;
  for (const HessianMethod method :
       {HessianMethod::kFiniteDifference, HessianMethod::kCentralDifference}) {
    const HessianOperator op =
        hessian_operator(loss, {w}, HessianOptions().method(method).epsilon(1));
    // The loss is quadratic, and bfloat16 keeps three digits.
    EXPECT_LT(relative_error(op.apply(v)[0], expected), 0.1);
  }
  // Nor do the user's own casts come from moved weights.
  EXPECT_LT(relative_error(torch::mm(x, w), outputs), 0.05);
}

}  // namespace
}  // namespace stepsize::test
