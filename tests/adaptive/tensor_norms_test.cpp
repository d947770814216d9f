#include "csrc/adaptive/tensor_norms.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace stepsize::test {
namespace {

TEST(TensorNorms, AreThoseOfEachTensor) {
  const auto norms = detail::tensor_norms(
      {torch::tensor({3.0, 4.0}, torch::kFloat64),
       torch::zeros({2, 2}),
       torch::full({4}, 2.5F, torch::kBFloat16),
       torch::full({2, 8}, 1e30F).t()});
  ASSERT_EQ(norms.size(), 4U);
  EXPECT_DOUBLE_EQ(norms[0], 5);
  EXPECT_EQ(norms[1], 0);
  EXPECT_DOUBLE_EQ(norms[2], 5);
  EXPECT_NEAR(norms[3], 4e30, 1e24);
}

}  // namespace
}  // namespace stepsize::test
