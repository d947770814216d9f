// Unscaling in place: the loop, and the ways of other devices on CPU tensors.
#include <gtest/gtest.h>
#include <stepsize/kernels/cpu_capability.h>
#include <torch/version.h>

#include <functional>
#include <vector>

#include "csrc/kernels/dispatch.h"
#include "csrc/kernels/unscale.h"
#include "tests/kernels/support/problem.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

torch::Tensor scale_of(double value) {
  return torch::scalar_tensor(value, torch::kFloat32);
}

// Of odd sizes, one of them in another order of elements.
Tensors unscale_gradients(torch::Dtype type) {
  torch::manual_seed(3);
  Tensors gradients;
  for (const int64_t size : {1, 31, 40000}) {
    gradients.push_back((torch::randn({size}) * 100).to(type));
  }
  gradients.push_back((torch::randn({5, 7}) * 100).to(type).t());
  gradients.push_back((torch::randn({4, 6}) * 100).to(type).slice(1, 1, 4));
  return gradients;
}

using Unscale = std::function<torch::Tensor(const Tensors&, double)>;

std::vector<Unscale> unscale_ways(torch::Dtype type) {
  std::vector<Unscale> ways = {
      [](const Tensors& list, double scale) {
        return detail::unscale_each_(list, scale_of(scale));
      },
      [](const Tensors& list, double scale) {
        return detail::unscale_by_operations(list, scale_of(scale));
      }};
#if TORCH_VERSION_MAJOR > 2 || \
    (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
  // It rounds the factor to float32 for every type.
  if (type == torch::kFloat) {
    ways.emplace_back([](const Tensors& list, double scale) {
      return detail::unscale_by_fused_operator(list, scale_of(scale));
    });
  }
#else
  static_cast<void>(type);
#endif
  return ways;
}

TEST(Unscale, MultipliesByTheInverseInPlace) {
  for (const torch::Dtype type : kTypes) {
    // A power of two, which rounds nothing but the subnormals of float16, and
    // another number.
    for (const double scale : {1024.0, 3.0}) {
      for (const Unscale& unscale : unscale_ways(type)) {
        const Tensors gradients = unscale_gradients(type);
        Tensors expected;
        for (const torch::Tensor& gradient : gradients) {
          expected.push_back(
              type == torch::kDouble
                  ? gradient * (1 / scale)
                  : (gradient.to(torch::kFloat) * static_cast<float>(1 / scale))
                        .to(type));
        }
        EXPECT_FALSE(unscale(gradients, scale).item<bool>());
        for (std::size_t i = 0; i < gradients.size(); ++i) {
          EXPECT_TRUE(gradients[i].equal(expected[i]))
              << type << " " << scale << " " << i;
        }
      }
    }
  }
}

TEST(Unscale, FindsEachElementThatIsNotFinite) {
  for (const torch::Dtype type : kTypes) {
    for (const Unscale& unscale : unscale_ways(type)) {
      for (const double value : {kNaN, kInfinity, -kInfinity}) {
        for (const int64_t place : {0, 17, 39999}) {
          const Tensors gradients = unscale_gradients(type);
          gradients[2][place] = value;
          EXPECT_TRUE(unscale(gradients, 8).item<bool>())
              << type << " " << value << " " << place;
        }
      }
    }
  }
}

TEST(Unscale, OfTheLargestNumberIsFinite) {
  const auto largest =
      torch::full({65}, std::numeric_limits<float>::max(), torch::kFloat32);
  EXPECT_FALSE(detail::unscale_each_({largest}, scale_of(2)).item<bool>());
  EXPECT_EQ(largest[64].item<float>(), std::numeric_limits<float>::max() / 2);
}

TEST(Unscale, OfNothingFindsNothing) {
  EXPECT_FALSE(detail::unscale_each_({}, scale_of(2)).item<bool>());
  EXPECT_FALSE(
      detail::unscale_each_({torch::empty({0})}, scale_of(2)).item<bool>());
}

// 1 / scale is a subnormal number of float32.
TEST(Unscale, ByALargeScaleKeepsItsDigits) {
  const auto gradient = torch::full({33}, 3e38, torch::kFloat32);
  const double scale = static_cast<float>(3e38);
  EXPECT_FALSE(detail::unscale_each_({gradient}, scale_of(scale)).item<bool>());
  EXPECT_NEAR(gradient[0].item<double>(), 1.0, 1e-6);
}

TEST(Unscale, CountsAsAWriteForAutograd) {
  auto gradient = torch::ones({3});
  const auto before = gradient._version();
  detail::unscale_each_({gradient}, scale_of(2));
  EXPECT_GT(gradient._version(), before);
}

TEST(Unscale, GivesTheSameBitsByEveryInstructionSet) {
  const CPUCapability used = cpu_capability();
  for (const torch::Dtype type : kTypes) {
    Tensors expected;
    for (const CPUCapability capability :
         {CPUCapability::kBase, CPUCapability::kAVX2, CPUCapability::kAVX512}) {
      if (capability > detail::supported_capability()) continue;
      detail::use_capability(capability);
      const Tensors gradients = unscale_gradients(type);
      gradients[2][17] = kNaN;
      gradients[2][18] = kInfinity;
      EXPECT_TRUE(detail::unscale_each_(gradients, scale_of(3)).item<bool>());
      gradients[2][17] = 0;
      if (expected.empty()) expected = gradients;
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        EXPECT_TRUE(gradients[i].equal(expected[i])) << to_string(capability);
      }
    }
  }
  detail::use_capability(used);
}

}  // namespace
}  // namespace stepsize::test
