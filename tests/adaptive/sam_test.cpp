#include <stepsize/adaptive/sam.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/power_method_sgd.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <memory>
#include <stdexcept>
#include <vector>

#include "tests/adaptive/optimizer_golden.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

// SGD with momentum inside; `options` of SAM.
std::function<GoldenRun(const std::vector<torch::Tensor>&)> sam_run(
    const SAMOptions& options) {
  return [options](const std::vector<torch::Tensor>& parameters) {
    const auto sgd = std::make_shared<torch::optim::SGD>(
        parameters, torch::optim::SGDOptions(0.05).momentum(0.9));
    const auto sam = std::make_shared<SAM>(*sgd, options);
    return GoldenRun{
        [sgd, sam](GoldenProblem& problem) {
          sam->step([&] {
            problem.set_gradients();
            return problem.loss();
          });
        },
        nullptr};
  };
}

TEST(SAM, FollowsItsReference) {
  expect_follows_golden("sam", sam_run(SAMOptions(0.05)));
}

// The reference has no eta.
TEST(SAM, FollowsItsReferenceWhereAdaptive) {
  expect_follows_golden("asam", sam_run(SAMOptions(0.5).adaptive(true).eta(0)));
}

// f = x A x / 2 with a closure that calls backward().
struct SAMQuadratic {
  torch::Tensor a = torch::tensor(
      {{3.0, 1.0, 0.0}, {1.0, 2.0, -1.0}, {0.0, -1.0, 4.0}}, torch::kFloat64);
  torch::Tensor x = leaf({1, -2, 0.5});
  int calls = 0;

  torch::Tensor loss() {
    ++calls;
    x.mutable_grad() = torch::Tensor();
    auto value = x.dot(torch::mv(a, x)) / 2;
    value.backward();
    return value;
  }
};

TEST(SAM, TakesTheGradientUphill) {
  SAMQuadratic problem;
  const auto x = problem.x.detach().clone();
  const auto g = torch::mv(problem.a, x);
  torch::optim::SGD sgd({problem.x}, 0.5);
  SAM sam(sgd, SAMOptions(0.25));
  const auto loss = sam.step([&] { return problem.loss(); });
  EXPECT_EQ(problem.calls, 2);
  EXPECT_NEAR(loss.item<double>(), (x.dot(g) / 2).item<double>(), 1e-14);
  // (I + rho A / |g|) g.
  const auto uphill = g + 0.25 * torch::mv(problem.a, g) / g.norm();
  EXPECT_TRUE(torch::allclose(problem.x.grad(), uphill, 0, 1e-14));
  EXPECT_TRUE(torch::allclose(problem.x.detach(), x - 0.5 * uphill, 0, 1e-14));
  EXPECT_NEAR(sam.last_grad_norm(), g.norm().item<double>(), 1e-14);
  EXPECT_EQ(sam.skipped_ascents(), 0);
}

TEST(SAM, MeasuresLengthsByTheParametersWhereAdaptive) {
  SAMQuadratic problem;
  const auto x = problem.x.detach().clone();
  const auto g = torch::mv(problem.a, x);
  torch::optim::SGD sgd({problem.x}, 0.5);
  SAM sam(sgd, SAMOptions(0.25).adaptive(true).eta(0.125));
  sam.step([&] { return problem.loss(); });
  const auto t = x.abs() + 0.125;
  const auto e = 0.25 * t * t * g / (t * g).norm();
  EXPECT_TRUE(
      torch::allclose(problem.x.grad(), torch::mv(problem.a, x + e), 0, 1e-14));
}

// What ASAM is made for: a parameter times c and what multiplies it divided by
// c are the same network, and the ascent finds the same loss.
TEST(SAM, ClimbsAlikeWhateverTheScaleWhereAdaptive) {
  const auto uphill_loss = [](double c) {
    const auto u = leaf({1.5 * c});
    const auto v = leaf({0.75 / c});
    torch::optim::SGD sgd({u, v}, 0.1);
    SAM sam(sgd, SAMOptions(0.5).adaptive(true).eta(0));
    double last = 0;
    sam.step([&] {
      sgd.zero_grad();
      auto loss = (u * v - 3).square().sum();
      loss.backward();
      last = loss.item<double>();
      return loss;
    });
    return last;
  };
  EXPECT_NEAR(uphill_loss(1), uphill_loss(8), 1e-12);
  EXPECT_GT(uphill_loss(1), std::pow(1.5 * 0.75 - 3, 2));
}

struct SAMNet {
  SAMNet() {
    torch::manual_seed(3);
    net = torch::nn::Sequential(
        torch::nn::Linear(4, 8),
        torch::nn::BatchNorm1d(8),
        torch::nn::Dropout(0.5),
        torch::nn::Linear(8, 1));
    inputs = torch::randn({16, 4});
  }
  torch::Tensor loss() {
    net->zero_grad();
    auto value = net->forward(inputs).square().mean();
    value.backward();
    return value;
  }
  torch::nn::Sequential net{nullptr};
  torch::Tensor inputs;
};

TEST(SAM, LeavesNoTraceInBuffersAndRandomState) {
  SAMNet once;
  torch::manual_seed(8);
  once.loss();
  const auto next = torch::rand({3});

  SAMNet twice;
  torch::manual_seed(8);
  torch::optim::SGD sgd(twice.net->parameters(), 0.1);
  SAM sam(sgd, SAMOptions(0.1).buffers(twice.net->buffers()));
  std::vector<torch::Tensor> draws;
  sam.step([&] {
    auto loss = twice.loss();
    draws.push_back(torch::rand({3}));
    return loss;
  });
  ASSERT_EQ(draws.size(), 2U);
  EXPECT_TRUE(torch::equal(draws[0], next));
  EXPECT_TRUE(torch::equal(draws[1], next));
  const auto expected = once.net->buffers();
  const auto got = twice.net->buffers();
  ASSERT_EQ(got.size(), 3U);
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(torch::equal(got[i], expected[i])) << i;
  }
  // What comes after the step was drawn after one evaluation.
  torch::manual_seed(8);
  once.loss();
  torch::rand({3});
  const auto after_one = torch::rand({3});
  torch::manual_seed(8);
  sam.step([&] {
    auto loss = twice.loss();
    torch::rand({3});
    return loss;
  });
  EXPECT_TRUE(torch::equal(torch::rand({3}), after_one));
}

TEST(SAM, PutsBackBitForBitBeforeTheStep) {
  // A rate of 0 shows what the optimizer was given.
  SAMNet problem;
  const auto before = problem.net->parameters();
  std::vector<torch::Tensor> copies;
  for (const auto& own : before) copies.push_back(own.detach().clone());
  torch::optim::SGD sgd(problem.net->parameters(), 0.0);
  SAM sam(sgd, SAMOptions(3));
  bool moved = false;
  sam.step([&] {
    moved = moved || !torch::equal(before[0], copies[0]);
    return problem.loss();
  });
  EXPECT_TRUE(moved);
  for (std::size_t i = 0; i < copies.size(); ++i) {
    EXPECT_TRUE(torch::equal(before[i], copies[i])) << i;
  }
}

TEST(SAM, PutsBackWhereTheClosureThrows) {
  SAMNet problem;
  torch::optim::SGD sgd(problem.net->parameters(), 0.1);
  SAM sam(sgd, SAMOptions(3).buffers(problem.net->buffers()));
  std::vector<torch::Tensor> copies;
  for (const auto& own : problem.net->parameters()) {
    copies.push_back(own.detach().clone());
  }
  torch::Tensor mean;
  int calls = 0;
  EXPECT_THROW(
      sam.step([&]() -> torch::Tensor {
        auto loss = problem.loss();
        if (++calls == 2) throw std::runtime_error("no data");
        mean = problem.net->buffers()[0].clone();
        return loss;
      }),
      std::runtime_error);
  EXPECT_EQ(calls, 2);
  const auto after = problem.net->parameters();
  for (std::size_t i = 0; i < copies.size(); ++i) {
    EXPECT_TRUE(torch::equal(after[i], copies[i])) << i;
  }
  EXPECT_TRUE(torch::equal(problem.net->buffers()[0], mean));
}

TEST(SAM, DoesNotClimbWithoutADirection) {
  const auto x = leaf({1, 2});
  for (const double slope : {0.0, kNaN, kInfinity}) {
    ClippedSGD sgd({x}, ClippedSGDOptions(0.1));
    SAM sam(sgd, SAMOptions(0.1));
    int calls = 0;
    sam.step([&] {
      ++calls;
      x.mutable_grad() = torch::full_like(x, slope).detach();
      return torch::zeros({});
    });
    EXPECT_EQ(calls, 1) << slope;
    EXPECT_EQ(sam.skipped_ascents(), 1) << slope;
    // What the optimizer does with such a gradient is its own affair.
    EXPECT_EQ(sgd.skipped_steps(), slope == 0 ? 0 : 1) << slope;
    EXPECT_TRUE(torch::equal(x, leaf({1, 2}))) << slope;
  }
  // Without any gradient too.
  ClippedSGD sgd({x}, ClippedSGDOptions(0.1));
  SAM sam(sgd);
  x.mutable_grad() = torch::Tensor();
  sam.step([] { return torch::zeros({}); });
  EXPECT_EQ(sam.skipped_ascents(), 1);
}

TEST(SAM, WithoutALengthStepsAsTheOptimizer) {
  SAMQuadratic with;
  SAMQuadratic without;
  torch::optim::Adam inner({with.x}, 0.1);
  torch::optim::Adam alone({without.x}, 0.1);
  SAM sam(inner, SAMOptions(0));
  for (int step = 0; step < 5; ++step) {
    sam.step([&] { return with.loss(); });
    alone.step([&] { return without.loss(); });
  }
  EXPECT_TRUE(torch::equal(with.x, without.x));
  EXPECT_EQ(with.calls, 5);
  EXPECT_EQ(sam.skipped_ascents(), 0);
}

TEST(SAM, MovesWhatHasAGradientAlone) {
  const auto x = leaf({1, 2});
  const auto frozen = leaf({3});
  torch::optim::SGD sgd({x, frozen}, 0.1);
  SAM sam(sgd, SAMOptions(0.5));
  sam.step([&] {
    EXPECT_EQ(frozen.item<double>(), 3);
    sgd.zero_grad();
    auto loss = x.square().sum();
    loss.backward();
    return loss;
  });
  EXPECT_EQ(frozen.item<double>(), 3);
}

// A gradient that a closure adds to is that of one point.
TEST(SAM, ClearsTheGradientBetweenTheTwo) {
  const auto x = leaf({3, 4});
  torch::optim::SGD sgd({x}, 0.0);
  SAM sam(sgd, SAMOptions(1));
  sam.step([&] {
    auto loss = x.square().sum() / 2;
    loss.backward();
    return loss;
  });
  EXPECT_TRUE(torch::allclose(x.grad(), vector_of({3.6, 4.8}), 0, 1e-14));
}

TEST(SAM, StepsAtTheRateOfASchedule) {
  SAMQuadratic problem;
  torch::optim::SGD sgd({problem.x}, 0.5);
  SAM sam(sgd, SAMOptions(0.25));
  torch::optim::StepLR scheduler(sgd, 1, 0.0);
  sam.step([&] { return problem.loss(); });
  // LibTorch's own runs a step late.
  for (int i = 0; i < 2; ++i) scheduler.step();
  const auto before = problem.x.detach().clone();
  sam.step([&] { return problem.loss(); });
  EXPECT_TRUE(torch::equal(problem.x, before));
}

TEST(SAM, RefusesWhatItCannotDo) {
  const auto x = leaf({1, 2});
  torch::optim::SGD sgd({x}, 0.1);
  EXPECT_THAT(
      message_of([&] { SAM(sgd, SAMOptions(-1)); }),
      HasSubstr("SAM: rho must be finite and >= 0, got -1"));
  SAM sam(sgd);
  EXPECT_THAT(
      message_of([&] { sam.set_rho(kInfinity); }),
      HasSubstr("SAM: rho must be finite and >= 0"));
  EXPECT_EQ(sam.rho(), 0.05);
  EXPECT_THAT(
      message_of([&] { sam.step(nullptr); }),
      HasSubstr("SAM: step() wants a closure"));
  EXPECT_THAT(
      message_of([&] {
        sam.step([&] {
          x.mutable_grad() = torch::ones_like(x).to_sparse();
          return torch::zeros({});
        });
      }),
      HasSubstr("SAM: gradients must be dense"));
  EXPECT_TRUE(torch::equal(x, leaf({1, 2})));
  torch::optim::LBFGS lbfgs({x});
  EXPECT_THAT(
      message_of([&] { SAM other(lbfgs); }),
      HasSubstr("SAM: cannot step torch::optim::LBFGS"));
  PowerMethodSGD power({x});
  EXPECT_THAT(
      message_of([&] { SAM other(power); }),
      HasSubstr("SAM: cannot step PowerMethodSGD"));
}

}  // namespace
}  // namespace stepsize::test
