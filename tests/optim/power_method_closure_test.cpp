#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/power_method_sgd.h>
#include <torch/torch.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

TEST(PowerMethodSGDClosure, IsToldWhenItCallsBackward) {
  for (const bool keep : {false, true}) {
    for (const bool had_gradient : {false, true}) {
      auto x = leaf({1, 2});
      if (had_gradient) x.mutable_grad() = torch::zeros_like(x);
      PowerMethodSGD sgd({x});
      EXPECT_THAT(
          message_of([&] {
            sgd.step([&] {
              sgd.zero_grad();
              const auto loss = x.square().sum();
              loss.backward({}, keep);
              return loss;
            });
          }),
          HasSubstr("the closure must not call backward()"));
      EXPECT_TRUE(torch::equal(x, leaf({1, 2})));
    }
  }
}

TEST(PowerMethodSGDClosure, MayZeroTheGradients) {
  auto x = leaf({1, 2});
  x.mutable_grad() = torch::ones_like(x);
  PowerMethodSGD sgd({x});
  sgd.step([&] {
    sgd.zero_grad();
    return x.square().sum();
  });
  EXPECT_LT(x[1].item<double>(), 2);
}

TEST(PowerMethodSGDClosure, MustReturnAScalarWithItsGraph) {
  auto x = leaf({1, 2});
  PowerMethodSGD sgd({x});
  EXPECT_THAT(message_of([&] { sgd.step(); }), HasSubstr("wants a closure"));
  for (const auto& closure : std::vector<std::function<torch::Tensor()>>{
           [] { return torch::Tensor(); },
           [&] { return x * 2; },
           [&] { return x.detach().sum(); },
           [] { return torch::ones({}); }}) {
    EXPECT_THAT(
        message_of([&] { sgd.step(closure); }),
        HasSubstr("a scalar with its graph"));
  }
  EXPECT_TRUE(torch::equal(x, leaf({1, 2})));
}

TEST(PowerMethodSGDClosure, WorksUnderANoGradGuardAndPassesErrorsOn) {
  auto x = leaf({1, 2});
  PowerMethodSGD sgd({x});
  const torch::NoGradGuard no_grad;
  sgd.step([&] { return x.square().sum(); });
  EXPECT_NEAR(sgd.sharpness(), 2, 1e-12);
  EXPECT_THROW(
      sgd.step([]() -> torch::Tensor { throw std::runtime_error("mine"); }),
      std::runtime_error);
}

TEST(PowerMethodSGDClosure, ALossThatIsNotFiniteIsLeftOutAndCounted) {
  auto x = leaf({1, 2});
  PowerMethodSGD sgd({x});
  sgd.step([&] { return (x * kNaN).sum(); });
  EXPECT_EQ(sgd.skipped_steps(), 1);
  EXPECT_TRUE(torch::equal(x, leaf({1, 2})));
  sgd.step([&] { return x.square().sum(); });
  EXPECT_EQ(sgd.skipped_steps(), 1);
  EXPECT_NEAR(sgd.current_lr(), 0.5, 1e-12);
}

TEST(PowerMethodSGDClosure, MayLeaveParametersUnused) {
  auto x = leaf({1, 2});
  auto unused = leaf({3});
  auto frozen = torch::ones({2});
  PowerMethodSGD sgd(
      {x, unused, frozen}, PowerMethodSGDOptions().momentum(0.5));
  for (int i = 0; i < 5; ++i) {
    sgd.step([&] { return x.square().sum(); });
  }
  EXPECT_EQ(unused.item<double>(), 3);
  EXPECT_TRUE(torch::equal(frozen, torch::ones({2})));
  EXPECT_NEAR(sgd.sharpness(), 2, 1e-12);
}

// Its backward cannot be differentiated.
struct Once : torch::autograd::Function<Once> {
  static torch::Tensor forward(
      torch::autograd::AutogradContext* context, const torch::Tensor& x) {
    context->save_for_backward({x});
    return x.square().sum();
  }
  static torch::autograd::tensor_list backward(
      torch::autograd::AutogradContext* context,
      const torch::autograd::tensor_list& gradients) {
    TORCH_CHECK(
        !torch::GradMode::is_enabled(), "no derivative of the derivative");
    return {2 * context->get_saved_variables()[0] * gradients[0]};
  }
};

TEST(PowerMethodSGDClosure, FallsBackToFiniteDifferences) {
  auto x = leaf({1, 2});
  PowerMethodSGD sgd({x});
  sgd.step([&] { return Once::apply(x); });
  EXPECT_EQ(sgd.method(), HessianMethod::kFiniteDifference);
  EXPECT_NEAR(sgd.sharpness(), 2, 1e-5);
  // The rate is 1/2: one step to the minimum.
  EXPECT_NEAR(x[0].item<double>(), 0, 1e-5);
  auto y = leaf({1, 2});
  PowerMethodSGD strict(
      {y}, PowerMethodSGDOptions().method(HessianMethod::kExact));
  EXPECT_THROW(strict.step([&] { return Once::apply(y); }), c10::Error);
  EXPECT_TRUE(torch::equal(y, leaf({1, 2})));
}

// A network with all that an extra evaluation could disturb.
struct Net {
  Net() {
    torch::manual_seed(2);
    model = torch::nn::Sequential(
        torch::nn::Linear(6, 8),
        torch::nn::BatchNorm1d(8),
        torch::nn::Tanh(),
        torch::nn::Dropout(0.3),
        torch::nn::Linear(8, 1));
    points = torch::randn({32, 6});
  }
  torch::Tensor loss() {
    ++evaluations;
    return (model->forward(points) - points.sum(1, true)).square().mean();
  }
  torch::nn::Sequential model{nullptr};
  torch::Tensor points;
  int evaluations = 0;
};

TEST(PowerMethodSGDClosure, FiniteDifferencesMoveNeitherBuffersNorRandomness) {
  for (const auto method :
       {HessianMethod::kFiniteDifference, HessianMethod::kCentralDifference}) {
    Net net;
    PowerMethodSGD sgd(
        net.model->parameters(),
        PowerMethodSGDOptions().method(method).buffers(net.model->buffers()));
    // What one evaluation by itself leaves behind.
    Net twin;
    torch::manual_seed(9);
    twin.loss();
    const auto drawn = torch::rand({4});
    torch::manual_seed(9);
    sgd.step([&] { return net.loss(); });
    EXPECT_GT(net.evaluations, 20);
    EXPECT_TRUE(torch::equal(torch::rand({4}), drawn));
    const auto buffers = net.model->buffers();
    const auto expected = twin.model->buffers();
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      EXPECT_TRUE(torch::equal(buffers[i], expected[i])) << i;
    }
  }
}

TEST(PowerMethodSGDClosure, BothKindsOfProductAgree) {
  const auto sharpness = [](HessianMethod method) {
    Net net;
    PowerMethodSGD sgd(
        net.model->parameters(),
        PowerMethodSGDOptions().method(method).buffers(net.model->buffers()));
    torch::manual_seed(9);
    sgd.step([&] { return net.loss(); });
    return sgd.sharpness();
  };
  const double exact = sharpness(HessianMethod::kExact);
  EXPECT_GT(exact, 0);
  // The error of single-precision differences, facts of the curvature page.
  EXPECT_NEAR(sharpness(HessianMethod::kFiniteDifference), exact, 0.02 * exact);
  EXPECT_NEAR(
      sharpness(HessianMethod::kCentralDifference), exact, 0.005 * exact);
}

TEST(PowerMethodSGDOptions, AreRefusedByName) {
  auto x = leaf({1});
  const auto of = [&](const PowerMethodSGDOptions& options) {
    return message_of([&] { PowerMethodSGD({x}, options); });
  };
  EXPECT_THAT(
      of(PowerMethodSGDOptions(-1)),
      HasSubstr("PowerMethodSGD: lr must be finite and >= 0, got -1"));
  EXPECT_THAT(of(PowerMethodSGDOptions().momentum(1)), HasSubstr("momentum"));
  EXPECT_THAT(
      of(PowerMethodSGDOptions().nesterov(true)), HasSubstr("momentum > 0"));
  EXPECT_THAT(
      of(PowerMethodSGDOptions().weight_decay(kNaN)),
      HasSubstr("weight_decay must be"));
  EXPECT_THAT(
      of(PowerMethodSGDOptions().momentum_limit(static_cast<MomentumLimit>(7))),
      HasSubstr("momentum_limit must be kEffectiveRate or kQuadratic, got 7"));
  EXPECT_THAT(
      of(PowerMethodSGDOptions().start_products(0)),
      HasSubstr("start_products must be >= 1, got 0"));
  EXPECT_THAT(
      of(PowerMethodSGDOptions().method(static_cast<HessianMethod>(9))),
      HasSubstr("method"));
  PowerMethodSGDOptions options;
  options.tracker().safety(-2);
  EXPECT_THAT(of(options), HasSubstr("safety must be finite and > 0, got -2"));
}

}  // namespace
}  // namespace stepsize::test
