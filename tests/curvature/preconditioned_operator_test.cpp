#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/curvature/curvature_meter.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/lanczos.h>
#include <stepsize/curvature/preconditioned_operator.h>

#include <string>

#include "tests/curvature/support/problems.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

// Positive numbers that differ by a factor of some hundred.
TensorVector positive(const TensorVector& like, uint64_t seed) {
  TensorVector v = gaussian(like, seed);
  for (at::Tensor& part : v) part = part.exp();
  return v;
}

TEST(PreconditionedOperator, IsTheDenseProduct) {
  const TensorVector like = {
      torch::empty({2, 2}, torch::kDouble), torch::empty({2}, torch::kDouble)};
  const at::Tensor matrix = matrix_with({5, 3, 1, -1, -2, -7}, 1);
  const TensorVector p = {
      vector_of({4, 0.25, 1, 100}).view({2, 2}), vector_of({9, 16})};
  const auto op =
      preconditioned_operator(matrix_operator(matrix, like), p, {0.5, 2});
  const at::Tensor root = vector_of({0.5, 2, 1, 0.1, 1.0 / 3, 0.25});
  const at::Tensor shifted =
      matrix + torch::diag(vector_of({0.5, 0.5, 0.5, 0.5, 2, 2}));
  const at::Tensor expected = root.view({6, 1}) * shifted * root;
  EXPECT_LT(relative_error(dense(op), expected), 1e-14);
  // One product a product.
  EXPECT_EQ(op.products(), 6);
}

// lambda of P^-1 H, which is not symmetric, by a solver for such matrices.
TEST(PreconditionedOperator, HasTheEigenvaluesOfTheQuotient) {
  const SmallNet net;
  const auto hessian = hessian_operator(net.cross_entropy(), net.parameters);
  const TensorVector p = positive(net.parameters, 3);
  const at::Tensor quotient = dense(hessian) / flat(p).view({-1, 1});
  const at::Tensor values =
      std::get<0>(torch::sort(torch::real(torch::linalg_eigvals(quotient))));
  const auto op = preconditioned_operator(hessian, p);
  const auto found =
      lanczos(op, LanczosOptions().k(2).max_iterations(60).tolerance(1e-12));
  EXPECT_NEAR(found.values[0], values[-1].item<double>(), 1e-9);
  EXPECT_NEAR(found.values[1], values[-2].item<double>(), 1e-9);
  CurvatureMeter meter(CurvatureMeterOptions().start_products(500));
  EXPECT_NEAR(meter.measure(op), values.abs().max().item<double>(), 1e-9);
}

TEST(PreconditionedOperator, PassesABlockOn) {
  const Rosenbrock problem;
  int64_t calls = 0;
  const auto hessian = hessian_operator(
      [&] {
        ++calls;
        return problem.loss();
      },
      problem.parameters,
      HessianOptions().retain_graph(false));
  const auto op = preconditioned_operator(
      hessian, {vector_of({4}).squeeze(), vector_of({0.25})}, {2, 8});
  EXPECT_TRUE(op.shares_work());
  calls = 0;
  const auto columns = op.apply_block(
      {shaped(vector_of({1, 0}), op.like()),
       shaped(vector_of({0, 1}), op.like())});
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(hessian.products(), 2);
  // Roots 1/2 and 2 on both sides of [[802 + 2, -400], [-400, 200 + 8]].
  EXPECT_LT(relative_error(flat(columns[0]), vector_of({201, -400})), 1e-14);
  EXPECT_LT(relative_error(flat(columns[1]), vector_of({-400, 832})), 1e-14);
  EXPECT_FALSE(
      preconditioned_operator(diagonal({1}), {vector_of({4})}).shares_work());
}

TEST(PreconditionedOperator, LeavesOutWhatIsUndefined) {
  const TensorVector like = {
      torch::empty({2}, torch::kDouble), torch::empty({1}, torch::kDouble)};
  const at::Tensor matrix = matrix_with({5, 3, 1}, 2);
  const auto op = preconditioned_operator(
      matrix_operator(matrix, like), {vector_of({1, 1}), at::Tensor()}, {1, 7});
  at::Tensor expected = torch::zeros({3, 3}, torch::kDouble);
  expected.slice(0, 0, 2).slice(1, 0, 2) =
      matrix.slice(0, 0, 2).slice(1, 0, 2) + torch::eye(2, torch::kDouble);
  EXPECT_LT(relative_error(dense(op), expected), 1e-14);
}

// Roots of 1e-12 in half precision are beyond its range.
TEST(PreconditionedOperator, IsOfSinglePrecisionOverHalfOnes) {
  const auto half = function_operator(
      {torch::empty({2}, torch::kHalf)}, [](const TensorVector& v) {
        EXPECT_EQ(v[0].scalar_type(), torch::kHalf);
        return TensorVector{(v[0].to(torch::kFloat) / 4).to(torch::kHalf)};
      });
  const auto op = preconditioned_operator(half, {vector_of({1e-8, 1})});
  const auto product = op.apply({vector_of({1, 1})});
  EXPECT_EQ(product[0].scalar_type(), torch::kFloat);
  EXPECT_NEAR(product[0][0].item<float>(), 0.25e8, 1e5);
  EXPECT_EQ(product[0][1].item<float>(), 0.25F);
}

TEST(PreconditionedOperator, ADoubleMayBeTooSmallForAFloat) {
  const auto op = preconditioned_operator(
      function_operator(
          {torch::empty({1}, torch::kFloat)},
          [](const TensorVector& v) { return v; }),
      {vector_of({1e-50})});
  // 1e50 is none either, and the root of it is.
  const auto product = op.apply({vector_of({1e-25})});
  EXPECT_NEAR(product[0].item<float>(), 1e25, 1e19);
}

TEST(PreconditionedOperator, RefusesWhatIsNoPreconditioner) {
  const auto op = diagonal({1, 2});
  const auto refusal = [&](const TensorVector& p,
                           const std::vector<double>& shift = {}) {
    return message_of([&] { preconditioned_operator(op, p, shift); });
  };
  const std::string positive_text =
      "preconditioned_operator: the diagonal must be finite and > 0, got ";
  EXPECT_THAT(
      refusal({vector_of({1, 0})}), HasSubstr(positive_text + "0 in tensor 0"));
  EXPECT_THAT(refusal({vector_of({-2, 1})}), HasSubstr(positive_text + "-2"));
  EXPECT_THAT(
      refusal({vector_of({1, kNaN})}), HasSubstr(positive_text + "nan"));
  EXPECT_THAT(
      refusal({vector_of({1, kInfinity})}), HasSubstr(positive_text + "inf"));
  EXPECT_THAT(refusal({}), HasSubstr("must have 1 tensors, got 0"));
  EXPECT_THAT(
      refusal({vector_of({1, 1, 1})}),
      HasSubstr("of shape [2], got Double of [3]"));
  EXPECT_THAT(
      refusal({torch::ones({2}, torch::kLong)}), HasSubstr("floating point"));
  EXPECT_THAT(
      refusal({vector_of({1, 1})}, {1, 2}),
      HasSubstr("shift must be empty or have 1 numbers, got 2"));
  EXPECT_THAT(
      refusal({vector_of({1, 1})}, {kNaN}),
      HasSubstr("shift must be finite, got nan"));
  EXPECT_EQ(op.products(), 0);
}

TEST(PreconditionedOperator, IsMeasuredInPlaceOfTheHessian) {
  const SmallNet net;
  const TensorVector p = positive(net.parameters, 3);
  const FromHessian make = [&](const HessianOperator& hessian) {
    return preconditioned_operator(hessian, p);
  };
  const at::Tensor root = flat(p).rsqrt();
  const double expected =
      torch::linalg_eigvalsh(
          root.view({-1, 1}) *
              dense(hessian_operator(net.cross_entropy(), net.parameters)) *
              root,
          "L")
          .abs()
          .max()
          .item<double>();
  const auto options = CurvatureMeterOptions().start_products(500);
  CurvatureMeter of_loss(options);
  EXPECT_NEAR(
      of_loss.measure(net.cross_entropy(), net.parameters, make),
      expected,
      1e-9);
  const auto closure = [&] { return net.cross_entropy(); };
  CurvatureMeter of_closure(options);
  EXPECT_NEAR(
      of_closure.measure(closure, net.parameters, make), expected, 1e-9);
  CurvatureMeter by_difference(
      CurvatureMeterOptions(options).method(HessianMethod::kCentralDifference));
  EXPECT_NEAR(
      by_difference.measure(closure, net.parameters, make),
      expected,
      1e-6 * expected);
}

TEST(HessianOperator, TellsUnusedParametersFromZeroGradients) {
  const auto x = torch::zeros({2}, torch::kDouble).set_requires_grad(true);
  const auto y = torch::ones({1}, torch::kDouble).set_requires_grad(true);
  const TensorVector list = {x, y};
  const auto loss = [&] { return x.square().sum(); };
  for (const auto& op :
       {hessian_operator(loss(), list),
        hessian_operator(loss, list),
        hessian_operator(
            loss,
            list,
            HessianOptions().method(HessianMethod::kFiniteDifference)),
        hessian_operator(
            torch::autograd::grad({loss()}, list, {}, true, true, true),
            list)}) {
    const auto used = op.used_gradient();
    ASSERT_EQ(used.size(), 2U);
    EXPECT_TRUE(used[0].equal(torch::zeros({2}, torch::kDouble)));
    EXPECT_FALSE(used[1].defined());
    EXPECT_TRUE(op.gradient()[1].defined());
  }
}

}  // namespace
}  // namespace stepsize::test
