#include <gtest/gtest.h>
#include <stepsize/kernels/grad_norm.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>

#include "csrc/kernels/aten_norm.h"
#include "tests/kernels/support/problem.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

torch::Tensor doubles(const std::vector<double>& values) {
  return torch::tensor(values, torch::kDouble);
}

double two(const Tensors& tensors) {
  return global_norm(tensors).item<double>();
}

double infinity(const Tensors& tensors) {
  return global_norm(tensors, NormType::kInfinity).item<double>();
}

TEST(GlobalNorm, OfAllTensorsTogether) {
  const Tensors tensors = {doubles({2, -3}), doubles({6}), doubles({0})};
  EXPECT_EQ(two(tensors), 7.0);
  EXPECT_EQ(infinity(tensors), 6.0);
}

TEST(GlobalNorm, OfNegatedViewsAndOfZerosWithoutMemory) {
  EXPECT_EQ(two({doubles({3, -4})._neg_view()}), 5.0);
  const auto zeros = at::_efficientzerotensor({8}, at::kDouble);
  EXPECT_EQ(two({zeros, doubles({2})}), 2.0);
  EXPECT_EQ(infinity({zeros}), 0.0);
}

TEST(GlobalNorm, IsAFloat64ScalarOnTheCPU) {
  const auto norm = global_norm({torch::ones({4})});
  EXPECT_EQ(norm.dim(), 0);
  EXPECT_EQ(norm.scalar_type(), torch::kDouble);
}

TEST(GlobalNorm, OfNothingIsZero) {
  EXPECT_EQ(two({}), 0.0);
  EXPECT_EQ(two({torch::Tensor(), torch::empty({0, 3})}), 0.0);
  EXPECT_EQ(infinity({torch::Tensor(), torch::empty({0})}), 0.0);
  EXPECT_EQ(two({torch::zeros({5}, torch::kDouble)}), 0.0);
}

TEST(GlobalNorm, MixesTypes) {
  const Tensors tensors = {
      torch::full({1}, 2, torch::kFloat),
      torch::full({1}, 4, torch::kDouble),
      torch::full({1}, 5, torch::kBFloat16),
      torch::full({1}, -6, torch::kHalf)};
  EXPECT_EQ(two(tensors), 9.0);
  EXPECT_EQ(infinity(tensors), 6.0);
}

TEST(GlobalNorm, HugeFloat64DoesNotOverflow) {
  EXPECT_DOUBLE_EQ(two({doubles({3e300, -4e300})}), 5e300);
  EXPECT_DOUBLE_EQ(two({doubles({3e-300, 4e300})}), 4e300);
  const auto many = torch::full({100000}, 1e305, torch::kDouble);
  EXPECT_NEAR(two({many}) / 1e305, std::sqrt(1e5), 1e-10);
  // Beyond the largest double there is nothing but Inf.
  EXPECT_EQ(two({torch::full({9}, 1e308, torch::kDouble)}), kInfinity);
}

TEST(GlobalNorm, TinyFloat64DoesNotUnderflow) {
  EXPECT_DOUBLE_EQ(two({doubles({3e-200, 4e-200})}), 5e-200);
  // The smallest subnormal, 4.9e-324, and twice that.
  const double smallest = std::numeric_limits<double>::denorm_min();
  EXPECT_EQ(two({doubles({3 * smallest, 4 * smallest})}), 5 * smallest);
  EXPECT_EQ(infinity({doubles({-smallest, 0})}), smallest);
}

TEST(GlobalNorm, HugeAndTinyFloat32) {
  EXPECT_NEAR(two({torch::full({4}, 3e38F)}) / 6e38, 1.0, 1e-7);
  const float smallest = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(two({torch::full({4}, smallest)}), 2.0 * smallest);
}

TEST(GlobalNorm, HugeFloat16) {
  // Squares of 60000 are far beyond the largest half, 65504.
  const auto huge = torch::full({4}, 60000, torch::kHalf);
  EXPECT_EQ(two({huge}), 2.0 * huge[0].item<double>());
}

TEST(GlobalNorm, InfIsFoundWhereverItIs) {
  for (const torch::Dtype type :
       {torch::kFloat, torch::kDouble, torch::kBFloat16, torch::kHalf}) {
    for (const int64_t place : {0, 31, 32, 99}) {
      auto tensor = torch::ones({100}, type);
      tensor[place] = -kInfinity;
      EXPECT_EQ(two({torch::ones({3}), tensor}), kInfinity);
      EXPECT_EQ(infinity({torch::ones({3}), tensor}), kInfinity);
    }
  }
}

TEST(GlobalNorm, NaNOutdoesInf) {
  for (const torch::Dtype type :
       {torch::kFloat, torch::kDouble, torch::kBFloat16, torch::kHalf}) {
    for (const int64_t place : {0, 31, 32, 99}) {
      auto tensor = torch::ones({100}, type);
      tensor[place] = kNaN;
      const auto inf = torch::full({40000}, kInfinity);
      for (const Tensors& tensors :
           {Tensors{tensor, inf}, Tensors{inf, tensor}}) {
        EXPECT_TRUE(std::isnan(two(tensors)));
        EXPECT_TRUE(std::isnan(infinity(tensors)));
      }
    }
  }
}

TEST(GlobalNorm, StridesDoNotMatter) {
  const auto base = torch::arange(120, torch::kDouble).view({2, 3, 4, 5});
  // 0^2 + ... + 119^2
  const double expected = std::sqrt(119.0 * 120 * 239 / 6);
  EXPECT_DOUBLE_EQ(two({base}), expected);
  EXPECT_DOUBLE_EQ(
      two({base.contiguous(torch::MemoryFormat::ChannelsLast)}), expected);
  EXPECT_DOUBLE_EQ(two({base.transpose(0, 3)}), expected);
  const auto wide = torch::full({120, 3}, 1e9, torch::kDouble);
  wide.select(1, 1).copy_(base.view({120}));
  EXPECT_DOUBLE_EQ(two({wide.select(1, 1)}), expected);
  EXPECT_EQ(infinity({wide.select(1, 1)}), 119.0);
  EXPECT_DOUBLE_EQ(two({base._neg_view()}), expected);
}

TEST(GlobalNorm, ExpandedGradientCountsEachElement) {
  EXPECT_EQ(two({torch::full({1}, 3.0).expand({10000})}), 300.0);
}

TEST(GlobalNorm, SparseCountsTheSumOfDuplicates) {
  const auto indices = torch::tensor({{1, 1, 4}});
  const auto sparse =
      torch::sparse_coo_tensor(indices, torch::tensor({1.0F, 2.0F, 4.0F}), {9});
  EXPECT_EQ(two({sparse}), 5.0);
  EXPECT_EQ(infinity({sparse}), 4.0);
}

TEST(GlobalNorm, StaysAccurateOverManyElements) {
  // float32 sums would stall here. The bound is the one that the header states.
  const int64_t count = 5000000;
  const auto ones = torch::ones({count});
  const double bound = (520 + count / 65536.0) * std::ldexp(1.0, -53);
  EXPECT_NEAR(two({ones}) / std::sqrt(5e6), 1.0, bound);
  const auto noise = torch::randn({count}, torch::kDouble);
  const double expected = noise.pow(2).sum().sqrt().item<double>();
  EXPECT_NEAR(two({noise}) / expected, 1.0, 2 * bound);
}

TEST(GlobalNorm, ManySmallTensors) {
  Tensors tensors;
  double squares = 0.0;
  for (int i = 0; i < 3000; ++i) {
    tensors.push_back(torch::full({i % 50}, i, torch::kFloat));
    squares += static_cast<double>(i) * i * (i % 50);
  }
  EXPECT_NEAR(two(tensors) / std::sqrt(squares), 1.0, 1e-14);
  EXPECT_EQ(infinity(tensors), 2999.0);
}

TEST(GlobalNorm, RefusesOtherTypes) {
  EXPECT_THROW(two({torch::ones({2}, torch::kLong)}), c10::Error);
  EXPECT_THROW(two({torch::ones({2}, torch::kComplexFloat)}), c10::Error);
  EXPECT_THROW(two({torch::eye(3).to_sparse_csr()}), c10::Error);
}

TEST(GlobalNorm, NeedsNoGradOfItsOwn) {
  const auto tensor = torch::ones({4}).requires_grad_();
  EXPECT_FALSE(global_norm({tensor}).requires_grad());
}

// The way on other devices than the CPU, which works on CPU tensors, too.
TEST(AtenNorm, AgreesWithTheLoops) {
  torch::manual_seed(3);
  for (const NormType type : {NormType::kTwo, NormType::kInfinity}) {
    Tensors tensors;
    for (const torch::Dtype dtype : {torch::kFloat, torch::kDouble}) {
      tensors.push_back(torch::randn({1000}).to(dtype));
      tensors.push_back(torch::randn({3, 50}).to(dtype).t());
    }
    const double expected = global_norm(tensors, type).item<double>();
    const double actual =
        detail::aten_norm(tensors, type, torch::kCPU).item<double>();
    EXPECT_NEAR(actual / expected, 1.0, 1e-6);
  }
}

TEST(AtenNorm, CombinesWithoutOverflow) {
  const auto combined = [](double a, double b) {
    return detail::combined_norm(
               {torch::tensor(a, torch::kDouble),
                torch::tensor(b, torch::kDouble)},
               NormType::kTwo,
               torch::kCPU)
        .item<double>();
  };
  EXPECT_DOUBLE_EQ(combined(3e300, 4e300), 5e300);
  EXPECT_DOUBLE_EQ(combined(3e-300, 4e-300), 5e-300);
  EXPECT_EQ(combined(0, 0), 0.0);
  EXPECT_EQ(combined(1, kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(combined(kNaN, kInfinity)));
}

TEST(AtenNorm, FindsNaNAndInf) {
  for (const NormType type : {NormType::kTwo, NormType::kInfinity}) {
    const auto norm = [&](double value) {
      return detail::aten_norm(
                 {torch::full({5}, value), torch::ones({3})}, type, torch::kCPU)
          .item<double>();
    };
    EXPECT_EQ(norm(-kInfinity), kInfinity);
    EXPECT_TRUE(std::isnan(norm(kNaN)));
  }
  EXPECT_EQ(
      detail::aten_norm({}, NormType::kTwo, torch::kCPU).item<double>(), 0.0);
}

}  // namespace
}  // namespace stepsize::test
