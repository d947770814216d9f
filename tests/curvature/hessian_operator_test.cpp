// The Hessian-vector product: its values, by each method.

#include <gtest/gtest.h>
#include <stepsize/curvature/hessian_operator.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/curvature/support/problems.h"

namespace stepsize::test {
namespace {

using Method = HessianMethod;

HessianOptions by(Method method) { return HessianOptions().method(method); }

TEST(HessianOperator, RosenbrockAtItsMinimum) {
  const Rosenbrock problem;
  const HessianOperator op =
      hessian_operator([&] { return problem.loss(); }, problem.parameters);
  const at::Tensor expected =
      torch::tensor({{802.0, -400.0}, {-400.0, 200.0}}, torch::kDouble);
  EXPECT_LT(relative_error(dense(op), expected), 1e-14);
  EXPECT_EQ(op.loss().item<double>(), 0.0);
  EXPECT_EQ(flat(op.gradient()).abs().max().item<double>(), 0.0);
  EXPECT_FALSE(op.loss().requires_grad());
}

TEST(HessianOperator, LogisticRegressionHasItsClosedForm) {
  // X' diag(p (1 - p)) X / n for labels of either sign.
  const at::Generator generator = seeded(3);
  const auto options = torch::dtype(torch::kDouble);
  const at::Tensor x = torch::empty({20, 6}, options).normal_(0, 1, generator);
  const at::Tensor y = torch::arange(20, options).remainder(2);
  const at::Tensor w =
      torch::empty({6}, options).normal_(0, 1, generator).requires_grad_();
  const auto loss = [&] {
    return torch::binary_cross_entropy_with_logits(x.mv(w), y);
  };
  const at::Tensor p = torch::sigmoid(x.mv(w)).detach();
  const at::Tensor expected = x.t().matmul(torch::diag(p * (1 - p))).matmul(x);
  for (const Method method : {Method::kExact, Method::kCentralDifference}) {
    const HessianOperator op = hessian_operator(loss, {w}, by(method));
    const double tolerance = method == Method::kExact ? 1e-13 : 1e-8;
    EXPECT_LT(relative_error(dense(op), expected / 20), tolerance);
    EXPECT_LT(relative_error(op.gradient()[0], x.t().mv(p - y) / 20), 1e-13);
  }
}

TEST(HessianOperator, IsSymmetricForASmallNetwork) {
  const SmallNet net;
  const at::Tensor h = dense(
      hessian_operator([&] { return net.cross_entropy(); }, net.parameters));
  EXPECT_LT(relative_error(h, h.t()), 1e-14);
  EXPECT_GT(h.abs().max().item<double>(), 0.1);
}

TEST(HessianOperator, DifferencesAgreeInFloat64) {
  const SmallNet net;
  const auto loss = [&] { return net.cross_entropy(); };
  const auto error = [&](Method method, double epsilon) {
    return relative_error(
        dense(hessian_operator(
            loss, net.parameters, by(method).epsilon(epsilon))),
        dense(hessian_operator(loss, net.parameters, by(Method::kExact))));
  };
  EXPECT_LT(error(Method::kFiniteDifference, 0), 1e-6);
  EXPECT_LT(error(Method::kCentralDifference, 0), 1e-8);
  // The truncation error is of first and second order in the step.
  EXPECT_NEAR(
      error(Method::kFiniteDifference, 1e-3) /
          error(Method::kFiniteDifference, 1e-4),
      10,
      0.3);
  EXPECT_NEAR(
      error(Method::kCentralDifference, 1e-2) /
          error(Method::kCentralDifference, 1e-3),
      100,
      3);
}

TEST(HessianOperator, DifferencesAgreeInFloat32) {
  const SmallNet wide;
  const SmallNet net(torch::kFloat);
  const at::Tensor expected = dense(
      hessian_operator([&] { return wide.cross_entropy(); }, wide.parameters));
  const auto error = [&](Method method) {
    return relative_error(
        dense(hessian_operator(
            [&] { return net.cross_entropy(); }, net.parameters, by(method))),
        expected);
  };
  EXPECT_LT(error(Method::kExact), 1e-6);
  EXPECT_LT(error(Method::kFiniteDifference), 1e-2);
  EXPECT_LT(error(Method::kCentralDifference), 1e-3);
}

TEST(HessianOperator, ScalesWithTheVectorWhateverItsLength) {
  const SmallNet net;
  for (const Method method :
       {Method::kExact,
        Method::kFiniteDifference,
        Method::kCentralDifference}) {
    const HessianOperator op = hessian_operator(
        [&] { return net.cross_entropy(); }, net.parameters, by(method));
    const TensorVector v = gaussian(op.like(), 1);
    const at::Tensor product = flat(op.apply(v));
    for (const double length : {1e-12, 1e12}) {
      const TensorVector longer = shaped(length * flat(v), op.like());
      EXPECT_LT(relative_error(flat(op.apply(longer)) / length, product), 1e-5);
    }
    const TensorVector zero = shaped(0 * flat(v), op.like());
    EXPECT_EQ(flat(op.apply(zero)).abs().max().item<double>(), 0.0);
  }
}

TEST(HessianOperator, ComputedLossAndGradientsGiveTheSame) {
  const SmallNet net;
  const at::Tensor expected = dense(
      hessian_operator([&] { return net.cross_entropy(); }, net.parameters));
  const at::Tensor loss = net.cross_entropy();
  const HessianOperator from_loss = hessian_operator(loss, net.parameters);
  EXPECT_TRUE(dense(from_loss).equal(expected));
  EXPECT_EQ(from_loss.method(), Method::kExact);
  EXPECT_EQ(from_loss.loss().item<double>(), loss.item<double>());
  const TensorVector gradients = torch::autograd::grad(
      {loss}, net.parameters, {}, /*retain_graph=*/true, true);
  EXPECT_TRUE(
      dense(hessian_operator(gradients, net.parameters)).equal(expected));
}

TEST(HessianOperator, MicroBatchesGiveTheWholeBatch) {
  const SmallNet net;
  const auto loss_of = [&](int64_t start, int64_t count) {
    return [&net, start, count] {
      return torch::cross_entropy_loss(
          net.outputs(net.inputs.narrow(0, start, count)),
          net.classes.narrow(0, start, count));
    };
  };
  for (const bool retain : {true, false}) {
    const auto part = [&](int64_t start, int64_t count) {
      return WeightedOperator{
          hessian_operator(
              loss_of(start, count),
              net.parameters,
              HessianOptions().retain_graph(retain)),
          static_cast<double>(count)};
    };
    const LinearOperator op =
        mean_operator({part(0, 5), part(5, 5), part(10, 2)});
    const at::Tensor whole =
        dense(hessian_operator(loss_of(0, 12), net.parameters));
    EXPECT_LT(relative_error(dense(op), whole), 1e-14);
    EXPECT_EQ(op.shares_work(), !retain);
    const TensorVector v = gaussian(op.like(), 1);
    const TensorVector w = gaussian(op.like(), 2);
    const auto products = op.apply_block({v, w});
    EXPECT_LT(
        relative_error(flat(products[0]), torch::mv(whole, flat(v))), 1e-13);
    EXPECT_LT(
        relative_error(flat(products[1]), torch::mv(whole, flat(w))), 1e-13);
  }
}

TEST(HessianOperator, KeepsAGraphOnlyWhereAsked) {
  const SmallNet net;
  int64_t calls = 0;
  const auto loss = [&] {
    ++calls;
    return net.cross_entropy();
  };
  const HessianOperator kept = hessian_operator(loss, net.parameters);
  const at::Tensor expected = dense(kept);
  EXPECT_EQ(calls, 1);
  const HessianOperator freed = hessian_operator(
      loss, net.parameters, by(Method::kExact).retain_graph(false));
  EXPECT_EQ(calls, 2);
  EXPECT_TRUE(dense(freed).equal(expected));
  EXPECT_EQ(calls, 2 + freed.dimension());
}

TEST(HessianOperator, ABlockSharesTheGraphThatIsNotKept) {
  const Rosenbrock problem;
  for (const Method method : {Method::kAutomatic, Method::kExact}) {
    int64_t calls = 0;
    const HessianOperator op = hessian_operator(
        [&] {
          ++calls;
          return problem.loss();
        },
        problem.parameters,
        by(method).retain_graph(false));
    EXPECT_TRUE(op.shares_work());
    EXPECT_EQ(calls, 1);
    const auto columns = op.apply_block(
        {shaped(torch::tensor({1.0, 0.0}, torch::kDouble), op.like()),
         shaped(torch::tensor({0.0, 1.0}, torch::kDouble), op.like())});
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(op.products(), 2);
    EXPECT_EQ(op.method(), Method::kExact);
    const at::Tensor expected =
        torch::tensor({{802.0, -400.0}, {-400.0, 200.0}}, torch::kDouble);
    EXPECT_LT(
        relative_error(
            torch::stack({flat(columns[0]), flat(columns[1])}), expected),
        1e-14);
  }
}

TEST(HessianOperator, ABlockIsBitForBitItsProducts) {
  const SmallNet net;
  const auto loss = [&] { return net.cross_entropy(); };
  const HessianOperator each = hessian_operator(loss, net.parameters);
  const HessianOperator block = hessian_operator(
      loss, net.parameters, HessianOptions().retain_graph(false));
  std::vector<TensorVector> vectors;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    vectors.push_back(gaussian(each.like(), seed));
  }
  const auto products = block.apply_block(vectors);
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    EXPECT_TRUE(flat(products[i]).equal(flat(each.apply(vectors[i]))));
  }
}

TEST(HessianOperator, OnlyAGraphThatIsNotKeptIsShared) {
  const SmallNet net;
  const auto loss = [&] { return net.cross_entropy(); };
  EXPECT_FALSE(hessian_operator(loss, net.parameters).shares_work());
  EXPECT_FALSE(hessian_operator(loss(), net.parameters).shares_work());
  EXPECT_FALSE(hessian_operator(
                   loss,
                   net.parameters,
                   by(Method::kFiniteDifference).retain_graph(false))
                   .shares_work());
}

TEST(HessianOperator, AKnownGradientSparesAnEvaluation) {
  const SmallNet net;
  int64_t calls = 0;
  const auto loss = [&] {
    ++calls;
    return net.cross_entropy();
  };
  const HessianOperator first =
      hessian_operator(loss, net.parameters, by(Method::kFiniteDifference));
  EXPECT_EQ(calls, 1);
  const HessianOperator second = hessian_operator(
      loss,
      net.parameters,
      by(Method::kFiniteDifference).gradient(first.gradient()));
  EXPECT_EQ(calls, 1);
  const TensorVector v = gaussian(first.like(), 1);
  EXPECT_TRUE(flat(first.apply(v)).equal(flat(second.apply(v))));
  EXPECT_EQ(calls, 3);
}

TEST(HessianOperator, UnusedParametersHaveZeros) {
  const at::Tensor used = torch::full({1}, 2.0, torch::kDouble);
  const at::Tensor unused = torch::zeros({2}, torch::kDouble);
  const TensorVector parameters = {
      unused.requires_grad_(), used.requires_grad_()};
  for (const Method method :
       {Method::kExact,
        Method::kFiniteDifference,
        Method::kCentralDifference}) {
    const HessianOperator op = hessian_operator(
        [&] { return used.pow(3).sum(); }, parameters, by(method));
    const at::Tensor expected =
        torch::diag(torch::tensor({0.0, 0.0, 12.0}, torch::kDouble));
    EXPECT_LT(relative_error(dense(op), expected), 1e-6);
  }
}

TEST(HessianOperator, SharedGradientsAreNotCountedTwice) {
  // Both gradients are one tensor, and that of a sum has no memory per element.
  const at::Tensor a = torch::ones({3}, torch::kDouble).requires_grad_();
  const at::Tensor b = torch::ones({3}, torch::kDouble).requires_grad_();
  const HessianOperator op = hessian_operator(
      [&] { return (a + b).sum() + (a + b).pow(2).sum(); },
      {a, b},
      by(Method::kCentralDifference));
  const at::Tensor block = 2 * torch::eye(3, torch::kDouble);
  const at::Tensor row = torch::cat({block, block}, 1);
  EXPECT_LT(relative_error(dense(op), torch::cat({row, row})), 1e-9);
  const HessianOperator flat_one = hessian_operator(
      [&] { return (a + b).sum(); }, {a, b}, by(Method::kFiniteDifference));
  EXPECT_EQ(dense(flat_one).abs().max().item<double>(), 0.0);
}

TEST(HessianOperator, WorksInsideNoGradMode) {
  const Rosenbrock problem;
  const torch::NoGradGuard guard;
  const HessianOperator op =
      hessian_operator([&] { return problem.loss(); }, problem.parameters);
  EXPECT_NEAR(dense(op)[0][0].item<double>(), 802, 1e-9);
  EXPECT_EQ(op.method(), Method::kExact);
}

TEST(HessianOperator, ParametersMayDifferInType) {
  const at::Tensor a = torch::ones({1}, torch::kFloat).requires_grad_();
  const at::Tensor b = torch::ones({1}, torch::kDouble).requires_grad_();
  for (const Method method : {Method::kExact, Method::kCentralDifference}) {
    const HessianOperator op = hessian_operator(
        [&] { return (a.to(torch::kDouble) * b).pow(2).sum(); },
        {a, b},
        by(method));
    const at::Tensor expected =
        torch::tensor({{2.0, 4.0}, {4.0, 2.0}}, torch::kDouble);
    EXPECT_LT(relative_error(dense(op), expected), 1e-3);
  }
}

}  // namespace
}  // namespace stepsize::test
