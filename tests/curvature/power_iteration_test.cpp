#include <gtest/gtest.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/curvature/power_iteration.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "tests/curvature/support/problems.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using Status = CurvatureStatus;

PowerIterationOptions precise() {
  return PowerIterationOptions()
      .max_iterations(10000)
      .tolerance(1e-10)
      .generator(seeded(1));
}

TEST(PowerIteration, FindsTheLargestMagnitudeWithItsSign) {
  const auto result = power_iteration(diagonal({-2, 1, 0.5}), precise());
  EXPECT_EQ(result.status, Status::kConverged);
  EXPECT_NEAR(result.value, -2, 1e-12);
  EXPECT_NEAR(result.magnitude, 2, 1e-12);
  EXPECT_LE(result.residual, 2e-10);
  EXPECT_NEAR(std::abs(result.vector[0][0].item<double>()), 1, 1e-12);
}

TEST(PowerIteration, ErrorShrinksBySquareOfTheRatio) {
  // lambda_2 / lambda_1 = .9: the error of the value by .81, the residual by .9
  // an iteration.
  const LinearOperator op = diagonal({1, 0.9});
  const auto after = [&](int64_t iterations) {
    return power_iteration(
        op,
        PowerIterationOptions()
            .initial({torch::ones({2}, torch::kDouble)})
            .max_iterations(iterations)
            .tolerance(0));
  };
  const auto first = after(60);
  const auto second = after(61);
  EXPECT_EQ(first.status, Status::kMaxIterations);
  EXPECT_NEAR((1 - second.value) / (1 - first.value), 0.81, 1e-3);
  EXPECT_NEAR(second.residual / first.residual, 0.9, 1e-3);
}

TEST(PowerIteration, TheResidualBoundsTheDistanceOfAnEigenvalue) {
  const std::vector<double> eigenvalues = {5, 4, 3, -4.5, 1, 0.1};
  const LinearOperator op = matrix_operator(matrix_with(eigenvalues, 2));
  for (int64_t iterations = 1; iterations < 30; ++iterations) {
    const auto result = power_iteration(
        op,
        PowerIterationOptions()
            .max_iterations(iterations)
            .tolerance(0)
            .generator(seeded(3)));
    double distance = 100;
    for (const double eigenvalue : eigenvalues) {
      distance = std::min(distance, std::abs(result.value - eigenvalue));
    }
    EXPECT_LE(distance, result.residual * (1 + 1e-12));
    EXPECT_LE(result.magnitude, 5 * (1 + 1e-12));
  }
}

TEST(PowerIteration, StopsAtItsTolerance) {
  const LinearOperator op = diagonal({1, 0.9});
  const auto run = [&](double tolerance) {
    return power_iteration(
        op,
        PowerIterationOptions()
            .initial({torch::ones({2}, torch::kDouble)})
            .max_iterations(1000)
            .tolerance(tolerance));
  };
  const auto loose = run(1e-2);
  // The residual after n products is .1 t / (1 + t^2), t = .9^(n - 1), over a
  // magnitude near 1: .01 is crossed between the 22nd and the 23rd product.
  EXPECT_EQ(loose.status, Status::kConverged);
  EXPECT_EQ(loose.iterations, 23);
  EXPECT_EQ(op.products(), loose.iterations);
  EXPECT_GT(run(1e-4).iterations, loose.iterations);
}

TEST(PowerIteration, GoesOnFromAWarmStart) {
  const LinearOperator op = diagonal({1, 0.9, 0.5});
  TensorVector v = {torch::ones({3}, torch::kDouble)};
  PowerIterationResult result;
  for (int i = 0; i < 40; ++i) {
    result = power_iteration(
        op, PowerIterationOptions().initial(v).max_iterations(1).tolerance(0));
    v = result.vector;
    EXPECT_EQ(result.iterations, 1);
  }
  const auto at_once = power_iteration(
      op,
      PowerIterationOptions()
          .initial({torch::ones({3}, torch::kDouble)})
          .max_iterations(40)
          .tolerance(0));
  EXPECT_NEAR(result.value, at_once.value, 1e-14);
  EXPECT_NEAR(flat(v).norm().item<double>(), 1, 1e-15);
}

TEST(PowerIteration, AnEigenvectorIsOneIteration) {
  const auto result = power_iteration(
      diagonal({3, 7}),
      precise().initial({torch::tensor({5.0, 0.0}, torch::kDouble)}));
  EXPECT_EQ(result.iterations, 1);
  EXPECT_EQ(result.value, 3);
  EXPECT_EQ(result.residual, 0);
}

TEST(PowerIteration, SmallEigenvaluesAreNotBiased) {
  const auto result = power_iteration(diagonal({1e-9, 1e-10}), precise());
  EXPECT_NEAR(result.value / 1e-9, 1, 1e-12);
}

TEST(PowerIteration, SquaresMayLeaveTheRangeOfADouble) {
  for (const double size : {1e-310, 1e-170, 1e170, 1e300}) {
    const auto result = power_iteration(diagonal({2 * size, size}), precise());
    EXPECT_EQ(result.status, Status::kConverged);
    EXPECT_NEAR(result.value / size, 2, 1e-9);
    EXPECT_NEAR(result.magnitude / size, 2, 1e-9);
    const auto start = power_iteration(
        diagonal({3, 3}),
        precise().initial({torch::full({2}, size, torch::kDouble)}));
    EXPECT_NEAR(start.value, 3, 1e-9);
  }
}

TEST(PowerIteration, SaysThatTheOperatorIsZero) {
  const auto result = power_iteration(diagonal({0, 0}), precise());
  EXPECT_EQ(result.status, Status::kZeroOperator);
  EXPECT_EQ(result.value, 0);
  EXPECT_EQ(result.residual, 0);
  EXPECT_EQ(result.iterations, 1);
}

TEST(PowerIteration, SaysThatAProductIsNotFinite) {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(),
        std::numeric_limits<double>::infinity()}) {
    int64_t calls = 0;
    const LinearOperator op = function_operator(
        {torch::ones({2}, torch::kDouble)}, [&](const TensorVector& v) {
          TensorVector product = {v[0] * torch::arange(1, 3)};
          if (++calls == 3) product[0][0] = bad;
          return product;
        });
    const auto result = power_iteration(op, precise());
    EXPECT_EQ(result.status, Status::kNotFinite);
    EXPECT_EQ(result.iterations, 3);
    EXPECT_TRUE(std::isnan(result.value));
    EXPECT_TRUE(std::isnan(result.magnitude));
    EXPECT_TRUE(std::isfinite(flat(result.vector).sum().item<double>()));
  }
}

TEST(PowerIteration, OppositePairsHaveTheirMagnitude) {
  const auto result =
      power_iteration(diagonal({2, -2, 1}), precise().max_iterations(100));
  EXPECT_EQ(result.status, Status::kMaxIterations);
  EXPECT_NEAR(result.magnitude, 2, 1e-12);
  EXPECT_GT(result.residual, 0.1);
}

TEST(PowerIteration, DrawsFromItsGeneratorOnly) {
  const LinearOperator op = diagonal({1, 0.9, 0.8});
  const at::Tensor before =
      at::globalContext().defaultGenerator(at::kCPU).get_state();
  const auto run = [&](uint64_t seed) {
    return power_iteration(
               op,
               PowerIterationOptions().max_iterations(3).generator(
                   seeded(seed)))
        .value;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
  EXPECT_TRUE(
      before.equal(at::globalContext().defaultGenerator(at::kCPU).get_state()));
}

TEST(PowerIteration, RefusesBadOptions) {
  const LinearOperator op = diagonal({1, 2});
  const auto zero = torch::zeros({2}, torch::kDouble);
  EXPECT_THROW(
      power_iteration(op, PowerIterationOptions().max_iterations(0)),
      c10::Error);
  EXPECT_THROW(
      power_iteration(op, PowerIterationOptions().tolerance(-1)), c10::Error);
  EXPECT_THROW(
      power_iteration(op, PowerIterationOptions().initial({zero})), c10::Error);
  EXPECT_THROW(
      power_iteration(op, PowerIterationOptions().initial({zero.log()})),
      c10::Error);
  EXPECT_EQ(op.products(), 0);
}

TEST(PowerIteration, RosenbrockByEveryMethod) {
  const Rosenbrock problem;
  for (const HessianMethod method :
       {HessianMethod::kExact, HessianMethod::kCentralDifference}) {
    const HessianOperator op = hessian_operator(
        [&] { return problem.loss(); },
        problem.parameters,
        HessianOptions().method(method));
    const auto result = power_iteration(op, precise().tolerance(1e-6));
    EXPECT_EQ(result.status, Status::kConverged);
    EXPECT_NEAR(result.value, 1001.6006, 1e-4);
  }
}

TEST(LargestEigenvalue, LooksPastALargerNegativeOne) {
  const LinearOperator op = diagonal({-2, 1, 0.5});
  const auto result = largest_eigenvalue(op, precise());
  EXPECT_EQ(result.status, Status::kConverged);
  EXPECT_NEAR(result.value, 1, 1e-9);
  EXPECT_NEAR(std::abs(result.vector[0][1].item<double>()), 1, 1e-6);
  EXPECT_EQ(op.products(), result.iterations);
}

TEST(LargestEigenvalue, ToleranceIsRelativeToIt) {
  // Beside the shift of 1000 the eigenvalues 1 and 0 are nearly one: any
  // mixture has a small residual there.
  std::vector<double> entries(102, 0.0);
  entries[0] = -1000;
  entries[1] = 1;
  const auto run = [&](int64_t iterations) {
    return largest_eigenvalue(
        diagonal(entries),
        PowerIterationOptions()
            .max_iterations(iterations)
            .generator(seeded(1)));
  };
  EXPECT_EQ(run(100).status, Status::kMaxIterations);
  const auto result = run(20000);
  EXPECT_EQ(result.status, Status::kConverged);
  EXPECT_NEAR(result.value, 1, 1e-3);
  EXPECT_LE(result.residual, 1.01e-2);
}

TEST(LargestEigenvalue, OfZeroIsFoundAsWellAsRoundingLets) {
  const auto result = largest_eigenvalue(
      matrix_operator(matrix_with({-1000, -500, 0}, 3)),
      // Of three dimensions a start may have too little of the right one.
      PowerIterationOptions().max_iterations(1000).generator(seeded(1)));
  EXPECT_EQ(result.status, Status::kConverged);
  EXPECT_NEAR(result.value, 0, 1e-9);
}

TEST(LargestEigenvalue, TakesOneRunWhereItIsPositive) {
  const auto result = largest_eigenvalue(diagonal({2, -1}), precise());
  const auto power = power_iteration(diagonal({2, -1}), precise());
  EXPECT_EQ(result.iterations, power.iterations);
  EXPECT_NEAR(result.value, 2, 1e-12);
}

TEST(LargestEigenvalue, OfOppositePairsAndOfNegativeOperators) {
  EXPECT_NEAR(largest_eigenvalue(diagonal({2, -2}), precise()).value, 2, 1e-9);
  const auto negative = largest_eigenvalue(diagonal({-1, -3}), precise());
  EXPECT_NEAR(negative.value, -1, 1e-9);
  EXPECT_NEAR(negative.magnitude, 1, 1e-9);
  const auto multiple = largest_eigenvalue(diagonal({-3, -3}), precise());
  EXPECT_EQ(multiple.status, Status::kConverged);
  EXPECT_NEAR(multiple.value, -3, 1e-12);
  EXPECT_NEAR(multiple.magnitude, 3, 1e-12);
  const auto zero = largest_eigenvalue(diagonal({0, 0}), precise());
  EXPECT_EQ(zero.status, Status::kZeroOperator);
  EXPECT_EQ(zero.value, 0);
}

// The largest eigenvalue of these is 1.5, -1 and 0.
TEST(LargestEigenvalue, HasTheMagnitudeOfTheProductWithItsVector) {
  for (const auto& entries : std::vector<std::vector<double>>{
           {-4, 1.5, -0.5}, {-1, -3, -2}, {0, -2, -1}}) {
    const LinearOperator op = diagonal(entries);
    // Stopped early, so that the residual counts.
    for (const int64_t iterations : {1, 2, 5, 40}) {
      const auto result = largest_eigenvalue(
          op,
          precise()
              .tolerance(0)
              .max_iterations(iterations)
              .generator(seeded(1)));
      EXPECT_GE(result.magnitude, std::abs(result.value));
      // |Av|^2 = (v'Av)^2 + |Av - (v'Av) v|^2 for v of length 1.
      EXPECT_NEAR(
          result.magnitude * result.magnitude,
          result.value * result.value + result.residual * result.residual,
          1e-12);
      EXPECT_LE(
          result.magnitude,
          std::max(std::abs(entries[0]), std::abs(entries[1])) + 1e-12);
    }
    const auto result = largest_eigenvalue(op, precise());
    const double largest = *std::max_element(entries.begin(), entries.end());
    EXPECT_NEAR(result.value, largest, 1e-6);
    EXPECT_NEAR(result.magnitude, std::abs(largest), 1e-6);
    EXPECT_GT(max_stable_lr(result.magnitude), 0);
  }
}

TEST(LargestEigenvalue, IsNoneWhereAProductIsNotFinite) {
  // Two eigenvalues, so that the first run uses up its three products whatever
  // the rounding: of a multiple of the identity every vector is an eigenvector.
  const at::Tensor diagonal = torch::tensor({-1., -2.}, torch::kDouble);
  int64_t products = 0;
  const auto op = function_operator(
      {torch::zeros({2}, torch::kDouble)}, [&](const TensorVector& v) {
        // In the second run, which a negative value in the first one asks for.
        return TensorVector{v[0] * diagonal * (++products > 3 ? kNaN : 1)};
      });
  const auto result = largest_eigenvalue(
      op,
      PowerIterationOptions().max_iterations(3).tolerance(0).initial(
          {torch::ones({2}, torch::kDouble)}));
  EXPECT_EQ(products, 4);
  EXPECT_EQ(result.status, Status::kNotFinite);
  EXPECT_TRUE(std::isnan(result.value));
  EXPECT_TRUE(std::isnan(result.magnitude));
}

}  // namespace
}  // namespace stepsize::test
