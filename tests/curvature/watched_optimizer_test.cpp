#include <gtest/gtest.h>
#include <stepsize/curvature/coming_operator.h>
#include <stepsize/curvature/curvature_monitor.h>
#include <stepsize/curvature/hessian_operator.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdint>
#include <tuple>
#include <vector>

#include "tests/curvature/support/problems.h"
#include "tests/curvature/support/two_parts.h"
#include "tests/support/error_text.h"

namespace stepsize::test {
namespace {

using MonitorOptions = CurvatureMonitorOptions;

// One update, with the gradient of the loss.
void make_an_update(torch::optim::Optimizer& optimizer, const TwoParts& on) {
  optimizer.zero_grad();
  on.loss().backward();
  optimizer.step();
}

// The rate of SGD meets H + decay; with dampening its limit is as much wider as
// less of the gradient enters the buffer.
TEST(CurvatureMonitor, AddsTheCoupledDecayOfAnOptimizer) {
  const TwoParts problem(diagonal_matrix({4, 1, 0.5}));
  torch::optim::SGD sgd(
      problem.groups(), torch::optim::SGDOptions(0.1).momentum(0.5));
  static_cast<torch::optim::SGDOptions&>(sgd.param_groups()[0].options())
      .weight_decay(2);
  CurvatureMonitor monitor(sgd, MonitorOptions().every(1));
  const auto first = *monitor.step(0.1, problem.closure());
  EXPECT_NEAR(first.sharpness, 4, 1e-6);
  EXPECT_NEAR(first.effective_sharpness, 6, 1e-6);
  EXPECT_NEAR(*first.lr_sharpness, 0.6, 1e-7);
  EXPECT_NEAR(*first.limit, 3, 1e-12);
  // Decay alike for all: still one measurement, of H.
  static_cast<torch::optim::SGDOptions&>(sgd.param_groups()[1].options())
      .weight_decay(2);
  const int64_t products = monitor.meter().products();
  const auto alike = *monitor.step(0.1, problem.closure());
  EXPECT_NEAR(alike.sharpness, 4, 1e-6);
  EXPECT_NEAR(alike.effective_sharpness, 6, 1e-6);
  EXPECT_GT(monitor.meter().products(), products);
  // As the optimizer is by then.
  for (auto& group : sgd.param_groups()) {
    static_cast<torch::optim::SGDOptions&>(group.options())
        .weight_decay(0)
        .dampening(0.25);
  }
  const auto second = *monitor.step(0.1, problem.closure());
  EXPECT_EQ(second.effective_sharpness, second.sharpness);
  EXPECT_NEAR(*second.limit, 4, 1e-12);
  // The options are not looked at, but for the kind of the limit.
  CurvatureMonitor deaf(sgd, MonitorOptions().momentum(0.9));
  EXPECT_NEAR(*deaf.step(0.1, problem.closure())->limit, 4, 1e-12);
  CurvatureMonitor careful(
      sgd, MonitorOptions().momentum_limit(MomentumLimit::kEffectiveRate));
  EXPECT_NEAR(*careful.step(0.1, problem.closure())->limit, 1 / 0.75, 1e-12);
  EXPECT_EQ(
      message_of(
          [&] { CurvatureMonitor(sgd, MonitorOptions().has_limit(false)); }),
      "CurvatureMonitor: the optimizer says itself whether there is a limit "
      "and "
      "what divides its gradient: has_limit and preconditioner must be left "
      "alone");
}

// H + d has another leading eigenvector than H where that of H has a negative
// eigenvalue.
TEST(CurvatureMonitor, AddsDecayToANegativeCurvature) {
  const TwoParts problem(diagonal_matrix({-10, 9, 1}));
  torch::optim::SGD sgd(
      {problem.x, problem.y}, torch::optim::SGDOptions(0.1).weight_decay(5));
  CurvatureMonitor monitor(
      sgd, MonitorOptions().meter(CurvatureMeterOptions().start_products(200)));
  const auto& row = *monitor.step(0.1, problem.closure());
  EXPECT_NEAR(row.sharpness, 10, 1e-6);
  EXPECT_NEAR(row.effective_sharpness, 14, 1e-6);
}

// The group of the smaller limit decides, whichever has the larger rate.
TEST(CurvatureMonitor, GoesByTheMomentumOfEachGroup) {
  const TwoParts problem(diagonal_matrix({1, 1, 10}));
  torch::optim::SGD sgd(problem.groups(), torch::optim::SGDOptions(0.1));
  static_cast<torch::optim::SGDOptions&>(sgd.param_groups()[0].options())
      .momentum(0.9);
  CurvatureMonitor monitor(sgd);
  // y's own: 10 times its rate against 2.
  for (const double lr : {0.19, 0.21}) {
    const auto row = monitor.measure({lr}, problem.closure());
    EXPECT_NEAR(*row.limit, 3.8, 1e-12);
    EXPECT_NEAR(*row.lr_sharpness / *row.limit, 10 * lr / 2, 1e-6);
    const auto unlike = monitor.measure({2 * lr, lr}, problem.closure());
    EXPECT_NEAR(*unlike.limit, 3.8, 1e-12);
    EXPECT_NEAR(*unlike.lr_sharpness / *unlike.limit, 10 * lr / 2, 1e-6);
    // And where the other is the larger one.
    const auto other = monitor.measure({lr, 3 * lr}, problem.closure());
    EXPECT_NEAR(*other.limit, 2, 1e-12);
    EXPECT_NEAR(*other.lr_sharpness / *other.limit, 30 * lr / 2, 1e-5);
  }
}

// What was the sharp direction long ago is no start.
TEST(CurvatureMonitor, StartsAnewWhereRatesDifferAgain) {
  TwoParts problem(diagonal_matrix({9, 7, 1}));
  CurvatureMonitor monitor(
      problem.groups(),
      MonitorOptions().meter(CurvatureMeterOptions().start_products(2)));
  for (int i = 0; i < 8; ++i) monitor.measure({2, 1}, problem.closure());
  problem.a = diagonal_matrix({7, 9, 1});
  for (int i = 0; i < 40; ++i) monitor.measure({1, 1}, problem.closure());
  const auto& row = monitor.measure({2, 1}, problem.closure());
  EXPECT_NEAR(row.effective_sharpness, 9, 1e-3);
}

TEST(CurvatureMonitor, WatchesAGroupThatJoins) {
  const TwoParts problem(diagonal_matrix({1, 1, 100}));
  torch::optim::SGD sgd({problem.x}, torch::optim::SGDOptions(0.1));
  CurvatureMonitor monitor(sgd, MonitorOptions().every(1));
  EXPECT_NEAR(monitor.step(0.1, problem.closure())->sharpness, 1, 1e-9);
  sgd.add_param_group(
      torch::optim::OptimizerParamGroup(std::vector<at::Tensor>{problem.y}));
  EXPECT_NEAR(
      *monitor.step({0.1, 0.1}, problem.closure())->lr_sharpness, 10, 1e-6);
}

// P of the coming update by hand, along the path that LibTorch's Adam takes.
TEST(CurvatureMonitor, GoesByThePreconditionerOfAdam) {
  const at::Tensor a = matrix_with({9, 4, 1, 0.3}, 6);
  const TwoParts problem(a);
  constexpr double kBeta1 = 0.9;
  constexpr double kBeta2 = 0.99;
  torch::optim::Adam adam(
      {problem.x, problem.y},
      torch::optim::AdamOptions(0.01)
          .betas(std::make_tuple(kBeta1, kBeta2))
          .eps(1e-3)
          .weight_decay(0.5));
  CurvatureMonitor monitor(
      adam,
      MonitorOptions().meter(CurvatureMeterOptions().start_products(300)));
  at::Tensor v = torch::zeros({4}, torch::kDouble);
  for (int t = 1; t <= 5; ++t) {
    const at::Tensor w = torch::cat({problem.x, problem.y}).detach();
    const at::Tensor gradient = a.mv(w) + 0.5 * w;
    v = kBeta2 * v + (1 - kBeta2) * gradient.square();
    const at::Tensor p = (1 - std::pow(kBeta1, t)) *
                         ((v / (1 - std::pow(kBeta2, t))).sqrt() + 1e-3);
    const at::Tensor d = p.rsqrt();
    const auto row = monitor.measure({0.01}, problem.closure());
    EXPECT_NEAR(row.sharpness, 9, 1e-6);
    const double expected = dense_sharpness(
        a + 0.5 * torch::eye(4, torch::kDouble),
        {d.data_ptr<double>(), d.data_ptr<double>() + 4});
    EXPECT_NEAR(row.effective_sharpness, expected, 1e-6 * expected) << t;
    // (2 + 2 m) / (1 - m), 38 over lambda.
    EXPECT_NEAR(*row.limit, 38, 1e-9);
    make_an_update(adam, problem);
  }
  EXPECT_EQ(
      message_of([&] {
        monitor.measure({0.01}, [&] { return diagonal({1, 1, 1, 1}); });
      }),
      "CurvatureMonitor: the closure must return a loss for torch::optim::Adam,"
      " whose preconditioner takes the gradient, and it returned an operator");
}

TEST(CurvatureMonitor, HasNoLimitForARuleThatNoHessianTells) {
  const TwoParts problem(diagonal_matrix({4, 1, 0.5}));
  torch::optim::LBFGS lbfgs({problem.x, problem.y});
  CurvatureMonitor monitor(lbfgs);
  const auto* row = monitor.step(1, problem.closure());
  EXPECT_NEAR(row->sharpness, 4, 1e-6);
  EXPECT_EQ(row->effective_sharpness, row->sharpness);
  EXPECT_FALSE(row->limit.has_value());
  EXPECT_FALSE(row->lr_sharpness.has_value());
}

TEST(ComingOperator, SaysWhatItCannotTell) {
  const TwoParts problem(diagonal_matrix({4, 1, 0.5}));
  const auto hessian = hessian_operator(problem.loss(), {problem.x, problem.y});
  torch::optim::LBFGS lbfgs({problem.x, problem.y});
  torch::optim::SGD sgd({problem.x}, 0.1);
  torch::optim::Adam adam({problem.x, problem.y});
  EXPECT_FALSE(has_coming_operator(lbfgs));
  EXPECT_TRUE(has_coming_operator(adam));
  EXPECT_EQ(
      message_of([&] { coming_operator(hessian, lbfgs); }),
      "coming_operator: the update of torch::optim::LBFGS is none that a "
      "Hessian and OptimizerTraits tell: it must go down the gradient, or "
      "divide it by a preconditioner that its traits name");
  EXPECT_EQ(
      message_of([&] { coming_operator(hessian, sgd); }),
      "coming_operator: the operator has 2 tensors, expected 1 (one a "
      "parameter "
      "that requires a gradient)");
  EXPECT_EQ(
      message_of([&] { coming_operator(hessian, adam); }),
      "coming_operator: torch::optim::Adam divides by a preconditioner, which "
      "takes 2 gradients, got 0");
}

// Of a gradient that is zero Adam's P is eps, and without that there is none.
TEST(ComingOperator, IsNoNumberWhereTheUpdateIsNone) {
  const TwoParts problem(diagonal_matrix({4, 1, 0.5}));
  const auto hessian = hessian_operator(problem.loss(), {problem.x, problem.y});
  const TensorVector flat_ground{
      torch::zeros({2}, torch::kDouble), torch::zeros({1}, torch::kDouble)};
  torch::optim::Adam adam(
      {problem.x, problem.y}, torch::optim::AdamOptions().eps(0));
  const auto coming = coming_operator(hessian, adam, flat_ground);
  EXPECT_EQ(coming.step, 1);
  const auto product = coming.op.apply(
      {torch::ones({2}, torch::kDouble), torch::ones({1}, torch::kDouble)});
  EXPECT_TRUE(torch::cat(product).isnan().all().item<bool>());
}

}  // namespace
}  // namespace stepsize::test
