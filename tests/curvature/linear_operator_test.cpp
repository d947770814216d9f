#include <gtest/gtest.h>
#include <stepsize/curvature/linear_operator.h>
#include <stepsize/curvature/power_iteration.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "tests/curvature/support/problems.h"
#include "tests/support/error_text.h"

namespace stepsize::test {
namespace {

at::Tensor tensor(const std::vector<double>& values) {
  return torch::tensor(values, torch::kDouble);
}

TEST(LinearOperator, MatrixTimesVector) {
  const LinearOperator op =
      matrix_operator(torch::tensor({{1.0, 2.0}, {3.0, 4.0}}, torch::kDouble));
  const TensorVector product = op.apply({tensor({5, 6})});
  ASSERT_EQ(product.size(), 1U);
  EXPECT_TRUE(product[0].equal(tensor({17, 39})));
}

TEST(LinearOperator, MatrixOverAListTakesItsElementsInOrder) {
  const TensorVector like = {
      torch::empty({1, 2}, torch::kDouble), torch::empty({}, torch::kFloat)};
  const at::Tensor matrix = torch::tensor(
      {{1.0, 0.0, 2.0}, {0.0, 3.0, 0.0}, {2.0, 0.0, 5.0}}, torch::kDouble);
  const LinearOperator op = matrix_operator(matrix, like);
  const TensorVector product =
      op.apply({tensor({1, 10}).view({1, 2}), torch::tensor(100.0F)});
  EXPECT_TRUE(product[0].equal(tensor({201, 30}).view({1, 2})));
  EXPECT_EQ(product[1].item<float>(), 502.0F);
  EXPECT_EQ(product[1].scalar_type(), torch::kFloat);
  EXPECT_TRUE(dense(op).equal(matrix));
}

TEST(LinearOperator, CopiesShareTheCounter) {
  const LinearOperator op = diagonal({1, 2});
  const LinearOperator copy = op;
  EXPECT_EQ(op.products(), 0);
  copy.apply({tensor({1, 1})});
  op.apply({tensor({1, 1})});
  EXPECT_EQ(op.products(), 2);
  EXPECT_EQ(copy.products(), 2);
  EXPECT_EQ(op.dimension(), 2);
}

TEST(LinearOperator, UndefinedTensorsStandForZeros) {
  const TensorVector like = {
      torch::zeros({2}, torch::kDouble), torch::zeros({1}, torch::kDouble)};
  const LinearOperator op = function_operator(like, [](const TensorVector& v) {
    EXPECT_TRUE(v[1].equal(torch::zeros({1}, torch::kDouble)));
    return TensorVector{at::Tensor(), v[1]};
  });
  const TensorVector product = op.apply({tensor({1, 2}), at::Tensor()});
  EXPECT_TRUE(product[0].equal(torch::zeros({2}, torch::kDouble)));
}

TEST(LinearOperator, ConvertsVectorsAndDropsGraphs) {
  const LinearOperator op = diagonal({2});
  const at::Tensor v = torch::ones({1}, torch::kFloat).requires_grad_();
  const at::Tensor product = op.apply({v})[0];
  EXPECT_EQ(product.scalar_type(), torch::kDouble);
  EXPECT_FALSE(product.requires_grad());
}

TEST(LinearOperator, RefusesVectorsOfOtherShapes) {
  const LinearOperator op = diagonal({1, 2});
  EXPECT_EQ(
      message_of([&] {
        op.apply({tensor({1}), tensor({1})});
      }),
      "LinearOperator: the vector has 2 tensors, expected 1 (one a parameter)");
  EXPECT_EQ(
      message_of([&] {
        op.apply({tensor({1, 2, 3})});
      }),
      "LinearOperator: tensor 0 of the vector has shape [3], expected [2]");
  EXPECT_EQ(op.products(), 0);
}

TEST(LinearOperator, RefusesProductsOfOtherShapes) {
  const LinearOperator op = function_operator(
      {tensor({1, 2})}, [](const TensorVector&) { return TensorVector(); });
  EXPECT_EQ(
      message_of([&] {
        op.apply({tensor({1, 2})});
      }),
      "LinearOperator: the product has 0 tensors, expected 1 (one a "
      "parameter)");
}

TEST(LinearOperator, RefusesSpacesThatAreNone) {
  const auto make = [](const TensorVector& like) {
    return message_of([&] {
      function_operator(like, [](const TensorVector& v) { return v; });
    });
  };
  EXPECT_EQ(make({}), "function_operator: there must be a tensor");
  EXPECT_EQ(
      make({at::Tensor()}), "function_operator: tensor 0 must be defined");
  EXPECT_EQ(
      make({torch::zeros({2}, torch::kLong)}),
      "function_operator: tensor 0 must be of floating point, got Long");
  EXPECT_EQ(
      make({torch::zeros({0})}),
      "function_operator: the tensors must have an element");
  EXPECT_EQ(
      message_of([] {
        matrix_operator(torch::zeros({2, 3}));
      }),
      "matrix_operator: the matrix must be 2 x 2, got [2, 3]");
  EXPECT_EQ(
      message_of([] { function_operator({torch::zeros({1})}, nullptr); }),
      "function_operator: the function is empty");
}

TEST(SumOperator, AddsWeightedTerms) {
  const LinearOperator op =
      sum_operator({{diagonal({1, 2}), 2.0}, {diagonal({10, 20}), -0.5}});
  EXPECT_TRUE(op.apply({tensor({1, 1})})[0].equal(tensor({-3, -6})));
}

TEST(SumOperator, LeavesTheVectorAloneWhereATermReturnsIt) {
  const TensorVector like = {torch::zeros({2}, torch::kDouble)};
  const LinearOperator identity =
      function_operator(like, [](const TensorVector& v) { return v; });
  const LinearOperator op = sum_operator({{identity, 2.0}, {identity, 3.0}});
  const at::Tensor v = tensor({1, 2});
  EXPECT_TRUE(op.apply({v})[0].equal(tensor({5, 10})));
  EXPECT_TRUE(v.equal(tensor({1, 2})));
}

TEST(LinearOperator, AProductNeverSharesMemoryWithItsVector) {
  const TensorVector like = {
      torch::zeros({2}, torch::kDouble), torch::zeros({2}, torch::kDouble)};
  const LinearOperator swap =
      function_operator(like, [](const TensorVector& v) {
        return TensorVector{v[1], v[0]};
      });
  const TensorVector v = {tensor({1, 2}), tensor({3, 4})};
  for (const at::Tensor& part : swap.apply(v)) part.fill_(9);
  EXPECT_TRUE(v[0].equal(tensor({1, 2})));
  EXPECT_TRUE(v[1].equal(tensor({3, 4})));
}

TEST(LinearOperator, ProductsMayBeNegatedViewsOrZerosWithoutMemory) {
  const TensorVector like = {torch::zeros({2}, torch::kDouble)};
  const LinearOperator minus =
      function_operator(like, [](const TensorVector& v) {
        return TensorVector{v[0].clone()._neg_view()};
      });
  const auto options = PowerIterationOptions().max_iterations(3);
  EXPECT_NEAR(power_iteration(minus, options).value, -1, 1e-14);
  const LinearOperator zero =
      function_operator(like, [](const TensorVector& v) {
        return TensorVector{
            at::_efficientzerotensor(v[0].sizes(), v[0].options())};
      });
  EXPECT_EQ(
      power_iteration(zero, options).status, CurvatureStatus::kZeroOperator);
}

// The matrix [[1, 2], [2, 5]]; a block function that counts its calls.
LinearOperator counting(int64_t& calls) {
  const at::Tensor matrix =
      torch::tensor({{1.0, 2.0}, {2.0, 5.0}}, torch::kDouble);
  const auto product = [matrix](const TensorVector& v) {
    return TensorVector{torch::mv(matrix, v[0])};
  };
  return function_operator(
      {torch::zeros({2}, torch::kDouble)},
      product,
      [&calls, product](const std::vector<TensorVector>& vectors) {
        ++calls;
        std::vector<TensorVector> products;
        for (const TensorVector& v : vectors) products.push_back(product(v));
        return products;
      });
}

TEST(LinearOperator, ABlockIsOneCallOfItsFunction) {
  int64_t calls = 0;
  const LinearOperator op = counting(calls);
  EXPECT_TRUE(op.shares_work());
  // An undefined tensor stands for zeros, and float32 is converted.
  const auto products = op.apply_block(
      {{tensor({1, 0})},
       {at::Tensor()},
       {torch::tensor({1.0F, 1.0F}, torch::kFloat)}});
  ASSERT_EQ(products.size(), 3U);
  EXPECT_TRUE(products[0][0].equal(tensor({1, 2})));
  EXPECT_TRUE(products[1][0].equal(tensor({0, 0})));
  EXPECT_TRUE(products[2][0].equal(tensor({3, 7})));
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(op.products(), 3);
  EXPECT_TRUE(op.apply_block({}).empty());
  EXPECT_EQ(calls, 1);
}

TEST(LinearOperator, ABlockIsALoopWhereNothingIsShared) {
  const LinearOperator op = diagonal({2, 3});
  EXPECT_FALSE(op.shares_work());
  const auto products = op.apply_block({{tensor({1, 1})}, {tensor({-1, 4})}});
  ASSERT_EQ(products.size(), 2U);
  EXPECT_TRUE(products[0][0].equal(tensor({2, 3})));
  EXPECT_TRUE(products[1][0].equal(tensor({-2, 12})));
  EXPECT_EQ(op.products(), 2);
}

TEST(LinearOperator, ABlockNeverSharesMemoryWithItsVectors) {
  const TensorVector like = {torch::zeros({1}, torch::kDouble)};
  const LinearOperator swap = function_operator(
      like,
      [](const TensorVector& v) { return v; },
      [](const std::vector<TensorVector>& vectors) {
        return std::vector<TensorVector>{vectors[1], vectors[0]};
      });
  const std::vector<TensorVector> vectors = {{tensor({1})}, {tensor({2})}};
  const auto products = swap.apply_block(vectors);
  EXPECT_EQ(products[0][0].item<double>(), 2);
  for (const TensorVector& product : products) product[0].fill_(9);
  EXPECT_EQ(vectors[0][0].item<double>(), 1);
  EXPECT_EQ(vectors[1][0].item<double>(), 2);
}

TEST(LinearOperator, ProductsOfABlockHaveMemoryOfTheirOwn) {
  const TensorVector like = {torch::zeros({2}, torch::kDouble)};
  const at::Tensor kept = tensor({1, 2});
  const LinearOperator constant = function_operator(
      like,
      [kept](const TensorVector&) { return TensorVector{kept}; },
      [kept](const std::vector<TensorVector>& vectors) {
        return std::vector<TensorVector>(vectors.size(), {kept});
      });
  // Views of one tensor, which nobody else holds.
  const LinearOperator identity = function_operator(
      like,
      [](const TensorVector& v) { return v; },
      [](const std::vector<TensorVector>& vectors) {
        const at::Tensor all = torch::stack({vectors[0][0], vectors[1][0]});
        return std::vector<TensorVector>{{all[0]}, {all[1]}};
      });
  const std::vector<TensorVector> vectors = {
      {tensor({1, 2})}, {tensor({3, 4})}};
  auto products = constant.apply_block(vectors);
  products[0][0].fill_(9);
  EXPECT_TRUE(products[1][0].equal(tensor({1, 2})));
  EXPECT_TRUE(kept.equal(tensor({1, 2})));
  products = identity.apply_block(vectors);
  EXPECT_NE(
      products[0][0].storage().unsafeGetStorageImpl(),
      products[1][0].storage().unsafeGetStorageImpl());
  EXPECT_TRUE(products[0][0].equal(tensor({1, 2})));
  EXPECT_TRUE(products[1][0].equal(tensor({3, 4})));
}

// Twice the vector, always in the same place.
LinearOperator rewriting() {
  const at::Tensor place = torch::zeros({2}, torch::kDouble);
  return function_operator({place}, [place](const TensorVector& v) {
    at::Tensor written = place;
    written.copy_(v[0] * 2);
    return TensorVector{written};
  });
}

TEST(LinearOperator, ABlockOutlivesAPlaceThatIsWrittenAgain) {
  int64_t calls = 0;
  const std::vector<TensorVector> vectors = {
      {tensor({1, 0})}, {tensor({0, 1})}};
  const auto products = rewriting().apply_block(vectors);
  EXPECT_TRUE(products[0][0].equal(tensor({2, 0})));
  EXPECT_TRUE(products[1][0].equal(tensor({0, 2})));
  const auto sums = sum_operator({{rewriting(), 1.0}, {counting(calls), 1.0}})
                        .apply_block(vectors);
  EXPECT_TRUE(sums[0][0].equal(tensor({3, 2})));
  EXPECT_TRUE(sums[1][0].equal(tensor({2, 7})));
}

TEST(LinearOperator, ABlockSharesWorkAsLongAsItSays) {
  int64_t calls = 0;
  bool shares = true;
  const LinearOperator op = function_operator(
      {torch::zeros({1}, torch::kDouble)},
      [](const TensorVector& v) { return TensorVector{v[0] * 3}; },
      [&calls](const std::vector<TensorVector>& vectors) {
        ++calls;
        return vectors;
      },
      [&shares] { return shares; });
  const LinearOperator sum = sum_operator({{op, 1.0}});
  EXPECT_TRUE(op.shares_work());
  EXPECT_TRUE(sum.shares_work());
  op.apply_block({{tensor({1})}});
  EXPECT_EQ(calls, 1);
  shares = false;
  EXPECT_FALSE(op.shares_work());
  EXPECT_FALSE(sum.shares_work());
  EXPECT_EQ(op.apply_block({{tensor({1})}})[0][0].item<double>(), 3);
  EXPECT_EQ(calls, 1);
}

TEST(LinearOperator, RefusesBlocksThatDoNotFit) {
  int64_t calls = 0;
  const LinearOperator op = counting(calls);
  EXPECT_EQ(
      message_of([&] {
        op.apply_block({{tensor({1, 2})}, {tensor({1, 2, 3})}});
      }),
      "LinearOperator: tensor 0 of the vector has shape [3], expected [2]");
  EXPECT_EQ(calls, 0);
  const LinearOperator forgetful = function_operator(
      {torch::zeros({1}, torch::kDouble)},
      [](const TensorVector& v) { return v; },
      [](const std::vector<TensorVector>& vectors) {
        return std::vector<TensorVector>{vectors[0]};
      });
  EXPECT_EQ(
      message_of([&] {
        forgetful.apply_block({{tensor({1})}, {tensor({2})}});
      }),
      "LinearOperator: the block function must return a product for each "
      "vector, got 1 for 2");
  EXPECT_EQ(forgetful.products(), 0);
}

TEST(SumOperator, PassesABlockOn) {
  int64_t calls = 0;
  const LinearOperator op =
      sum_operator({{diagonal({1, 1}), 10.0}, {counting(calls), -1.0}});
  EXPECT_TRUE(op.shares_work());
  const auto products = op.apply_block({{tensor({1, 0})}, {tensor({0, 1})}});
  EXPECT_TRUE(products[0][0].equal(tensor({9, -2})));
  EXPECT_TRUE(products[1][0].equal(tensor({-2, 5})));
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(sum_operator({{diagonal({1}), 1.0}}).shares_work());
}

TEST(MeanOperator, DividesByTheSumOfTheWeights) {
  const LinearOperator op =
      mean_operator({{diagonal({1}), 3.0}, {diagonal({5}), 1.0}});
  EXPECT_DOUBLE_EQ(op.apply({tensor({1})})[0].item<double>(), 2.0);
}

TEST(MeanOperator, RefusesBadTerms) {
  EXPECT_EQ(
      message_of([] { mean_operator({}); }),
      "mean_operator: there must be a term");
  EXPECT_EQ(
      message_of([] {
        mean_operator({{diagonal({1}), 0.0}});
      }),
      "mean_operator: weights must be finite and > 0, got 0");
  EXPECT_EQ(
      message_of([] {
        sum_operator(
            {{diagonal({1}), std::numeric_limits<double>::infinity()}});
      }),
      "sum_operator: weights must be finite, got inf");
  EXPECT_EQ(
      message_of([] {
        sum_operator({{diagonal({1}), 1.0}, {diagonal({1, 2}), 1.0}});
      }),
      "sum_operator: tensor 0 of a term's vector has shape [2], expected [1]");
}

TEST(InnerProduct, SumsInDoublePrecisionOverAllThatIsThere) {
  const auto a = torch::tensor({3.0F, 1e-4F});
  const auto b = torch::tensor({2.0, 5.0}, torch::kDouble);
  const at::Tensor none;
  EXPECT_NEAR(
      inner_product({a, b, none}, {a, 2 * b, b}),
      9 + std::pow(static_cast<double>(1e-4F), 2) + 58,
      1e-14);
  EXPECT_EQ(inner_product({none}, {a}), 0);
  EXPECT_EQ(inner_product({}, {}), 0);
  EXPECT_EQ(
      message_of([&] {
        inner_product({a}, {a, b});
      }),
      "inner_product: the vectors must have as many tensors, got 1 and 2");
}

}  // namespace
}  // namespace stepsize::test
