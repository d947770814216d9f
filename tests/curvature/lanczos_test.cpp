#include <gtest/gtest.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/lanczos.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "tests/curvature/support/problems.h"

namespace stepsize::test {
namespace {

using Status = CurvatureStatus;
using Target = LanczosTarget;

LanczosOptions top(int64_t k) {
  return LanczosOptions().k(k).generator(seeded(1));
}

// 0, 1, ..., n - 1, each as often as told.
std::vector<double> ladder(int n, int times = 1) {
  std::vector<double> values;
  for (int i = 0; i < n * times; ++i) values.push_back(i % n);
  return values;
}

TEST(Lanczos, ElevenDistinctEigenvaluesTakeElevenSteps) {
  const LinearOperator op = matrix_operator(matrix_with(ladder(11, 9), 1));
  const auto result = lanczos(op, top(11).tolerance(1e-11));
  EXPECT_EQ(result.status, Status::kConverged);
  EXPECT_EQ(result.iterations, 11);
  EXPECT_EQ(op.products(), 11);
  ASSERT_EQ(result.values.size(), 11U);
  for (std::size_t i = 0; i < 11; ++i) {
    EXPECT_NEAR(result.values[i], 10.0 - static_cast<double>(i), 1e-12);
  }
}

TEST(Lanczos, SeesTheSmallBesideTheHuge) {
  // Once the huge eigenvalue is found, all that is left is some 1e-5 of it in
  // float32, and 1e-12 in float64.
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    const double huge = type == torch::kFloat ? 1e6 : 1e13;
    const double rounding = type == torch::kFloat ? 1.2e-7 : 2.3e-16;
    const at::Tensor spectrum =
        torch::cat({torch::full({1}, huge, type), torch::arange(1, 21, type)});
    for (uint64_t seed = 1; seed < 4; ++seed) {
      const auto result = lanczos(
          matrix_operator(torch::diag(spectrum)),
          top(3).tolerance(0).generator(seeded(seed)));
      ASSERT_EQ(result.values.size(), 3U);
      EXPECT_NEAR(result.values[0], huge, 10 * rounding * huge);
      EXPECT_NEAR(result.values[1], 20, 4 * rounding * huge);
      EXPECT_NEAR(result.values[2], 19, 4 * rounding * huge);
    }
  }
}

TEST(Lanczos, WhatItLeavesOutStaysInTheResidual) {
  // The start is an eigenvector but for 1e-16, which is cut off as rounding;
  // the second value lies in a space of its own then.
  const double slope = 1e-16;
  const auto result = lanczos(
      diagonal({3, 7, 5}),
      top(2)
          .target(Target::kSmallest)
          .initial({torch::tensor({1.0, slope, 0.0}, torch::kDouble)}));
  EXPECT_NEAR(result.values[0], 3, 1e-14);
  EXPECT_NEAR(result.values[1], 5, 1e-14);
  // |Ax - 3 x| of that start.
  EXPECT_NEAR(result.residuals[0], 4 * slope, 1e-17);
}

TEST(Lanczos, FindsBothEndsOfASpectrum) {
  std::vector<double> eigenvalues = ladder(200);
  eigenvalues[0] = -300;
  const LinearOperator op = matrix_operator(matrix_with(eigenvalues, 2));
  const auto values = [&](Target target) {
    const auto result =
        lanczos(op, top(2).target(target).tolerance(1e-8).max_iterations(150));
    EXPECT_EQ(result.status, Status::kConverged);
    EXPECT_LT(result.iterations, 120);
    return result.values;
  };
  EXPECT_NEAR(values(Target::kLargest)[0], 199, 1e-9);
  EXPECT_NEAR(values(Target::kLargest)[1], 198, 1e-9);
  EXPECT_NEAR(values(Target::kSmallest)[0], -300, 1e-9);
  EXPECT_NEAR(values(Target::kSmallest)[1], 1, 1e-9);
  EXPECT_NEAR(values(Target::kLargestMagnitude)[0], -300, 1e-9);
  EXPECT_NEAR(values(Target::kLargestMagnitude)[1], 199, 1e-9);
}

TEST(Lanczos, VectorsAreOrthonormalAndKeepTheirResiduals) {
  const at::Tensor matrix = matrix_with(ladder(300), 3);
  const auto result = lanczos(
      matrix_operator(matrix), top(5).tolerance(1e-6).max_iterations(200));
  ASSERT_EQ(result.vectors.size(), 5U);
  std::vector<at::Tensor> columns;
  for (std::size_t i = 0; i < 5; ++i) {
    const at::Tensor x = flat(result.vectors[i]);
    columns.push_back(x);
    const double residual =
        (matrix.mv(x) - result.values[i] * x).norm().item<double>();
    EXPECT_NEAR(residual, result.residuals[i], 1e-10);
    EXPECT_LE(result.residuals[i], 300 * 1e-6);
    EXPECT_NEAR(result.values[i], 299.0 - static_cast<double>(i), 1e-6);
  }
  const at::Tensor x = torch::stack(columns, 1);
  EXPECT_LT(
      (x.t().matmul(x) - torch::eye(5, torch::kDouble))
          .abs()
          .max()
          .item<double>(),
      1e-12);
}

TEST(Lanczos, LongRunsHaveNoGhosts) {
  // Without reorthogonalisation an isolated eigenvalue comes again and again.
  std::vector<double> eigenvalues = ladder(400);
  for (double& value : eigenvalues) value /= 400;
  eigenvalues[0] = 100;
  eigenvalues[1] = 50;
  const auto result = lanczos(
      matrix_operator(matrix_with(eigenvalues, 4)),
      top(3).tolerance(0).max_iterations(250));
  EXPECT_NEAR(result.values[0], 100, 1e-10);
  EXPECT_NEAR(result.values[1], 50, 1e-10);
  EXPECT_NEAR(result.values[2], 399.0 / 400, 1e-6);
  EXPECT_EQ(result.iterations, 250);
  EXPECT_EQ(result.status, Status::kMaxIterations);
}

TEST(Lanczos, GoesOnPastAClosedSpaceForKValues) {
  const auto identity = lanczos(diagonal({1, 1, 1, 1}), top(3));
  EXPECT_EQ(identity.status, Status::kInvariantSubspace);
  ASSERT_EQ(identity.values.size(), 3U);
  for (const double value : identity.values) EXPECT_NEAR(value, 1, 1e-14);
  // No more than the dimension, whatever is asked for.
  const auto all = lanczos(diagonal({3, 1}), top(7));
  ASSERT_EQ(all.values.size(), 2U);
  EXPECT_NEAR(all.values[0], 3, 1e-14);
  EXPECT_NEAR(all.values[1], 1, 1e-14);
}

TEST(Lanczos, AnEigenvectorClosesTheSpaceAtOnce) {
  const auto result = lanczos(
      diagonal({3, 7}),
      top(1).initial({torch::tensor({2.0, 0.0}, torch::kDouble)}));
  EXPECT_EQ(result.status, Status::kInvariantSubspace);
  EXPECT_EQ(result.iterations, 1);
  EXPECT_EQ(result.values[0], 3);
  EXPECT_EQ(result.residuals[0], 0);
}

TEST(Lanczos, SaysThatTheOperatorIsZero) {
  const auto result = lanczos(diagonal({0, 0, 0}), top(2));
  EXPECT_EQ(result.status, Status::kZeroOperator);
  EXPECT_EQ(result.values, std::vector<double>({0, 0}));
}

TEST(Lanczos, SaysThatAProductIsNotFinite) {
  int64_t calls = 0;
  const LinearOperator op = function_operator(
      {torch::ones({9}, torch::kDouble)}, [&](const TensorVector& v) {
        TensorVector product = {v[0] * torch::arange(1, 10)};
        if (++calls == 4) product[0][8] = std::nan("");
        return product;
      });
  const auto result = lanczos(op, top(2).tolerance(0));
  EXPECT_EQ(result.status, Status::kNotFinite);
  EXPECT_EQ(result.iterations, 4);
  ASSERT_EQ(result.values.size(), 2U);
  EXPECT_TRUE(std::isnan(result.values[0]));
  EXPECT_TRUE(result.vectors.empty());
}

TEST(Lanczos, AListOfTypesIsOneVector) {
  const TensorVector like = {
      torch::empty({5, 4}, torch::kDouble),
      torch::empty({7}, torch::kFloat),
      torch::empty({3}, torch::kBFloat16),
      torch::empty({10}, torch::kDouble)};
  std::vector<double> eigenvalues = ladder(40);
  eigenvalues[39] = 80;
  const at::Tensor matrix =
      torch::diag(torch::tensor(eigenvalues, torch::kDouble));
  const auto result =
      lanczos(matrix_operator(matrix, like), top(1).tolerance(1e-4));
  EXPECT_NEAR(result.values[0], 80, 1e-2);
  ASSERT_EQ(result.vectors[0].size(), 4U);
  EXPECT_EQ(result.vectors[0][2].scalar_type(), torch::kBFloat16);
  EXPECT_NEAR(std::abs(result.vectors[0][3][9].item<double>()), 1, 1e-3);
}

TEST(Lanczos, TakesFewStepsInFloat32) {
  const at::Tensor matrix = matrix_with(ladder(11, 9), 1).to(torch::kFloat);
  const auto result = lanczos(matrix_operator(matrix), top(3).tolerance(1e-4));
  EXPECT_LE(result.iterations, 12);
  EXPECT_NEAR(result.values[0], 10, 1e-4);
  EXPECT_NEAR(result.values[2], 8, 1e-4);
}

TEST(Lanczos, RosenbrockAndASmallNetwork) {
  const Rosenbrock problem;
  const auto result = lanczos(
      hessian_operator([&] { return problem.loss(); }, problem.parameters),
      top(2));
  EXPECT_NEAR(result.values[0], 1001.6006, 1e-4);
  EXPECT_NEAR(result.values[1], 0.39936, 1e-6);

  const SmallNet net;
  const HessianOperator op =
      hessian_operator([&] { return net.cross_entropy(); }, net.parameters);
  const at::Tensor expected = torch::linalg_eigvalsh(dense(op)).flip(0);
  const auto ends = lanczos(op, top(4).tolerance(1e-9));
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(
        ends.values[i],
        expected[static_cast<int64_t>(i)].item<double>(),
        1e-10);
  }
}

TEST(Lanczos, RefusesBadOptions) {
  const LinearOperator op = diagonal({1, 2});
  EXPECT_THROW(lanczos(op, top(0)), c10::Error);
  EXPECT_THROW(lanczos(op, top(2).max_iterations(1)), c10::Error);
  EXPECT_THROW(lanczos(op, top(2).tolerance(-1)), c10::Error);
  EXPECT_EQ(op.products(), 0);
}

}  // namespace
}  // namespace stepsize::test
