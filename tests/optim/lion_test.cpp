#include <stepsize/optim/lion.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

#include "csrc/kernels/dispatch.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using torch::optim::OptimizerParamGroup;
using Numbers = std::vector<double>;

// Algorithm 2 of the paper, a coordinate at a time.
struct Reference {
  double lr;
  double beta1;
  double beta2;
  double weight_decay;
  Numbers theta;
  Numbers m = Numbers(theta.size(), 0.0);

  void step(const Numbers& g) {
    for (std::size_t i = 0; i < theta.size(); ++i) {
      const double c = beta1 * m[i] + (1 - beta1) * g[i];
      const double sign = c > 0 ? 1 : c < 0 ? -1 : 0;
      theta[i] = theta[i] - lr * (sign + weight_decay * theta[i]);
      m[i] = beta2 * m[i] + (1 - beta2) * g[i];
    }
  }
};

// Its tensor operations, on a CPU.
class LionByOperations : public Lion {
 public:
  using Lion::step_by_operations;
};

torch::Tensor tensor_of(const Numbers& values, torch::Dtype type) {
  return torch::tensor(values, torch::kFloat64).to(type);
}

Numbers numbers_in(const torch::Tensor& tensor) {
  const auto wide =
      tensor.detach().to(torch::kFloat64).contiguous().reshape({-1});
  const double* const data = wide.data_ptr<double>();
  return {data, data + wide.numel()};
}

double largest_difference(const Numbers& a, const Numbers& b) {
  double largest = a.size() == b.size() ? 0 : kInfinity;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    largest = std::max(largest, std::abs(a[i] - b[i]));
  }
  return largest;
}

// In (-1, 1), the same with every library.
class Draws {
 public:
  Numbers operator()(std::size_t count) {
    Numbers values(count);
    for (double& value : values) {
      value = (static_cast<double>(engine_()) + 0.5) / 2147483648.0 - 1;
    }
    return values;
  }

 private:
  std::mt19937 engine_{11};
};

ParameterState state_of(Lion& lion, int64_t group, int64_t index) {
  ParameterState state;
  lion.state_access()->read(group, index, state);
  return state;
}

TEST(Lion, HasThePapersDefaults) {
  const LionOptions options;
  EXPECT_EQ(options.lr(), 1e-4);
  EXPECT_EQ(options.betas(), std::make_tuple(0.9, 0.99));
  EXPECT_EQ(options.weight_decay(), 0);
}

TEST(Lion, StepsAsByHand) {
  auto x = leaf({1, 2});
  Lion lion(
      {x},
      LionOptions(0.5).betas(std::make_tuple(0.5, 0.75)).weight_decay(0.5));
  x.mutable_grad() = tensor_of({2, 0}, torch::kFloat64);
  lion.step();
  // c = (1, 0): 1 - (1 + 1/2) / 2 and 2 - (0 + 1) / 2.
  EXPECT_EQ(numbers_in(x), (Numbers{0.25, 1.5}));
  EXPECT_EQ(numbers_in(state_of(lion, 0, 0).tensors[0]), (Numbers{0.5, 0}));
  x.mutable_grad() = tensor_of({-0.25, 0}, torch::kFloat64);
  lion.step();
  // c = 1/4 - 1/8, against the gradient: 1/4 - (1 + 1/8) / 2.
  EXPECT_EQ(numbers_in(x), (Numbers{-0.3125, 1.125}));
  EXPECT_EQ(numbers_in(state_of(lion, 0, 0).tensors[0]), (Numbers{0.3125, 0}));
}

// Two groups; sizes that no vector divides, and a transposed parameter.
void expect_the_papers_path(torch::Dtype type, double tolerance) {
  Draws draw;
  Reference first = {0.01, 0.9, 0.99, 0, draw(1037)};
  Reference second = {0.003, 0.8, 0.95, 0.3, draw(15)};
  auto x = tensor_of(first.theta, type).set_requires_grad(true);
  auto y = torch::empty({5, 3}, type).t();
  y.copy_(tensor_of(second.theta, type).view({3, 5}));
  y.set_requires_grad(true);
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{x});
  groups.emplace_back(
      std::vector<torch::Tensor>{y},
      std::make_unique<LionOptions>(LionOptions(0.003)
                                        .betas(std::make_tuple(0.8, 0.95))
                                        .weight_decay(0.3)));
  Lion lion(groups, LionOptions(0.01));
  for (int step = 0; step < 25; ++step) {
    const Numbers g = draw(first.theta.size());
    const Numbers h = draw(second.theta.size());
    x.mutable_grad() = tensor_of(g, type);
    y.mutable_grad() = tensor_of(h, type).view({3, 5});
    lion.step();
    first.step(g);
    second.step(h);
  }
  EXPECT_LT(largest_difference(numbers_in(x), first.theta), tolerance);
  EXPECT_LT(largest_difference(numbers_in(y), second.theta), tolerance);
  const auto m = state_of(lion, 0, 0).tensors[0];
  const auto n = state_of(lion, 1, 0).tensors[0];
  EXPECT_EQ(m.scalar_type(), type);
  EXPECT_LT(largest_difference(numbers_in(m), first.m), tolerance);
  EXPECT_LT(largest_difference(numbers_in(n), second.m), tolerance);
}

TEST(Lion, TakesThePapersPathInFloat64) {
  expect_the_papers_path(torch::kFloat64, 1e-13);
}

TEST(Lion, TakesThePapersPathInFloat32) {
  expect_the_papers_path(torch::kFloat32, 3e-6);
}

// Numbers that float32 holds exactly: only the parameter is rounded, once a
// step. The weight decay makes it need that.
TEST(Lion, RoundsAHalfPrecisionParameterOnceAStep) {
  for (const torch::Dtype type : {torch::kBFloat16, torch::kHalf}) {
    Draws draw;
    Numbers start = numbers_in(tensor_of(draw(77), type));
    Reference reference = {1.0 / 64, 0.5, 0.75, 0.5, start};
    const LionOptions options = LionOptions(1.0 / 64)
                                    .betas(std::make_tuple(0.5, 0.75))
                                    .weight_decay(0.5);
    auto x = tensor_of(start, type).set_requires_grad(true);
    auto other = tensor_of(start, type);
    auto other_mean = torch::zeros({77}, torch::kFloat32);
    Lion lion({x}, options);
    for (int step = 0; step < 8; ++step) {
      Numbers g = draw(start.size());
      for (double& value : g) value = std::round(value * 8) / 8;
      x.mutable_grad() = tensor_of(g, type);
      lion.step();
      LionByOperations::step_by_operations(
          other, x.grad(), other_mean, options);
      reference.step(g);
      reference.theta = numbers_in(tensor_of(reference.theta, type));
    }
    EXPECT_EQ(numbers_in(x), reference.theta) << type;
    const auto m = state_of(lion, 0, 0).tensors[0];
    EXPECT_EQ(m.scalar_type(), torch::kFloat32);
    EXPECT_EQ(numbers_in(m), reference.m) << type;
    // An accelerator may fold the product into the sum; on a CPU they agree.
    EXPECT_EQ(numbers_in(other), reference.theta) << type;
    EXPECT_EQ(numbers_in(other_mean), reference.m) << type;
  }
}

TEST(Lion, TakesThePapersPathByTensorOperations) {
  Draws draw;
  Reference reference = {0.003, 0.8, 0.95, 0.3, draw(100)};
  const LionOptions options =
      LionOptions(0.003).betas(std::make_tuple(0.8, 0.95)).weight_decay(0.3);
  auto x = tensor_of(reference.theta, torch::kFloat64);
  auto mean = torch::zeros_like(x);
  for (int step = 0; step < 25; ++step) {
    const Numbers g = draw(reference.theta.size());
    LionByOperations::step_by_operations(
        x, tensor_of(g, torch::kFloat64), mean, options);
    reference.step(g);
  }
  EXPECT_LT(largest_difference(numbers_in(x), reference.theta), 1e-13);
  EXPECT_LT(largest_difference(numbers_in(mean), reference.m), 1e-13);
}

TEST(Lion, StepsAlikeWithEveryInstructionSet) {
  const CPUCapability used = cpu_capability();
  for (const auto type :
       {torch::kFloat32, torch::kFloat64, torch::kBFloat16, torch::kHalf}) {
    const auto run = [type](CPUCapability capability) {
      detail::use_capability(capability);
      Draws draw;
      auto x = tensor_of(draw(1037), type).set_requires_grad(true);
      Lion lion({x}, LionOptions(0.01).weight_decay(0.1));
      for (int step = 0; step < 5; ++step) {
        x.mutable_grad() = tensor_of(draw(1037), type);
        lion.step();
      }
      return std::make_pair(x.detach(), state_of(lion, 0, 0).tensors[0]);
    };
    const auto expected = run(CPUCapability::kBase);
    for (const auto capability :
         {CPUCapability::kAVX2, CPUCapability::kAVX512}) {
      if (capability > detail::supported_capability()) continue;
      const auto got = run(capability);
      EXPECT_TRUE(torch::equal(got.first, expected.first)) << type;
      EXPECT_TRUE(torch::equal(got.second, expected.second)) << type;
    }
  }
  detail::use_capability(used);
}

TEST(Lion, ShowsANaNInTheParameter) {
  auto x = leaf({1, 1, 1});
  auto y = tensor_of({1, 1, 1}, torch::kFloat64);
  auto mean = torch::zeros_like(y);
  Lion lion({x}, LionOptions(0.5));
  x.mutable_grad() = tensor_of({kNaN, kInfinity, -kInfinity}, torch::kFloat64);
  lion.step();
  LionByOperations::step_by_operations(y, x.grad(), mean, LionOptions(0.5));
  for (const torch::Tensor& tensor : {x, y}) {
    const Numbers values = numbers_in(tensor);
    EXPECT_TRUE(std::isnan(values[0]));
    EXPECT_EQ(values[1], 0.5);
    EXPECT_EQ(values[2], 1.5);
  }
}

TEST(Lion, ARefusedStepMovesNothing) {
  auto x = leaf({1, 2});
  auto y = leaf({1, 2});
  Lion lion({x, y});
  x.mutable_grad() = torch::ones_like(x);
  y.mutable_grad() = torch::ones_like(y);
  // Refused by the operands' check, after the gradients': y has no memory.
  {
    const torch::NoGradGuard no_grad;
    y.set_data(torch::_efficientzerotensor({2}, torch::kFloat64));
  }
  EXPECT_THROW(lion.step(), c10::Error);
  EXPECT_EQ(numbers_in(x), (Numbers{1, 2}));
  EXPECT_FALSE(state_of(lion, 0, 0).tensors.at(0).defined());
}

}  // namespace
}  // namespace stepsize::test
