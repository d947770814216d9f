// Clipping where the norm, the coefficient or the product of the coefficient
// and a gradient leave the range of the type: closed forms.
#include <ATen/Context.h>
#include <gtest/gtest.h>
#include <stepsize/kernels/adam.h>
#include <stepsize/kernels/grad_norm.h>
#include <stepsize/kernels/sgd.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <ostream>
#include <vector>

#include "csrc/kernels/aten_norm.h"
#include "csrc/kernels/aten_ops.h"
#include "csrc/kernels/aten_sgd.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

constexpr double kLargest = std::numeric_limits<double>::max();
constexpr double kLastDouble = std::numeric_limits<double>::denorm_min();

// Elements all alike, what they are clipped to, and what each is then.
struct Case {
  torch::Dtype type;
  int64_t elements;
  double gradient;
  double max_norm;
  double expected;
  double relative;  // the rounding of the type
  NormType norm_type = NormType::kTwo;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.elements << " of " << c.gradient << " to " << c.max_norm << " in "
       << c.type;
}

// Of normal numbers: they stay what they are where subnormal ones are flushed.
std::vector<Case> normal_cases() {
  return {
      {torch::kDouble, 2, kLargest, 2, std::sqrt(2), 1e-15},
      {torch::kDouble, 10000, kLargest, 1e-6, 1e-8, 1e-14},
      {torch::kDouble, 1, kLargest, 1e-290, 1e-290, 1e-14},
      {torch::kDouble, 1, kLargest, kLargest / 4, kLargest / 4, 1e-15},
      {torch::kDouble, 4, kLargest, 2, 2, 1e-15, NormType::kInfinity},
      {torch::kDouble, 4, 1e300, 1e-300, 5e-301, 1e-14},
      {torch::kDouble, 4, 1e-200, 1e-250, 5e-251, 1e-14},
      {torch::kDouble, 4, 1e-300, 1e-305, 5e-306, 1e-14},
      {torch::kDouble, 1, 1e-300, 1e-200, 1e-300, 0},
      {torch::kFloat, 4, 1e38, 2, 1, 3e-7},
      {torch::kFloat, 10000, 3e38, 1e-3, 1e-5, 3e-7},
      {torch::kFloat, 1, 1e38, 1e-30, 1e-30, 3e-7},
      {torch::kFloat, 1, 1e-30, 1e-35, 1e-35, 3e-7},
      {torch::kFloat, 1, 1e-30, 1e30, 1e-30, 3e-7},
      {torch::kBFloat16, 4, 0x1p126, 2, 1, 1e-2},
      {torch::kBFloat16, 10000, 0x1p126, 1e-3, 1e-5, 1e-2},
      {torch::kHalf, 4, 60000, 1e-2, 5e-3, 1e-3},
      {torch::kHalf, 10000, 1000, 100, 1, 1e-3},
  };
}

torch::Tensor gradient_of(const Case& c) {
  return torch::full({c.elements}, c.gradient, torch::kDouble).to(c.type);
}

double step_on_cpu(const Case& c) {
  const auto gradient = gradient_of(c);
  auto param = torch::zeros({c.elements}, c.type);
  SGDHyperparameters numbers;
  numbers.lr = 1;
  sgd_step(
      {param},
      {gradient},
      {},
      {},
      numbers,
      clip_coefficient(norm_in_parts({gradient}, c.norm_type), c.max_norm));
  return -param[0].item<double>();
}

double first_mean_of_adam(const Case& c) {
  const auto gradient = gradient_of(c);
  auto param = torch::zeros({c.elements}, c.type);
  auto mean = torch::zeros({c.elements}, c.type);
  auto square = torch::zeros({c.elements}, c.type);
  AdamHyperparameters numbers;
  numbers.beta1 = 0;
  adam_step(
      {param},
      {gradient},
      {mean},
      {square},
      {},
      {1},
      numbers,
      clip_coefficient(norm_in_parts({gradient}, c.norm_type), c.max_norm));
  return mean[0].item<double>();
}

double step_with_operators(const Case& c, detail::Route route) {
  detail::DeviceList list = {};
  list.params = {torch::zeros({c.elements}, c.type)};
  list.grads = {gradient_of(c)};
  SGDHyperparameters numbers;
  numbers.lr = 1;
  const auto norm =
      detail::aten_norm_in_parts(list.grads, c.norm_type, torch::kCPU);
  detail::aten_sgd_step(
      list,
      false,
      numbers,
      detail::aten_coefficient_in_parts(norm, c.max_norm),
      route);
  return -list.params[0][0].item<double>();
}

void expect_clipped(double found, const Case& c) {
  // The gradient itself may be rounded where it is made; a subnormal result
  // has a last digit of its own.
  EXPECT_NEAR(found, c.expected, c.relative * c.expected + kLastDouble)
      << testing::PrintToString(c);
}

TEST(ClippingRange, StepsByMaxNormWhateverTheSizes) {
  for (const Case& c : normal_cases()) {
    expect_clipped(step_on_cpu(c), c);
    expect_clipped(first_mean_of_adam(c), c);
  }
  for (const Case& c : std::vector<Case>{
           {torch::kDouble, 1, 1e-320, 1e-322, 1e-322, 0},
           {torch::kDouble, 4, 1e-320, 1e-322, 5e-323, 0},
           {torch::kDouble, 4, 1e-310, 1e-300, 1e-310, 0},
           {torch::kDouble, 1, 1e300, 1e-315, 1e-315, 0}}) {
    expect_clipped(step_on_cpu(c), c);
  }
}

TEST(ClippingRange, StepsByMaxNormWithOperatorsToo) {
  for (const Case& c : normal_cases()) {
    // Before 2.6 they sum in the type of the tensors.
    if (c.type == torch::kFloat || c.type == torch::kBFloat16) {
      if (!detail::has_fused_operators()) continue;
    }
    expect_clipped(step_with_operators(c, detail::Route::kForeach), c);
    if (detail::has_fused_operators() && c.type == torch::kDouble) {
      expect_clipped(step_with_operators(c, detail::Route::kFused), c);
    }
  }
}

// A factor given as one number, as of global_norm(), loses no digits either
// where it is no normal float32.
TEST(ClippingRange, OneFactorMayBeTooSmallForAFloat) {
  for (const double factor : {1e-38, 1e-40, 1e-44, 1e-50, 1e-70}) {
    auto param = torch::zeros({1});
    SGDHyperparameters numbers;
    numbers.lr = 1;
    sgd_step(
        {param},
        {torch::full({1}, 1e38F)},
        {},
        {},
        numbers,
        torch::tensor(factor, torch::kDouble));
    EXPECT_NEAR(-param.item<double>() / (factor * 1e38), 1, 3e-7) << factor;
  }
}

class FlushedDenormals {
 public:
  FlushedDenormals() : on_(at::globalContext().setFlushDenormal(true)) {}
  ~FlushedDenormals() { at::globalContext().setFlushDenormal(false); }
  bool on() const { return on_; }

 private:
  bool on_;
};

TEST(ClippingRange, NeedsNoSubnormalNumbers) {
  const FlushedDenormals flushed;
  if (!flushed.on()) GTEST_SKIP() << "this CPU cannot flush them";
  for (const Case& c : normal_cases()) {
    expect_clipped(step_on_cpu(c), c);
    expect_clipped(first_mean_of_adam(c), c);
  }
}

TEST(ClippingRange, NormInPartsIsTheNormOverAUnit) {
  const auto parts = norm_in_parts({torch::tensor({3.0, 4.0})});
  EXPECT_EQ(parts[0].item<double>(), 5);
  EXPECT_EQ(parts[1].item<double>(), 1);
  const auto huge = norm_in_parts(
      {torch::full({2}, kLargest, torch::kDouble), torch::ones({3})});
  EXPECT_NEAR(
      huge[0].item<double>() * (huge[1].item<double>() / kLargest),
      std::sqrt(2),
      1e-15);
  EXPECT_TRUE(
      std::isinf(global_norm({torch::full({2}, kLargest, torch::kDouble)})
                     .item<double>()));
  for (const double bad : {kNaN, kInfinity}) {
    const auto none =
        norm_in_parts({torch::tensor({kLargest, bad}, torch::kDouble)});
    EXPECT_FALSE(std::isfinite(none[0].item<double>()));
    EXPECT_TRUE(std::isnan(clip_coefficient(none, 1)[0].item<double>()));
  }
  EXPECT_EQ(norm_in_parts({})[0].item<double>(), 0);
  EXPECT_THROW(clip_coefficient(torch::ones({3}), 1), c10::Error);
}

// What docs/kernels.md says of LibTorch, small enough for every run. Where one
// of these turns red LibTorch has mended it: change the page.
TEST(ClippingRange, LibTorchIsAsThePageSays) {
  // 2^25 equal values, summed in float32.
  const auto many = torch::full({int64_t{1} << 25}, 1e-4F);
  const double truth = 1e-4F * std::sqrt(0x1p25);
  EXPECT_NEAR(global_norm({many}).item<double>() / truth, 1, 1e-12);
  EXPECT_GT(
      std::abs(torch::linalg_vector_norm(many, 2).item<double>() / truth - 1),
      1e-4);
  // clip_grad_norm_ multiplies finite gradients by 1 / Inf.
  auto x = torch::zeros({4}, torch::requires_grad());
  x.mutable_grad() = torch::full({4}, 1e30F);
  torch::nn::utils::clip_grad_norm_({x}, 1.0);
  EXPECT_EQ(x.grad().abs().max().item<float>(), 0);
  expect_clipped(
      step_on_cpu({torch::kFloat, 4, 1e30, 1, 0.5, 3e-7}),
      {torch::kFloat, 4, 1e30, 1, 0.5, 3e-7});
  // A float16 holds no norm above 65504.
  const auto halves = torch::full({10000}, 1000, torch::kHalf);
  EXPECT_TRUE(std::isinf(torch::linalg_vector_norm(halves, 2).item<double>()));
  EXPECT_EQ(global_norm({halves}).item<double>(), 100000);
}

}  // namespace
}  // namespace stepsize::test
