// GradScaler: that powers of two change nothing, what an overflow does, and
// what is refused.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/autocast.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/grad_scaler.h>
#include <stepsize/optim/lion.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <stepsize/optim/z_clip.h>
#include <torch/torch.h>

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/support/archive_bytes.h"
#include "tests/support/error_text.h"
#include "tests/support/numbers.h"

namespace stepsize {
namespace {

using test::kInfinity;
using test::kNaN;
using test::load;
using test::message_of;
using test::saved;
using testing::HasSubstr;

static_assert(!std::is_copy_constructible_v<GradScaler>);
static_assert(!std::is_move_constructible_v<GradScaler>);

// A regression by a small network.
class ScalerProblem {
 public:
  explicit ScalerProblem(torch::Dtype type = torch::kFloat) {
    torch::manual_seed(5);
    inputs_ = torch::randn({16, 6}).to(type);
    targets_ = torch::randn({16, 3}).to(type);
    for (const auto& shape :
         std::vector<std::vector<int64_t>>{{6, 8}, {8}, {8, 3}}) {
      parameters_.push_back(
          (torch::randn(shape) / 2).to(type).set_requires_grad(true));
    }
  }

  torch::Tensor loss(double factor = 1) const {
    const auto hidden =
        torch::relu(torch::matmul(inputs_, parameters_[0]) + parameters_[1]);
    const auto far = torch::matmul(hidden, parameters_[2]) - targets_;
    return far.to(torch::kFloat).square().mean() * factor;
  }

  void clear() const {
    for (const auto& parameter : parameters_) {
      parameter.mutable_grad() = torch::Tensor();
    }
  }

  void set_gradients(const GradScaler& scaler, double factor = 1) const {
    clear();
    scaler.scale(loss(factor)).backward();
  }

  std::vector<torch::Tensor> point() const {
    std::vector<torch::Tensor> point;
    for (const auto& parameter : parameters_) {
      point.push_back(parameter.detach().clone());
    }
    return point;
  }

  const std::vector<torch::Tensor>& parameters() const { return parameters_; }

 private:
  torch::Tensor inputs_;
  torch::Tensor targets_;
  std::vector<torch::Tensor> parameters_;
};

void expect_same_point(const ScalerProblem& left, const ScalerProblem& right) {
  for (std::size_t i = 0; i < left.parameters().size(); ++i) {
    EXPECT_TRUE(left.parameters()[i].equal(right.parameters()[i])) << i;
  }
}

void expect_at(
    const ScalerProblem& problem, const std::vector<torch::Tensor>& point) {
  for (std::size_t i = 0; i < point.size(); ++i) {
    EXPECT_TRUE(problem.parameters()[i].equal(point[i])) << i;
  }
}

using Optimizer = torch::optim::Optimizer;

struct Made {
  std::string name;
  std::function<std::unique_ptr<Optimizer>(const std::vector<torch::Tensor>&)>
      make;
};

template <typename Class, typename Options>
Made made(std::string name, const Options& options) {
  return {
      std::move(name), [options](const std::vector<torch::Tensor>& parameters) {
        return std::make_unique<Class>(parameters, options);
      }};
}

std::vector<Made> scaled_optimizers() {
  std::vector<Made> all = {
      made<ClippedSGD>(
          "ClippedSGD, clipped",
          ClippedSGDOptions(0.1).momentum(0.9).max_norm(0.3).weight_decay(
              0.01)),
      made<ClippedSGD>(
          "ClippedSGD, by the largest",
          ClippedSGDOptions(0.1).max_norm(0.05).norm_type(NormType::kInfinity)),
      made<ClippedSGD>(
          "ClippedSGD, not clipped", ClippedSGDOptions(0.1).max_norm(1e6)),
      made<ClippedAdamW>(
          "ClippedAdamW",
          ClippedAdamWOptions(0.01).weight_decay(0.1).max_norm(0.3)),
      made<Lion>("Lion", LionOptions(0.01).weight_decay(0.1)),
      made<RollbackSGD>("RollbackSGD", RollbackSGDOptions(0.1).momentum(0.9)),
      made<torch::optim::SGD>(
          "SGD", torch::optim::SGDOptions(0.1).momentum(0.9)),
      made<torch::optim::Adam>("Adam", torch::optim::AdamOptions(0.01))};
  all.push_back({"ZClip", [](const std::vector<torch::Tensor>& parameters) {
                   auto sgd = std::make_unique<ClippedSGD>(
                       parameters, ClippedSGDOptions(0.1).momentum(0.9));
                   sgd->set_clip_rule(ZClip());
                   return sgd;
                 }});
  return all;
}

TEST(GradScaler, OfPowersOfTwoChangesNoBit) {
  for (const Made& own : scaled_optimizers()) {
    for (const bool with_closure : {false, true}) {
      SCOPED_TRACE(own.name + (with_closure ? ", closure" : ""));
      ScalerProblem plain;
      ScalerProblem scaled;
      const auto plain_optimizer = own.make(plain.parameters());
      const auto scaled_optimizer = own.make(scaled.parameters());
      GradScaler scaler(
          GradScalerOptions().init_scale(1024).growth_interval(7));
      for (int i = 0; i < 30; ++i) {
        const auto closure = [](const ScalerProblem& problem,
                                const GradScaler* own_scaler) {
          return [&problem, own_scaler] {
            problem.clear();
            auto loss = problem.loss();
            (own_scaler != nullptr ? own_scaler->scale(loss) : loss).backward();
            return loss;
          };
        };
        if (with_closure) {
          const auto loss = plain_optimizer->step(closure(plain, nullptr));
          const auto same =
              scaler.step(*scaled_optimizer, closure(scaled, &scaler));
          EXPECT_TRUE(same.equal(loss));
        } else {
          closure(plain, nullptr)();
          plain_optimizer->step();
          closure(scaled, &scaler)();
          EXPECT_FALSE(scaler.step(*scaled_optimizer).defined());
        }
        scaler.update();
      }
      expect_same_point(scaled, plain);
      EXPECT_EQ(scaler.skipped_steps(), 0);
      EXPECT_EQ(scaler.scale(), 1024 * 16);
    }
  }
}

TEST(GradScaler, LeavesTheGradientsOfClippedOptimizersAsTheyAre) {
  ScalerProblem problem;
  ClippedSGD sgd(problem.parameters(), ClippedSGDOptions(0.1).max_norm(0.2));
  GradScaler scaler(GradScalerOptions().init_scale(512));
  problem.set_gradients(scaler);
  const auto& grad = problem.parameters()[0].grad();
  const auto before = grad.clone();
  scaler.step(sgd);
  EXPECT_TRUE(grad.equal(before));
  EXPECT_EQ(sgd.clipped_steps(), 1);
  // The norm is that of the loss as it is.
  const double norm = sgd.last_grad_norm();
  ScalerProblem plain;
  ClippedSGD same(plain.parameters(), ClippedSGDOptions(0.1).max_norm(0.2));
  plain.loss().backward();
  same.step();
  EXPECT_EQ(norm, same.last_grad_norm());
}

TEST(GradScaler, ClipsFloat64GradientsOfAnySize) {
  for (const double size : {1.0, 1e200, 1e-200}) {
    auto w = torch::full({3}, 2.0, torch::kDouble);
    ClippedSGD sgd(
        std::vector<torch::Tensor>{w}, ClippedSGDOptions(1).max_norm(3));
    GradScaler scaler(GradScalerOptions().init_scale(4096));
    w.mutable_grad() = torch::full({3}, size * 4096, torch::kDouble);
    scaler.step(sgd);
    const double norm = std::sqrt(3.0) * size;
    EXPECT_DOUBLE_EQ(sgd.last_grad_norm(), norm);
    const double step = norm > 3 ? 3 / std::sqrt(3.0) : size;
    EXPECT_NEAR(w[0].item<double>(), 2 - step, 1e-15) << size;
  }
}

TEST(GradScaler, LeavesAllAsItIsWhereAGradientOverflows) {
  for (const Made& own : scaled_optimizers()) {
    for (const double factor : {kInfinity, kNaN, 1e36}) {
      SCOPED_TRACE(own.name);
      ScalerProblem problem;
      const auto optimizer = own.make(problem.parameters());
      GradScaler scaler;
      problem.set_gradients(scaler);
      scaler.step(*optimizer);
      scaler.update();
      const auto point = problem.point();
      const auto* const clipped =
          dynamic_cast<const ClippedOptimizer*>(optimizer.get());
      const auto state = [&] {
        // Its own count of them, and the norm, have changed.
        return clipped != nullptr ? std::string() : saved(*optimizer);
      };
      const auto before = state();
      problem.set_gradients(scaler, factor);
      scaler.step(*optimizer);
      scaler.update();
      expect_at(problem, point);
      EXPECT_EQ(state(), before);
      EXPECT_EQ(scaler.skipped_steps(), 1);
      EXPECT_EQ(scaler.scale(), 32768);
      if (clipped != nullptr && clipped->clip_rule() == nullptr) {
        EXPECT_EQ(clipped->skipped_steps(), 1);
      }
      // It goes on.
      problem.set_gradients(scaler);
      scaler.step(*optimizer);
      scaler.update();
      EXPECT_FALSE(problem.parameters()[0].equal(point[0]));
      EXPECT_EQ(scaler.skipped_steps(), 1);
    }
  }
}

TEST(GradScaler, ReturnsTheLossOfAStepThatIsLeftOut) {
  for (const Made& own : scaled_optimizers()) {
    ScalerProblem problem;
    const auto optimizer = own.make(problem.parameters());
    GradScaler scaler;
    const auto loss = scaler.step(*optimizer, [&] {
      problem.set_gradients(scaler, kNaN);
      return problem.loss();
    });
    EXPECT_TRUE(loss.equal(problem.loss())) << own.name;
    EXPECT_EQ(scaler.skipped_steps(), 1) << own.name;
  }
}

TEST(GradScaler, DoesNotThrowForAnOverflowWhereAStepWould) {
  ScalerProblem problem;
  ClippedSGD sgd(
      problem.parameters(),
      ClippedSGDOptions(0.1).non_finite(NonFiniteGradient::kThrow));
  GradScaler scaler;
  problem.set_gradients(scaler, kInfinity);
  scaler.step(sgd);
  EXPECT_EQ(scaler.skipped_steps(), 1);
  EXPECT_THROW(sgd.step(), c10::Error);
}

// Gradients of 2^-26 are 0 in float16, and 2^-13 times the scale of 2^13 is
// what is there.
TEST(GradScaler, SavesGradientsThatFloat16DoesNotHave) {
  for (const bool is_adam : {false, true}) {
    auto w = torch::zeros({2}, torch::kHalf);
    std::unique_ptr<Optimizer> optimizer;
    if (is_adam) {
      optimizer = std::make_unique<ClippedAdamW>(
          std::vector<torch::Tensor>{w},
          ClippedAdamWOptions(0.25).eps(0).weight_decay(0));
    } else {
      optimizer = std::make_unique<ClippedSGD>(
          std::vector<torch::Tensor>{w},
          ClippedSGDOptions(0x1p16).max_norm(kInfinity));
    }
    GradScaler scaler(GradScalerOptions().init_scale(0x1p13));
    w.mutable_grad() = torch::full({2}, 0x1p-13, torch::kHalf);
    scaler.step(*optimizer);
    EXPECT_EQ(w[0].item<float>(), is_adam ? -0.25 : -0x1p-10);
  }
}

TEST(GradScaler, ScalesALossOfFloat16InFloat32) {
  const GradScaler scaler;
  const auto half = torch::full({}, 3, torch::kHalf);
  EXPECT_EQ(scaler.scale(half).item<float>(), 3 * 65536);
  const auto wide = torch::full({2}, 1.5, torch::kDouble);
  EXPECT_EQ(scaler.scale(wide).scalar_type(), torch::kDouble);
  EXPECT_EQ(scaler.scale(wide)[1].item<double>(), 1.5 * 65536);
}

TEST(GradScaler, TrainsInEveryType) {
  for (const torch::Dtype type :
       {torch::kHalf, torch::kBFloat16, torch::kFloat, torch::kDouble}) {
    // LibTorch 1.13 has no product of float16 on a CPU.
    auto w = torch::full({8}, 2.0, type).set_requires_grad(true);
    ClippedAdamW adamw(
        std::vector<torch::Tensor>{w},
        ClippedAdamWOptions(0.05).weight_decay(0));
    GradScaler scaler;
    for (int i = 0; i < 200; ++i) {
      w.mutable_grad() = torch::Tensor();
      scaler.scale(w.to(torch::kFloat).square().sum() * 1e-6).backward();
      scaler.step(adamw);
      scaler.update();
    }
    EXPECT_LT(w.to(torch::kFloat).abs().max().item<float>(), 0.3) << type;
  }
}

TEST(GradScaler, GoesWithAutocast) {
  ScalerProblem problem;
  ClippedAdamW adamw(problem.parameters(), ClippedAdamWOptions(0.02));
  GradScaler scaler;
  const float before = problem.loss().item<float>();
  for (int i = 0; i < 60; ++i) {
    problem.clear();
    torch::Tensor loss;
    {
      const Autocast autocast(torch::kCPU);
      loss = problem.loss();
    }
    scaler.scale(loss).backward();
    scaler.step(adamw);
    scaler.update();
  }
  EXPECT_LT(problem.loss().item<float>(), before / 2);
  EXPECT_EQ(scaler.skipped_steps(), 0);
}

TEST(GradScaler, UnscalesWhatIsExpandedSharedOrSparse) {
  auto expanded = torch::ones({4});
  expanded.mutable_grad() = torch::full({}, 8.0).expand({4});
  auto first = torch::ones({2});
  auto second = torch::ones({2});
  const auto shared = torch::full({2}, 16.0);
  first.mutable_grad() = shared.view({2});
  second.mutable_grad() = shared.view({2});
  auto table = torch::ones({5, 2});
  table.mutable_grad() = torch::sparse_coo_tensor(
      torch::tensor({{1, 3}}), torch::full({2, 2}, 24.0), {5, 2});
  torch::optim::SGD sgd(
      std::vector<torch::Tensor>{expanded, first, second, table},
      torch::optim::SGDOptions(1));
  GradScaler scaler(GradScalerOptions().init_scale(8));
  scaler.unscale_(sgd);
  EXPECT_TRUE(expanded.grad().equal(torch::full({4}, 1.0)));
  EXPECT_TRUE(first.grad().equal(torch::full({2}, 2.0)));
  EXPECT_TRUE(second.grad().equal(torch::full({2}, 2.0)));
  EXPECT_TRUE(table.grad().to_dense()[3].equal(torch::full({2}, 3.0)));
  scaler.step(sgd);
  EXPECT_EQ(second[0].item<float>(), -1);
  EXPECT_EQ(table[3][0].item<float>(), -2);
  EXPECT_EQ(table[0][0].item<float>(), 1);
}

// The gradient that a step asks for again comes with the scale, too.
TEST(GradScaler, UnscalesWhatAStepEvaluatesAgain) {
  auto w = torch::full({2}, 3.0).set_requires_grad(true);
  torch::optim::LBFGS plain_lbfgs(
      {w}, torch::optim::LBFGSOptions(1).line_search_fn("strong_wolfe"));
  auto scaled_w = torch::full({2}, 3.0).set_requires_grad(true);
  torch::optim::LBFGS lbfgs(
      {scaled_w}, torch::optim::LBFGSOptions(1).line_search_fn("strong_wolfe"));
  const auto loss_of = [](const torch::Tensor& at) {
    return (at.square() * torch::tensor({1.0F, 20.0F})).sum();
  };
  GradScaler scaler(GradScalerOptions().init_scale(256));
  int calls = 0;
  for (int i = 0; i < 3; ++i) {
    plain_lbfgs.step([&] {
      w.mutable_grad() = torch::Tensor();
      const auto loss = loss_of(w);
      loss.backward();
      return loss;
    });
    scaler.step(lbfgs, [&] {
      ++calls;
      scaled_w.mutable_grad() = torch::Tensor();
      const auto loss = loss_of(scaled_w);
      scaler.scale(loss).backward();
      return loss;
    });
    scaler.update();
  }
  EXPECT_GT(calls, 6);
  EXPECT_TRUE(scaled_w.equal(w));
}

TEST(GradScaler, CountsAnOverflowOfALaterEvaluation) {
  auto w = torch::full({2}, 3.0).set_requires_grad(true);
  torch::optim::LBFGS lbfgs({w}, torch::optim::LBFGSOptions(0.1).max_iter(3));
  GradScaler scaler;
  int calls = 0;
  scaler.step(lbfgs, [&] {
    w.mutable_grad() = torch::Tensor();
    const auto loss = w.square().sum();
    scaler.scale(loss * (++calls == 2 ? kNaN : 1)).backward();
    return loss;
  });
  ASSERT_GE(calls, 2);
  scaler.update();
  EXPECT_EQ(scaler.scale(), 32768);
  EXPECT_EQ(scaler.skipped_steps(), 0);
}

TEST(GradScaler, GrowsAndShrinksWithinFloat32) {
  auto w = torch::ones({1});
  torch::optim::SGD sgd({w}, torch::optim::SGDOptions(0));
  const auto iterate = [&](GradScaler& scaler, double gradient) {
    w.mutable_grad() = torch::full({1}, gradient);
    scaler.step(sgd);
    scaler.update();
  };
  GradScaler large(GradScalerOptions().init_scale(0x1p126).growth_interval(1));
  for (int i = 0; i < 4; ++i) iterate(large, 1);
  EXPECT_EQ(large.scale(), 0x1p127);
  GradScaler small(GradScalerOptions().init_scale(0x1p-125));
  for (int i = 0; i < 4; ++i) iterate(small, kNaN);
  EXPECT_EQ(small.scale(), 0x1p-126);
  EXPECT_EQ(small.skipped_steps(), 4);
}

TEST(GradScaler, TakesAScaleThatIsGiven) {
  GradScaler scaler;
  scaler.update(128);
  EXPECT_EQ(scaler.scale(), 128);
  EXPECT_EQ(
      message_of([&] { scaler.update(0); }),
      "GradScaler: new_scale must be a positive normal number of float32, got "
      "0");
  EXPECT_EQ(scaler.scale(), 128);
}

TEST(GradScaler, DoesNothingWhereItIsNotEnabled) {
  ScalerProblem problem;
  ScalerProblem plain;
  torch::optim::SGD sgd(problem.parameters(), 0.1);
  torch::optim::SGD plain_sgd(plain.parameters(), 0.1);
  GradScaler scaler(GradScalerOptions().enabled(false));
  for (const double factor : {1.0, kNaN}) {
    const auto loss = problem.loss(factor);
    EXPECT_TRUE(scaler.scale(loss).is_same(loss));
    problem.set_gradients(scaler, factor);
    scaler.unscale_(sgd);
    scaler.step(sgd);
    scaler.update();
    plain.clear();
    plain.loss(factor).backward();
    plain_sgd.step();
    if (factor == 1) expect_same_point(problem, plain);
  }
  EXPECT_TRUE(problem.parameters()[1].isnan().any().item<bool>());
  EXPECT_EQ(scaler.scale(), 1);
  EXPECT_EQ(scaler.skipped_steps(), 0);
}

class ScalerMisuse : public testing::Test {
 protected:
  ScalerMisuse() : sgd(problem.parameters(), 0.1) {
    problem.set_gradients(scaler);
  }

  ScalerProblem problem;
  torch::optim::SGD sgd;
  GradScaler scaler;
};

TEST_F(ScalerMisuse, AStepTwiceOrAnUnscaleAfterIt) {
  scaler.step(sgd);
  const auto point = problem.point();
  EXPECT_EQ(
      message_of([&] { scaler.step(sgd); }),
      "GradScaler: step: this torch::optim::SGD has been stepped since the "
      "last update(): call update() once after all optimizers have been "
      "stepped");
  EXPECT_THAT(
      message_of([&] { scaler.unscale_(sgd); }),
      HasSubstr("GradScaler: unscale_: this torch::optim::SGD has been "
                "stepped since the last update()"));
  expect_at(problem, point);
  scaler.update();
  problem.set_gradients(scaler);
  scaler.step(sgd);
}

TEST_F(ScalerMisuse, AnUnscaleTwice) {
  scaler.unscale_(sgd);
  const auto before = problem.parameters()[0].grad().clone();
  EXPECT_EQ(
      message_of([&] { scaler.unscale_(sgd); }),
      "GradScaler: unscale_: the gradients of this torch::optim::SGD have "
      "been unscaled since the last update()");
  EXPECT_TRUE(problem.parameters()[0].grad().equal(before));
  EXPECT_THAT(
      message_of([&] { scaler.step(sgd, [] { return torch::ones({}); }); }),
      HasSubstr("GradScaler: step: a closure computes gradients that "
                "unscale_() has not seen"));
  scaler.step(sgd);
  scaler.update();
}

TEST_F(ScalerMisuse, AnUpdateWithoutAStep) {
  EXPECT_EQ(
      message_of([&] { scaler.update(); }),
      "GradScaler: update: no optimizer has been stepped since the last "
      "update()");
  scaler.step(sgd);
  scaler.update();
  EXPECT_THROW(scaler.update(), c10::Error);
  EXPECT_EQ(scaler.growth_tracker(), 1);
}

TEST_F(ScalerMisuse, NoBackward) {
  problem.clear();
  EXPECT_EQ(
      message_of([&] { scaler.step(sgd); }),
      "GradScaler: no parameter of this torch::optim::SGD has a gradient: call "
      "scale(loss).backward() before");
  ClippedSGD clipped(problem.parameters(), ClippedSGDOptions(0.1));
  EXPECT_THAT(
      message_of([&] { scaler.step(clipped); }),
      HasSubstr("no parameter of this ClippedSGD has a gradient"));
  EXPECT_THROW(scaler.update(), c10::Error);
  EXPECT_THAT(
      message_of([&] { scaler.scale(torch::Tensor()); }),
      HasSubstr("GradScaler: scale: the tensor is undefined"));
  // Nothing of it stays.
  problem.set_gradients(scaler);
  scaler.step(sgd);
  scaler.step(clipped);
  scaler.update();
}

TEST_F(ScalerMisuse, Float16GradientsThatWouldVanish) {
  auto w = torch::ones({2}, torch::kHalf);
  w.mutable_grad() = torch::ones({2}, torch::kHalf);
  torch::optim::SGD half({problem.parameters()[0], w}, 0.1);
  const auto before = problem.parameters()[0].grad().clone();
  for (const bool steps : {false, true}) {
    EXPECT_THAT(
        message_of([&] {
          if (steps) {
            scaler.step(half);
          } else {
            scaler.unscale_(half);
          }
        }),
        HasSubstr("GradScaler: unscale_: the gradient of parameter 1 of group "
                  "0 is of float16, and without the scale it would lose"));
  }
  EXPECT_TRUE(problem.parameters()[0].grad().equal(before));
}

TEST_F(ScalerMisuse, AnOptimizerThatCallsBackwardItself) {
  PowerMethodSGD power(problem.parameters());
  EXPECT_THAT(
      message_of([&] { scaler.step(power, [&] { return problem.loss(); }); }),
      HasSubstr("GradScaler: step: PowerMethodSGD calls backward() by itself"));
}

// A step that the optimizer refuses has unscaled the gradients once.
TEST_F(ScalerMisuse, AStepThatIsRefusedMayBeTriedAgain) {
  Lion lion(problem.parameters(), LionOptions(0.01));
  auto& options = static_cast<LionOptions&>(lion.param_groups()[0].options());
  options.lr(-1);
  EXPECT_THROW(scaler.step(lion), c10::Error);
  const auto grad = problem.parameters()[0].grad().clone();
  options.lr(0.01);
  scaler.step(lion);
  EXPECT_TRUE(problem.parameters()[0].grad().equal(grad));

  ClippedSGD clipped(problem.parameters(), ClippedSGDOptions(0.1));
  problem.set_gradients(scaler);
  auto& own =
      static_cast<ClippedSGDOptions&>(clipped.param_groups()[0].options());
  own.lr(-1);
  EXPECT_THROW(scaler.step(clipped), c10::Error);
  own.lr(0.1);
  scaler.step(clipped);
  scaler.update();
  // The scale is in no step but the scaler's.
  problem.clear();
  problem.loss().backward();
  const double norm = clipped.last_grad_norm();
  clipped.step();
  EXPECT_LT(clipped.last_grad_norm(), 10 * norm);
}

TEST(GradScalerState, GoesOnAfterALoadBitForBit) {
  ScalerProblem problem;
  torch::optim::SGD sgd(problem.parameters(), 0.01);
  const auto options = GradScalerOptions().init_scale(300).growth_interval(3);
  const auto iterate = [&](GradScaler& scaler, int i) {
    problem.set_gradients(scaler, i % 5 == 2 ? kNaN : 1);
    scaler.step(sgd);
    scaler.update();
  };
  GradScaler scaler(options);
  for (int i = 0; i < 8; ++i) iterate(scaler, i);
  GradScaler resumed(options);
  load(resumed, saved(scaler));
  EXPECT_EQ(resumed.skipped_steps(), 2);
  EXPECT_EQ(resumed.growth_tracker(), scaler.growth_tracker());
  for (int i = 8; i < 20; ++i) {
    iterate(scaler, i);
    iterate(resumed, i);
    EXPECT_EQ(resumed.scale(), scaler.scale()) << i;
  }
  EXPECT_EQ(saved(resumed), saved(scaler));
}

TEST(GradScalerState, IsRefusedInTheMidstOfAnIteration) {
  ScalerProblem problem;
  torch::optim::SGD sgd(problem.parameters(), 0.01);
  GradScaler scaler;
  problem.set_gradients(scaler);
  scaler.unscale_(sgd);
  EXPECT_THAT(
      message_of([&] { saved(scaler); }),
      HasSubstr("GradScaler: a save must not come between step() or "
                "unscale_() and update()"));
  scaler.step(sgd);
  EXPECT_THROW(saved(scaler), c10::Error);
  scaler.update();
  saved(scaler);
}

torch::serialize::InputArchive archive_of(const GradScaler& scaler) {
  std::istringstream stream(saved(scaler));
  torch::serialize::InputArchive archive;
  archive.load_from(stream);
  return archive;
}

TEST(GradScalerState, MayHaveOtherOptions) {
  const GradScaler file(
      GradScalerOptions().init_scale(16).growth_factor(4).enabled(false));
  GradScaler scaler;
  EXPECT_THAT(
      message_of([&] { load(scaler, saved(file)); }),
      HasSubstr("GradScaler: init_scale is 16 in the file, 65536 here; "
                "growth_factor is 4 in the file, 2 here"));
  EXPECT_EQ(scaler.scale(), 65536);
  auto archive = archive_of(file);
  EXPECT_EQ(scaler.load(archive, OptionsFrom::kProgram).size(), 2U);
  EXPECT_EQ(scaler.scale(), 16);
  EXPECT_EQ(scaler.options().growth_factor(), 2);
  const auto put_back = scaler.keep_options();
  auto again = archive_of(file);
  scaler.load(again, OptionsFrom::kFile);
  EXPECT_EQ(scaler.options().growth_factor(), 4);
  EXPECT_TRUE(scaler.options().enabled());
  put_back();
  EXPECT_EQ(scaler.options().growth_factor(), 2);
}

TEST(GradScalerState, OfSomethingElseIsRefused) {
  ScalerProblem problem;
  torch::optim::SGD sgd(problem.parameters(), 0.01);
  GradScaler scaler;
  EXPECT_THAT(
      message_of([&] { load(scaler, saved(sgd)); }),
      HasSubstr("GradScaler: the archive holds no scaler"));
}

}  // namespace
}  // namespace stepsize
