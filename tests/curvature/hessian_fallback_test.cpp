// What hessian_operator refuses, and how kAutomatic chooses.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/preconditioned_operator.h>

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <tuple>

#include "tests/curvature/support/problems.h"
#include "tests/support/error_text.h"

namespace stepsize::test {
namespace {

using Method = HessianMethod;

// The cube, whose backward leaves the graph: autograd takes it as constant.
struct CutCube : torch::autograd::Function<CutCube> {
  static at::Tensor forward(
      torch::autograd::AutogradContext* context, const at::Tensor& x) {
    context->save_for_backward({x});
    return x.pow(3);
  }
  static torch::autograd::variable_list backward(
      torch::autograd::AutogradContext* context,
      const torch::autograd::variable_list& slopes) {
    const at::Tensor x = context->get_saved_variables()[0].detach();
    return {slopes[0].detach() * 3 * x.pow(2)};
  }
};

// The cube, whose backward refuses to be differentiated.
struct OnceCube : torch::autograd::Function<OnceCube> {
  static at::Tensor forward(
      torch::autograd::AutogradContext* context, const at::Tensor& x) {
    context->save_for_backward({x});
    return x.pow(3);
  }
  static torch::autograd::variable_list backward(
      torch::autograd::AutogradContext* context,
      const torch::autograd::variable_list& slopes) {
    if (torch::GradMode::is_enabled()) {
      throw std::logic_error("OnceCube: no double backward");
    }
    return {slopes[0] * 3 * context->get_saved_variables()[0].pow(2)};
  }
};

// 3 x^2, whose slope refuses vectors above 1.
struct ShySquare : torch::autograd::Function<ShySquare> {
  static at::Tensor forward(
      torch::autograd::AutogradContext* context, const at::Tensor& x) {
    context->save_for_backward({x});
    return 3 * x.pow(2);
  }
  static torch::autograd::variable_list backward(
      torch::autograd::AutogradContext* context,
      const torch::autograd::variable_list& slopes) {
    if (slopes[0].abs().max().item<double>() > 1) {
      throw std::logic_error("ShySquare: above 1");
    }
    return {slopes[0] * 6 * context->get_saved_variables()[0]};
  }
};

// The cube with that for its slope.
struct ShyCube : torch::autograd::Function<ShyCube> {
  static at::Tensor forward(
      torch::autograd::AutogradContext* context, const at::Tensor& x) {
    context->save_for_backward({x});
    return x.pow(3);
  }
  static torch::autograd::variable_list backward(
      torch::autograd::AutogradContext* context,
      const torch::autograd::variable_list& slopes) {
    return {slopes[0] * ShySquare::apply(context->get_saved_variables()[0])};
  }
};

at::Tensor two() {
  return torch::full({1}, 2.0, torch::kDouble).requires_grad_();
}

double second_derivative(const HessianOperator& op) {
  return op.apply({torch::ones({1}, torch::kDouble)})[0].item<double>();
}

TEST(HessianAutomatic, IsExactWhereItCan) {
  const at::Tensor w = two();
  const HessianOperator op =
      hessian_operator([&] { return w.pow(3).sum(); }, {w});
  EXPECT_EQ(op.method(), Method::kAutomatic);
  EXPECT_DOUBLE_EQ(second_derivative(op), 12);
  EXPECT_EQ(op.method(), Method::kExact);
  EXPECT_EQ(op.fallback_reason(), "");
}

TEST(HessianAutomatic, FallsBackForAnEmbeddingBag) {
  // The mean of rows 0 and 1, squared: the Hessian of each column is
  // 2 (1/4) [[1, 1], [1, 1]].
  const at::Tensor table = torch::ones({3, 1}, torch::kDouble).requires_grad_();
  const at::Tensor indices = torch::tensor({0, 1}, torch::kLong);
  const at::Tensor offsets = torch::tensor({0}, torch::kLong);
  const auto loss = [&] {
    return std::get<0>(
               torch::embedding_bag(table, indices, offsets, false, /*mode=*/1))
        .pow(2)
        .sum();
  };
  const HessianOperator op = hessian_operator(loss, {table});
  const at::Tensor expected = torch::tensor(
      {{0.5, 0.5, 0.0}, {0.5, 0.5, 0.0}, {0.0, 0.0, 0.0}}, torch::kDouble);
  EXPECT_LT(relative_error(dense(op), expected), 1e-6);
  EXPECT_EQ(op.method(), Method::kFiniteDifference);
  EXPECT_NE(op.fallback_reason(), "");
  EXPECT_THROW(
      dense(hessian_operator(
          loss, {table}, HessianOptions().method(Method::kExact))),
      std::exception);
}

TEST(HessianAutomatic, ABlockFallsBackAsAWhole) {
  // The square of the mean of both rows: (1/2) [[1, 1], [1, 1]].
  const at::Tensor table = torch::ones({2, 1}, torch::kDouble).requires_grad_();
  const at::Tensor indices = torch::tensor({0, 1}, torch::kLong);
  const at::Tensor offsets = torch::tensor({0}, torch::kLong);
  const HessianOperator op = hessian_operator(
      [&] {
        return std::get<0>(torch::embedding_bag(
                               table, indices, offsets, false, /*mode=*/1))
            .pow(2)
            .sum();
      },
      {table},
      HessianOptions().retain_graph(false));
  EXPECT_TRUE(op.shares_work());
  const auto products = op.apply_block(
      {{torch::tensor({{1.0}, {0.0}}, torch::kDouble)},
       {torch::tensor({{2.0}, {4.0}}, torch::kDouble)}});
  EXPECT_EQ(op.method(), Method::kFiniteDifference);
  for (const int64_t row : {0, 1}) {
    EXPECT_NEAR(products[0][0][row].item<double>(), 0.5, 1e-6);
    EXPECT_NEAR(products[1][0][row].item<double>(), 3.0, 1e-5);
  }
}

TEST(HessianAutomatic, ADifferenceSharesNothing) {
  const at::Tensor w = two();
  int64_t calls = 0;
  const HessianOperator op = hessian_operator(
      [&] {
        ++calls;
        return ShyCube::apply(w).sum();
      },
      {w},
      HessianOptions().retain_graph(false));
  const LinearOperator sum = sum_operator({{op, 2.0}});
  const LinearOperator scaled =
      preconditioned_operator(op, {torch::full({1}, 4.0, torch::kDouble)});
  const auto all_share = [&](bool yes) {
    EXPECT_EQ(op.shares_work(), yes);
    EXPECT_EQ(sum.shares_work(), yes);
    EXPECT_EQ(scaled.shares_work(), yes);
  };
  all_share(true);
  const at::Tensor v = torch::full({1}, 2.0, torch::kDouble);
  EXPECT_NEAR(op.apply({v})[0].item<double>(), 24, 1e-5);
  EXPECT_EQ(op.method(), Method::kFiniteDifference);
  all_share(false);
  calls = 0;
  const auto products = op.apply_block({{v}, {-v}});
  EXPECT_EQ(calls, 2);
  EXPECT_NEAR(products[0][0].item<double>(), 24, 1e-5);
  EXPECT_NEAR(products[1][0].item<double>(), -24, 1e-5);
}

TEST(HessianAutomatic, TheFirstVectorOfABlockDecides) {
  const at::Tensor w = two();
  const auto make = [&] {
    return hessian_operator(
        [&] { return ShyCube::apply(w).sum(); },
        {w},
        HessianOptions().retain_graph(false));
  };
  const TensorVector one = {torch::ones({1}, torch::kDouble)};
  const TensorVector other = {torch::full({1}, 2.0, torch::kDouble)};
  // As one after the other: exact for the first, and the second throws.
  const HessianOperator exact = make();
  EXPECT_THROW(exact.apply_block({one, other}), std::exception);
  EXPECT_EQ(exact.method(), Method::kExact);
  EXPECT_EQ(exact.fallback_reason(), "");
  EXPECT_DOUBLE_EQ(exact.apply(one)[0].item<double>(), 12);
  const HessianOperator difference = make();
  const auto products = difference.apply_block({other, one});
  EXPECT_EQ(difference.method(), Method::kFiniteDifference);
  EXPECT_NEAR(products[0][0].item<double>(), 24, 1e-5);
  EXPECT_NEAR(products[1][0].item<double>(), 12, 1e-5);
}

TEST(HessianAutomatic, FallsBackWhereTheGradientHasNoGraph) {
  const at::Tensor w = two();
  const auto loss = [&] { return CutCube::apply(w).sum(); };
  const HessianOperator op = hessian_operator(loss, {w});
  EXPECT_NEAR(second_derivative(op), 12, 1e-6);
  EXPECT_EQ(op.method(), Method::kFiniteDifference);
  EXPECT_EQ(op.fallback_reason(), "the gradient has no graph");
}

TEST(HessianAutomatic, FallsBackWhereTheFirstBackwardThrows) {
  const at::Tensor w = two();
  const auto loss = [&] { return OnceCube::apply(w).sum(); };
  const HessianOperator op = hessian_operator(loss, {w});
  EXPECT_NEAR(second_derivative(op), 12, 1e-6);
  EXPECT_EQ(op.method(), Method::kFiniteDifference);
  EXPECT_THROW(
      hessian_operator(loss, {w}, HessianOptions().method(Method::kExact)),
      std::exception);
}

TEST(HessianAutomatic, ALinearLossHasNoCurvature) {
  const at::Tensor w = two();
  const auto loss = [&] { return (3 * w).sum(); };
  EXPECT_EQ(second_derivative(hessian_operator(loss, {w})), 0.0);
  EXPECT_EQ(
      second_derivative(
          hessian_operator(loss, {w}, HessianOptions().method(Method::kExact))),
      0.0);
  EXPECT_EQ(second_derivative(hessian_operator(loss(), {w})), 0.0);
}

TEST(HessianAutomatic, LetsTheClosuresErrorsPass) {
  const at::Tensor w = two();
  EXPECT_THROW(
      hessian_operator(
          []() -> at::Tensor { throw std::out_of_range("no more data"); }, {w}),
      std::out_of_range);
}

TEST(HessianOperator, RefusesBadParameters) {
  const at::Tensor w = two();
  const auto make = [&](const TensorVector& parameters) {
    return message_of(
        [&] { hessian_operator([&] { return w.pow(2).sum(); }, parameters); });
  };
  EXPECT_EQ(make({}), "hessian_operator: there must be a tensor");
  EXPECT_EQ(
      make({w, torch::ones({1})}),
      "hessian_operator: parameter 1 is frozen (requires_grad is false): "
      "leave it out");
  EXPECT_EQ(
      make({w, w}),
      "hessian_operator: parameter 1 is there twice: pass a shared tensor "
      "(tied "
      "weights) once");
  EXPECT_EQ(
      make({w * 2}),
      "hessian_operator: parameter 0 must be a leaf, not the result of an "
      "operation");
}

TEST(HessianOperator, RefusesBadLosses) {
  const at::Tensor w = two();
  const auto make = [&](const at::Tensor& loss) {
    return message_of([&] { hessian_operator([&] { return loss; }, {w}); });
  };
  EXPECT_EQ(make({}), "hessian_operator: the loss is undefined");
  EXPECT_EQ(
      make(torch::ones({2}) * w),
      "hessian_operator: the loss must be a scalar, got shape [2]");
  EXPECT_EQ(
      make(w.sum().detach()),
      "hessian_operator: the loss has no graph (it was detached, or computed "
      "without gradients)");
  EXPECT_EQ(
      message_of([&] { hessian_operator(w.detach().sum(), {w}); }),
      "hessian_operator: the loss has no graph (it was detached, or computed "
      "without gradients)");
  EXPECT_EQ(
      message_of([&] { hessian_operator(GraphClosure(), {w}); }),
      "hessian_operator: the closure is empty");
}

TEST(HessianOperator, RefusesBadOptions) {
  const at::Tensor w = two();
  const auto make = [&](const HessianOptions& options) {
    return message_of([&] {
      hessian_operator([&] { return w.pow(2).sum(); }, {w}, options);
    });
  };
  EXPECT_EQ(
      make(HessianOptions().epsilon(-1)),
      "hessian_operator: epsilon must be finite and >= 0, got -1");
  EXPECT_EQ(
      make(HessianOptions().epsilon(std::numeric_limits<double>::infinity())),
      "hessian_operator: epsilon must be finite and >= 0, got inf");
  EXPECT_EQ(
      make(HessianOptions()
               .method(Method::kFiniteDifference)
               .gradient({torch::ones({2})})),
      "hessian_operator: tensor 0 of the gradient has shape [2], expected "
      "[1]");
}

TEST(HessianOperator, RefusesParametersThatHaveChanged) {
  const at::Tensor w = two();
  const auto loss = [&] { return w.pow(3).sum(); };
  for (const Method method : {Method::kExact, Method::kFiniteDifference}) {
    const HessianOperator op =
        hessian_operator(loss, {w}, HessianOptions().method(method));
    second_derivative(op);
    {
      const torch::NoGradGuard guard;
      w.add_(1);
    }
    EXPECT_EQ(
        message_of([&] { second_derivative(op); }),
        "hessian_operator: parameter 0 has changed since the operator was "
        "made: make a new one");
  }
}

TEST(HessianFallback, SaysThatTheClosureMustNotCallBackward) {
  const auto w = torch::ones({2}, torch::kDouble).requires_grad_(true);
  for (const bool keep : {false, true}) {
    for (const Method method :
         {Method::kAutomatic, Method::kExact, Method::kFiniteDifference}) {
      const std::string message = message_of([&] {
        hessian_operator(
            [&] {
              const auto loss = w.pow(3).sum();
              loss.backward({}, keep);
              return loss;
            },
            {w},
            HessianOptions().method(method));
      });
      EXPECT_EQ(
          message,
          "hessian_operator: the closure must not call backward(): it returns "
          "the loss with its graph, and the gradient is computed from that");
    }
  }
  const auto loss = w.pow(3).sum();
  loss.backward();
  EXPECT_EQ(
      message_of([&] { hessian_operator(loss, {w}); }),
      "hessian_operator: backward() has freed the graph of the loss, or a part "
      "of it: call this before it, and detach what is of an earlier "
      "evaluation");
  // A new gradient is noticed wherever it lies, that of the old one included.
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(
        message_of([&] {
          hessian_operator(
              [&] {
                w.mutable_grad().reset();
                const auto again = w.pow(3).sum();
                again.backward({}, /*keep_graph=*/true);
                return again;
              },
              {w});
        }),
        testing::HasSubstr("the closure must not call backward()"));
  }
  // A graph of before in the closure's own.
  const auto hidden = (w * w).sum();
  EXPECT_THAT(
      message_of([&] {
        hessian_operator(
            [&] { return hidden * w.sum(); },
            {w},
            HessianOptions().method(Method::kFiniteDifference))
            .apply({torch::ones({2}, torch::kDouble)});
      }),
      testing::HasSubstr("must be detached"));
  // To clear gradients is no backward().
  hessian_operator(
      [&] {
        w.mutable_grad().zero_();
        return w.pow(3).sum();
      },
      {w});
}

}  // namespace
}  // namespace stepsize::test
