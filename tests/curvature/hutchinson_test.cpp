#include <gtest/gtest.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/hutchinson.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "tests/curvature/support/problems.h"

namespace stepsize::test {
namespace {

using Status = CurvatureStatus;

HutchinsonOptions drawing(int64_t samples) {
  return HutchinsonOptions().samples(samples).generator(seeded(1));
}

at::Tensor small_matrix() {
  return torch::tensor(
      {{4.0, 1.0, -0.5}, {1.0, 3.0, 2.0}, {-0.5, 2.0, -1.0}}, torch::kDouble);
}

TEST(HutchinsonTrace, IsExactForADiagonalMatrix) {
  const auto result = hutchinson_trace(diagonal({1, 2, -5}), drawing(2));
  EXPECT_DOUBLE_EQ(result.value, -2);
  EXPECT_NEAR(result.standard_error, 0, 1e-15);
  EXPECT_EQ(result.iterations, 2);
  EXPECT_EQ(result.status, Status::kConverged);
}

TEST(HutchinsonTrace, SamplesHaveTheirVariance) {
  // 2 (|A|_F^2 - sum a_ii^2) = 2 * 2 (1 + 4 + 1/4), and 2 |A|_F^2 for Gaussian
  // vectors.
  const LinearOperator op = matrix_operator(small_matrix());
  constexpr int64_t kSamples = 40000;
  const auto variance = [](const TraceResult& result) {
    return result.standard_error * result.standard_error * kSamples;
  };
  const auto rademacher = hutchinson_trace(op, drawing(kSamples));
  EXPECT_NEAR(variance(rademacher) / 21, 1, 0.02);
  EXPECT_NEAR(rademacher.value, 6, 4 * rademacher.standard_error);
  const auto gaussian = hutchinson_trace(
      op, drawing(kSamples).distribution(ProbeDistribution::kGaussian));
  EXPECT_NEAR(variance(gaussian) / (21 + 2 * 26), 1, 0.04);
  EXPECT_NEAR(gaussian.value, 6, 4 * gaussian.standard_error);
}

TEST(HutchinsonTrace, StopsAtItsTolerance) {
  const LinearOperator op = matrix_operator(small_matrix());
  const auto result = hutchinson_trace(op, drawing(100000).tolerance(0.05));
  EXPECT_EQ(result.status, Status::kConverged);
  EXPECT_LE(result.standard_error, 0.05 * std::abs(result.value));
  // The variance above and a value near 6: 21 / .3^2 samples.
  EXPECT_NEAR(static_cast<double>(result.iterations), 233, 60);
  const auto failed = hutchinson_trace(op, drawing(20).tolerance(1e-6));
  EXPECT_EQ(failed.status, Status::kMaxIterations);
  EXPECT_EQ(failed.iterations, 20);
}

TEST(HutchinsonTrace, OfANetworkCoversItsTrace) {
  const SmallNet net;
  const HessianOperator op =
      hessian_operator([&] { return net.cross_entropy(); }, net.parameters);
  const double trace = dense(op).trace().item<double>();
  const auto result = hutchinson_trace(op, drawing(400));
  EXPECT_NEAR(result.value, trace, 4 * result.standard_error);
  EXPECT_LT(result.standard_error, 0.2 * std::abs(trace));
}

TEST(HutchinsonTrace, FewSamplesMayMeetTheTolerance) {
  const auto result =
      hutchinson_trace(diagonal({1, 2, 3}), drawing(5).tolerance(0.1));
  EXPECT_EQ(result.status, Status::kConverged);
  EXPECT_EQ(result.iterations, 5);
}

// The Hessian of a small network, its graph kept or made anew: as often as
// `calls` says, the first time at construction.
HessianOperator counted(const SmallNet& net, int64_t& calls, bool retain) {
  return hessian_operator(
      [&net, &calls] {
        ++calls;
        return net.cross_entropy();
      },
      net.parameters,
      HessianOptions().retain_graph(retain));
}

TEST(HutchinsonTrace, ABlockOfSamplesChangesNoBit) {
  const SmallNet net;
  int64_t calls = 0;
  for (const double tolerance : {0.0, 1e-9, 0.5}) {
    const auto options = [&] { return drawing(14).tolerance(tolerance); };
    const HutchinsonOptions one_by_one = options();
    const HutchinsonOptions in_blocks = options();
    const auto kept = hutchinson_trace(counted(net, calls, true), one_by_one);
    const auto freed = hutchinson_trace(counted(net, calls, false), in_blocks);
    EXPECT_EQ(freed.value, kept.value);
    EXPECT_EQ(freed.standard_error, kept.standard_error);
    EXPECT_EQ(freed.iterations, kept.iterations);
    EXPECT_EQ(freed.status, kept.status);
    // Nothing is drawn that one after the other would not have been.
    EXPECT_TRUE(in_blocks.generator().get_state().equal(
        one_by_one.generator().get_state()));
  }
}

TEST(HutchinsonTrace, FourSamplesShareAnEvaluation) {
  const SmallNet net;
  int64_t calls = 0;
  const HessianOperator op = counted(net, calls, false);
  EXPECT_EQ(calls, 1);
  const double trace = dense(op).trace().item<double>();
  calls = 0;
  const auto all = hutchinson_trace(op, drawing(400));
  EXPECT_EQ(calls, 100);
  EXPECT_NEAR(all.value, trace, 4 * all.standard_error);
  calls = 0;
  // It may stop from the 10th sample on: 4 + 4 + 2, then one by one.
  EXPECT_EQ(hutchinson_trace(op, drawing(12).tolerance(1e-9)).iterations, 12);
  EXPECT_EQ(calls, 5);
}

// The identity until its `broken`-th product, which is NaN or throws; whether
// several are made at once.
LinearOperator breaking(int64_t broken, bool throws, bool block) {
  const auto count = std::make_shared<int64_t>(0);
  const auto product = [=](const TensorVector& v) {
    if (++*count != broken) return TensorVector{v[0].clone()};
    if (throws) throw std::runtime_error("a test that fails");
    return TensorVector{v[0] * std::nan("")};
  };
  LinearOperator::BlockFunction products;
  if (block) {
    products = [product](const std::vector<TensorVector>& vectors) {
      std::vector<TensorVector> all;
      for (const TensorVector& v : vectors) all.push_back(product(v));
      return all;
    };
  }
  return function_operator(
      {torch::zeros({3}, torch::kDouble)}, product, std::move(products));
}

// After so many vectors of that operator.
at::Tensor state_after(int64_t vectors) {
  at::Generator generator = seeded(1);
  for (int64_t i = 0; i < vectors; ++i) {
    torch::empty({3}, torch::kDouble).bernoulli_(0.5, generator);
  }
  return generator.get_state();
}

TEST(HutchinsonTrace, ABrokenSampleIsTheLastThatIsDrawn) {
  for (const bool block : {false, true}) {
    for (const int64_t broken : {1, 3, 4, 5, 9}) {
      const HutchinsonOptions options = drawing(9);
      const auto trace =
          hutchinson_trace(breaking(broken, false, block), options);
      EXPECT_EQ(trace.status, Status::kNotFinite);
      EXPECT_EQ(trace.iterations, broken);
      EXPECT_TRUE(options.generator().get_state().equal(state_after(broken)));
      const HutchinsonOptions same = drawing(9);
      const auto diagonals =
          hutchinson_diagonal(breaking(broken, false, block), same);
      EXPECT_EQ(diagonals.iterations, broken);
      EXPECT_TRUE(same.generator().get_state().equal(state_after(broken)));
    }
  }
}

TEST(HutchinsonTrace, AThrowLeavesTheFirstSampleOfABlockDrawn) {
  // Where what is shared throws, it does so for the first: 1, 5 and 9.
  for (const bool block : {false, true}) {
    for (const int64_t broken : {1, 5, 9}) {
      const HutchinsonOptions options = drawing(9);
      EXPECT_THROW(
          hutchinson_trace(breaking(broken, true, block), options),
          std::runtime_error);
      EXPECT_TRUE(options.generator().get_state().equal(state_after(broken)));
    }
  }
}

TEST(HutchinsonTrace, ABrokenBlockLeavesTheDefaultGeneratorAsOneByOne) {
  const auto next = [](bool block) {
    torch::manual_seed(3);
    hutchinson_trace(breaking(2, false, block));
    return torch::rand({1});
  };
  EXPECT_TRUE(next(true).equal(next(false)));
}

TEST(HutchinsonTrace, SquaresMayLeaveTheRangeOfADouble) {
  for (const double size : {1e-170, 1e170}) {
    const auto trace = hutchinson_trace(diagonal({size, size}), drawing(3));
    EXPECT_EQ(trace.status, Status::kConverged);
    EXPECT_DOUBLE_EQ(trace.value, 2 * size);
    const auto diagonals =
        hutchinson_diagonal(diagonal({size, size}), drawing(3));
    EXPECT_EQ(diagonals.status, Status::kConverged);
    EXPECT_DOUBLE_EQ(diagonals.value[0][1].item<double>(), size);
  }
}

TEST(HutchinsonTrace, SaysWhatIsWrong) {
  EXPECT_EQ(
      hutchinson_trace(diagonal({0, 0}), drawing(3)).status,
      Status::kZeroOperator);
  const auto broken = hutchinson_trace(diagonal({1, std::nan("")}), drawing(3));
  EXPECT_EQ(broken.status, Status::kNotFinite);
  EXPECT_TRUE(std::isnan(broken.value));
  EXPECT_TRUE(std::isnan(broken.standard_error));
  EXPECT_EQ(broken.iterations, 1);
  EXPECT_THROW(hutchinson_trace(diagonal({1}), drawing(1)), c10::Error);
  EXPECT_THROW(
      hutchinson_trace(diagonal({1}), drawing(2).tolerance(-1)), c10::Error);
}

TEST(HutchinsonDiagonal, IsExactForADiagonalMatrix) {
  const auto result = hutchinson_diagonal(diagonal({1, 2, -5}), drawing(4));
  EXPECT_TRUE(
      result.value[0].equal(torch::tensor({1.0, 2.0, -5.0}, torch::kDouble)));
  EXPECT_EQ(result.standard_error[0].max().item<double>(), 0);
  EXPECT_EQ(result.status, Status::kConverged);
}

TEST(HutchinsonDiagonal, ElementsHaveTheirVariance) {
  constexpr int64_t kSamples = 40000;
  const auto result =
      hutchinson_diagonal(matrix_operator(small_matrix()), drawing(kSamples));
  // Of row i: the sum of squares off the diagonal.
  const std::vector<double> variances = {1.25, 5, 4.25};
  const std::vector<double> values = {4, 3, -1};
  for (int64_t i = 0; i < 3; ++i) {
    const double error = result.standard_error[0][i].item<double>();
    const auto at = static_cast<std::size_t>(i);
    EXPECT_NEAR(error * error * kSamples / variances[at], 1, 0.02);
    EXPECT_NEAR(result.value[0][i].item<double>(), values[at], 4 * error);
  }
}

TEST(HutchinsonDiagonal, GaussianVectorsAreUnbiasedToo) {
  const auto result = hutchinson_diagonal(
      matrix_operator(small_matrix()),
      drawing(20000).distribution(ProbeDistribution::kGaussian));
  const at::Tensor distance =
      (result.value[0] - small_matrix().diagonal()).abs();
  EXPECT_TRUE((distance < 4 * result.standard_error[0]).all().item<bool>());
}

TEST(HutchinsonDiagonal, ABlockOfSamplesChangesNoBit) {
  const SmallNet net;
  int64_t calls = 0;
  const auto kept = hutchinson_diagonal(counted(net, calls, true), drawing(9));
  calls = 0;
  const auto freed =
      hutchinson_diagonal(counted(net, calls, false), drawing(9));
  EXPECT_EQ(calls, 1 + 3);
  EXPECT_TRUE(flat(freed.value).equal(flat(kept.value)));
  EXPECT_TRUE(flat(freed.standard_error).equal(flat(kept.standard_error)));
}

TEST(HutchinsonDiagonal, StopsAtItsTolerance) {
  const auto result = hutchinson_diagonal(
      matrix_operator(small_matrix()), drawing(100000).tolerance(0.05));
  EXPECT_EQ(result.status, Status::kConverged);
  // 10.5 / (.05^2 * 26) samples, |diagonal|^2 = 26.
  EXPECT_NEAR(static_cast<double>(result.iterations), 162, 30);
}

TEST(HutchinsonDiagonal, SaysWhatIsWrong) {
  const auto broken =
      hutchinson_diagonal(diagonal({1, std::nan("")}), drawing(3));
  EXPECT_EQ(broken.status, Status::kNotFinite);
  EXPECT_TRUE(broken.value[0].isnan().all().item<bool>());
  EXPECT_TRUE(broken.standard_error[0].isnan().all().item<bool>());
  EXPECT_EQ(
      hutchinson_diagonal(diagonal({0, 0}), drawing(3)).status,
      Status::kZeroOperator);
  EXPECT_THROW(hutchinson_diagonal(diagonal({1}), drawing(1)), c10::Error);
}

}  // namespace
}  // namespace stepsize::test
