// Tables whose gradients are sparse, as Embedding and EmbeddingBag have them.

#include <gtest/gtest.h>
#include <stepsize/curvature/curvature_meter.h>
#include <stepsize/curvature/gauss_newton_operator.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/hutchinson.h>

#include <tuple>
#include <vector>

#include "tests/curvature/support/problems.h"

namespace stepsize::test {
namespace {

using Method = HessianMethod;

constexpr Method kMethods[] = {
    Method::kAutomatic,
    Method::kExact,
    Method::kFiniteDifference,
    Method::kCentralDifference};

// Four rows of two, of which row 1 is looked up once and row 2 twice.
struct Table {
  at::Tensor rows() const {
    return torch::embedding(
        table, chosen, /*padding_idx=*/-1, false, /*sparse=*/true);
  }
  at::Tensor squares() const { return rows().square().sum(); }
  at::Tensor cubes() const { return rows().pow(3).sum(); }
  // Of the sum of the three.
  at::Tensor square_of_sum() const {
    return std::get<0>(torch::embedding_bag(
                           table,
                           chosen,
                           torch::tensor({0}),
                           false,
                           /*mode=*/0,
                           /*sparse=*/true))
        .square()
        .sum();
  }

  at::Tensor table =
      torch::arange(1, 9, torch::kDouble).view({4, 2}).requires_grad_();
  at::Tensor chosen = torch::tensor({1, 2, 2});
};

HessianOptions with_method(Method method) {
  return HessianOptions().method(method);
}

at::Tensor times_ones(const LinearOperator& op) {
  const at::Tensor product =
      op.apply({torch::ones({4, 2}, torch::kDouble)}).front();
  EXPECT_EQ(product.layout(), at::kStrided);
  return product;
}

at::Tensor twice_a_row(const std::vector<double>& entries) {
  return torch::tensor(entries, torch::kDouble).view({4, 1}).expand({4, 2});
}

TEST(SparseGradient, OfSquaresHasTheCurvatureOfTheRowsThatAreUsed) {
  const Table problem;
  // 2 a look-up.
  const at::Tensor expected = twice_a_row({0, 2, 4, 0});
  const auto loss = [&] { return problem.squares(); };
  for (const Method method : kMethods) {
    const auto op =
        hessian_operator(loss, {problem.table}, with_method(method));
    EXPECT_LT(relative_error(times_ones(op), expected), 1e-6);
    EXPECT_EQ(op.gradient()[0].layout(), at::kStrided);
    EXPECT_FALSE(problem.table.grad().defined());
  }
  EXPECT_TRUE(
      times_ones(hessian_operator(loss(), {problem.table})).allclose(expected));
}

TEST(SparseGradient, HasItsOwnCurvatureAtEachPlace) {
  const Table problem;
  // 6 w a look-up: w is 3 and 4 in row 1, 5 and 6 in row 2.
  const at::Tensor expected = torch::tensor(
      {{0.0, 0.0}, {18.0, 24.0}, {60.0, 72.0}, {0.0, 0.0}}, torch::kDouble);
  for (const Method method : kMethods) {
    const auto op = hessian_operator(
        [&] { return problem.cubes(); }, {problem.table}, with_method(method));
    EXPECT_LT(relative_error(times_ones(op), expected), 1e-6);
    EXPECT_LT(relative_error(dense(op).diag().view({4, 2}), expected), 1e-6);
  }
  const auto op =
      hessian_operator([&] { return problem.cubes(); }, {problem.table});
  times_ones(op);
  EXPECT_EQ(op.method(), Method::kExact) << op.fallback_reason();
}

TEST(SparseGradient, MayBeGivenWithItsGraph) {
  const Table problem;
  const auto gradients = torch::autograd::grad(
      {problem.squares()}, {problem.table}, {}, true, true);
  ASSERT_TRUE(gradients[0].is_sparse());
  const torch::NoGradGuard as_in_an_optimizer;
  const auto op = hessian_operator(gradients, {problem.table});
  EXPECT_TRUE(times_ones(op).allclose(twice_a_row({0, 2, 4, 0})));
  // And without it, where a difference wants it at the point only.
  const auto difference = hessian_operator(
      [&] { return problem.squares(); },
      {problem.table},
      with_method(Method::kFiniteDifference).gradient({gradients[0].detach()}));
  EXPECT_LT(
      relative_error(times_ones(difference), twice_a_row({0, 2, 4, 0})), 1e-6);
}

TEST(SparseGradient, OfABagHasACurvatureToo) {
  const Table problem;
  // The sum is row 1 + 2 row 2: a column's Hessian is 2 [[1, 2], [2, 4]]. It
  // depends on LibTorch's version whether there is a double backward.
  const auto op = hessian_operator(
      [&] { return problem.square_of_sum(); }, {problem.table});
  EXPECT_LT(relative_error(times_ones(op), twice_a_row({0, 6, 12, 0})), 1e-6);
}

TEST(SparseGradient, BesideADenseOneIsOneVector) {
  const Table problem;
  const at::Tensor scale = torch::ones({2}, torch::kDouble).requires_grad_();
  // (scale * row)^2: over scale the curvature is twice the rows' squares,
  // 2 (9 + 2 * 25) and 2 (16 + 2 * 36).
  const auto op = hessian_operator(
      [&] { return (problem.rows() * scale).square().sum(); },
      {problem.table, scale});
  const TensorVector product =
      op.apply({torch::zeros({4, 2}, torch::kDouble), torch::ones_like(scale)});
  EXPECT_TRUE(
      product[1].allclose(torch::tensor({118.0, 176.0}, torch::kDouble)));
  // And across, 4 w a look-up.
  EXPECT_TRUE(product[0].allclose(torch::tensor(
      {{0.0, 0.0}, {12.0, 16.0}, {40.0, 48.0}, {0.0, 0.0}}, torch::kDouble)));
}

TEST(SparseGradient, IsThereForGaussNewton) {
  const Table problem;
  const auto op = gauss_newton_operator(
      [&] { return problem.rows(); },
      [](const at::Tensor& rows) { return rows.square().sum(); },
      {problem.table});
  EXPECT_TRUE(times_ones(op).allclose(twice_a_row({0, 2, 4, 0})));
}

TEST(SparseGradient, IsThereForWhatGoesByProducts) {
  const Table problem;
  const auto loss = [&] { return problem.squares(); };
  // The diagonal is 2, 2, 4, 4 and zeros.
  const auto trace = hutchinson_trace(
      hessian_operator(loss, {problem.table}),
      HutchinsonOptions().samples(2).generator(seeded(1)));
  EXPECT_NEAR(trace.value, 12, 1e-9);
  const auto diagonal = hutchinson_diagonal(
      hessian_operator(loss, {problem.table}),
      HutchinsonOptions().samples(2).generator(seeded(1)));
  EXPECT_TRUE(diagonal.value[0].allclose(twice_a_row({0, 2, 4, 0})));
  for (const Method method : kMethods) {
    CurvatureMeter meter(CurvatureMeterOptions().method(method));
    EXPECT_NEAR(meter.measure(loss, {problem.table}), 4, 1e-4);
  }
}

TEST(SparseGradient, OfAProductOfYoursIsMadeDense) {
  const auto op = function_operator(
      {torch::zeros({4, 2}, torch::kDouble)},
      [](const TensorVector& v) { return TensorVector{v[0].to_sparse() * 3}; });
  EXPECT_TRUE(times_ones(op).equal(twice_a_row({3, 3, 3, 3})));
}

}  // namespace
}  // namespace stepsize::test
