#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/curvature/coming_operator.h>
#include <stepsize/optim/ada_gc.h>
#include <stepsize/optim/agc.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/value_clip.h>
#include <stepsize/optim/z_clip.h>
#include <stepsize/state/optimizer_state.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/adaptive/optimizer_golden.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

void expect_rule_follows(const std::string& name, const ClipRule& rule) {
  std::shared_ptr<ClippedSGD> last;
  expect_follows_golden(
      name, [&](const std::vector<torch::Tensor>& parameters) {
        const auto sgd = std::make_shared<ClippedSGD>(
            parameters, ClippedSGDOptions(0.1).momentum(0.9));
        sgd->set_clip_rule(rule);
        last = sgd;
        return GoldenRun{
            [sgd](GoldenProblem& problem) {
              problem.set_gradients();
              sgd->step();
              EXPECT_EQ(sgd->skipped_steps(), 0);
            },
            nullptr};
      });
  EXPECT_GT(last->clipped_steps(), 20) << name;
}

TEST(ClipRule, EachFollowsItsReference) {
  expect_rule_follows("value_clip", ValueClip(ValueClipOptions(0.2)));
  expect_rule_follows("agc", AGC(AGCOptions(0.3)));
  expect_rule_follows(
      "z_clip",
      ZClip(ZClipOptions().alpha(0.9).z_thresh(0.5).warmup_steps(5).max_norm(
          kInfinity)));
  expect_rule_follows("ada_gc", AdaGC(AdaGCOptions().warmup_steps(10)));
}

// One update of SGD at a rate of 1 without momentum: what is left of gradients.
std::vector<torch::Tensor> left_of(
    const ClipRule& rule,
    const std::vector<torch::Tensor>& parameters,
    const std::vector<torch::Tensor>& gradients) {
  std::vector<torch::Tensor> leaves;
  for (const auto& parameter : parameters) {
    leaves.push_back(parameter.clone().requires_grad_(true));
  }
  ClippedSGD sgd(leaves, ClippedSGDOptions(1));
  sgd.set_clip_rule(rule);
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    leaves[i].mutable_grad() = gradients[i].clone();
  }
  sgd.step();
  std::vector<torch::Tensor> left;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    EXPECT_TRUE(torch::equal(leaves[i].grad(), gradients[i]));
    left.push_back(parameters[i] - leaves[i].detach());
  }
  return left;
}

TEST(AGC, CutsTheUnitThatIsTooLongAndNoOther) {
  const auto weights =
      torch::tensor({3.0, 4.0, 0.0, 0.0, 6.0, 8.0}, torch::kFloat64)
          .reshape({3, 2});
  const auto gradients =
      torch::tensor({30.0, 40.0, 0.6, 0.8, 0.06, 0.08}, torch::kFloat64)
          .reshape({3, 2});
  const auto left =
      left_of(AGC(AGCOptions(0.1).eps(0.5)), {weights}, {gradients})[0];
  // Bounds .1 * 5, .1 * .5 and .1 * 10.
  const auto expected =
      torch::tensor({0.3, 0.4, 0.03, 0.04, 0.06, 0.08}, torch::kFloat64)
          .reshape({3, 2});
  EXPECT_LT((left - expected).abs().max().item<double>(), 1e-14);
}

TEST(AGC, LeavesTheGroupsBehindTheLastOneAlone) {
  auto x = leaf({1, 1});
  auto y = leaf({1, 1});
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{x});
  groups.emplace_back(std::vector<torch::Tensor>{y});
  ClippedSGD sgd(groups, ClippedSGDOptions(1));
  sgd.set_clip_rule(AGC(AGCOptions(0.1).last_group(0)));
  x.mutable_grad() = torch::full_like(x, 0.5);
  y.mutable_grad() = torch::full_like(y, 0.5);
  sgd.step();
  EXPECT_NEAR(x[0].item<double>(), 0.9, 1e-14);
  EXPECT_EQ(y[0].item<double>(), 0.5);
  EXPECT_EQ(sgd.clipped_steps(), 1);
}

TEST(ValueClip, CutsElements) {
  const auto zeros = torch::zeros({3}, torch::kFloat64);
  const auto gradient = torch::tensor({-3.0, 0.25, 0.75}, torch::kFloat64);
  const auto left =
      left_of(ValueClip(ValueClipOptions(0.5)), {zeros}, {gradient})[0];
  EXPECT_TRUE(
      torch::equal(left, torch::tensor({-0.5, 0.25, 0.5}, torch::kFloat64)));
}

TEST(ZClip, CutsAnOutlierTheMoreTheLongerItIs) {
  // Norms of 1 and 3 in turn: mean 2, deviation 1.
  const auto cut_to = [](double norm) {
    auto x = leaf({0});
    ClippedSGD sgd({x}, ClippedSGDOptions(1));
    sgd.set_clip_rule(
        ZClip(ZClipOptions().warmup_steps(4).max_norm(kInfinity)));
    for (const double length : {1.0, 3.0, 1.0, 3.0}) {
      x.mutable_grad() = torch::full_like(x, length);
      sgd.step();
    }
    const double before = x.item<double>();
    x.mutable_grad() = torch::full_like(x, norm);
    sgd.step();
    return before - x.item<double>();
  };
  EXPECT_EQ(cut_to(4.4), 4.4);
  EXPECT_NEAR(cut_to(7), 2 + 2.5 / (5 / 2.5), 1e-5);
  EXPECT_NEAR(cut_to(102), 2 + 2.5 / (100 / 2.5), 1e-5);
}

TEST(AdaGC, CutsTheParameterWhoseGradientIsUnusual) {
  auto x = leaf({0});
  auto y = leaf({0});
  ClippedSGD sgd({x, y}, ClippedSGDOptions(1));
  sgd.set_clip_rule(AdaGC(AdaGCOptions().warmup_steps(2)));
  const auto step = [&](double gx, double gy) {
    const double before_x = x.item<double>();
    const double before_y = y.item<double>();
    x.mutable_grad() = torch::full_like(x, gx);
    y.mutable_grad() = torch::full_like(y, gy);
    sgd.step();
    return std::make_pair(
        before_x - x.item<double>(), before_y - y.item<double>());
  };
  step(0.3, 0.4);
  const auto left = step(9, 0.4);
  EXPECT_NEAR(left.first, 1.05 * 0.3, 1e-14);
  EXPECT_EQ(left.second, 0.4);
  // Zeros do not make 0 the usual norm.
  step(0, 0.4);
  EXPECT_GT(step(0.3, 0.4).first, 0.29);
}

TEST(ClipRule, GoesOnFromAnArchive) {
  const std::vector<std::shared_ptr<ClipRule>> rules{
      std::make_shared<ZClip>(ZClipOptions().warmup_steps(3)),
      std::make_shared<AdaGC>(AdaGCOptions().warmup_steps(3)),
      std::make_shared<AGC>(AGCOptions(0.1)),
      std::make_shared<ValueClip>(ValueClipOptions(0.1))};
  for (const auto& rule : rules) {
    const auto make = [&](const torch::Tensor& x) {
      auto adamw = std::make_unique<ClippedAdamW>(
          std::vector<torch::Tensor>{x}, ClippedAdamWOptions(0.1));
      adamw->set_clip_rule(*rule);
      return adamw;
    };
    const auto step = [](ClippedAdamW& adamw, torch::Tensor& x, int t) {
      x.mutable_grad() = (x.detach() * (t % 4)).cos() * (1 + t % 3);
      adamw.step();
    };
    auto x = leaf({1, -2});
    const auto whole = make(x);
    for (int t = 0; t < 7; ++t) step(*whole, x, t);
    std::stringstream file;
    torch::save(*whole, file);
    auto y = x.detach().clone().requires_grad_(true);
    const auto resumed = make(y);
    torch::load(*resumed, file);
    EXPECT_EQ(resumed->clip_rule()->state(), whole->clip_rule()->state());
    for (int t = 7; t < 20; ++t) {
      step(*whole, x, t);
      step(*resumed, y, t);
    }
    EXPECT_TRUE(torch::equal(x, y)) << rule->name();
    EXPECT_EQ(resumed->clipped_steps(), whole->clipped_steps());
  }
}

std::string clip_error(const std::function<void()>& call) {
  try {
    call();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "nothing was thrown";
}

TEST(ClipRule, AnArchiveOfAnotherRuleIsRefused) {
  auto x = leaf({1});
  ClippedSGD with({x}, ClippedSGDOptions(1));
  with.set_clip_rule(ZClip());
  ClippedSGD other({x}, ClippedSGDOptions(1));
  other.set_clip_rule(AGC());
  ClippedSGD without({x}, ClippedSGDOptions(1));
  std::stringstream file;
  torch::save(with, file);
  EXPECT_THAT(
      clip_error([&] { torch::load(other, file); }),
      HasSubstr("written with ZClip, and the clip rule here is AGC"));
  file.seekg(0);
  EXPECT_THAT(
      clip_error([&] { torch::load(without, file); }),
      HasSubstr("call set_clip_rule() before"));
}

TEST(ClipRule, SkipsWhatIsNotFiniteAndKeepsItsState) {
  auto x = leaf({1});
  ClippedSGD sgd({x}, ClippedSGDOptions(1));
  sgd.set_clip_rule(ZClip());
  x.mutable_grad() = torch::full_like(x, 0.5);
  sgd.step();
  const auto before = sgd.clip_rule()->state();
  x.mutable_grad() = torch::full_like(x, kNaN);
  sgd.step();
  EXPECT_EQ(sgd.skipped_steps(), 1);
  EXPECT_EQ(sgd.clip_rule()->state(), before);
  EXPECT_EQ(x.item<double>(), 0.5);
}

// 4e308 is beyond a double: the optimizer's own clipping takes such a norm in
// two numbers, a rule cannot.
TEST(ClipRule, SkipsANormBeyondADouble) {
  auto x = leaf({1, 1, 1, 1, 1});
  ClippedSGD sgd({x}, ClippedSGDOptions(1));
  sgd.set_clip_rule(ZClip());
  x.mutable_grad() = torch::full_like(x, 1e308);
  sgd.step();
  EXPECT_EQ(sgd.skipped_steps(), 1);
  EXPECT_EQ(sgd.clip_rule()->state(), ZClip().state());
}

// A rule that leaves no gradient of the second parameter.
class ForgetfulRule : public ValueClip {
 public:
  std::unique_ptr<ClipRule> clone() const override {
    return std::make_unique<ForgetfulRule>(*this);
  }
  ClippedGradients clip(const ClipInput& input) override {
    return {{input.gradients[0], torch::Tensor()}};
  }
};

TEST(ClipRule, ThatLeavesNoGradientIsRefusedBeforeAnyStep) {
  auto x = leaf({1});
  auto y = leaf({1});
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{x});
  groups.emplace_back(std::vector<torch::Tensor>{y});
  ClippedSGD sgd(groups, ClippedSGDOptions(1));
  sgd.set_clip_rule(ForgetfulRule());
  x.mutable_grad() = torch::ones_like(x);
  y.mutable_grad() = torch::ones_like(y);
  EXPECT_THAT(
      clip_error([&] { sgd.step(); }),
      HasSubstr("has left no gradient of parameter 0 of group 1"));
  EXPECT_EQ(x.item<double>(), 1);
}

// Norm 1e3: an element of 1e-4 becomes 1e-7, of which float16 has one digit.
TEST(ClipRule, AFactorOfAllLosesNoDigitsOfHalfPrecision) {
  auto x = torch::zeros({2}, torch::kHalf).requires_grad_(true);
  ClippedSGD sgd({x}, ClippedSGDOptions(1000));
  sgd.set_clip_rule(ZClip(ZClipOptions().warmup_steps(1)));
  x.mutable_grad() = torch::tensor({1000.0, 1e-4}, torch::kHalf);
  sgd.step();
  const double expected =
      x.grad()[1].item<double>();  // 1000 times the factor 1/1000
  EXPECT_NEAR(-x[1].item<double>(), expected, 1e-3 * expected);
}

TEST(ClipRule, ARollbackTakesItsStateBack) {
  auto x = leaf({1});
  ClippedSGD sgd({x}, ClippedSGDOptions(0.1));
  sgd.set_clip_rule(ZClip());
  EXPECT_FALSE(sgd.state_access()->is_by_parameter());
  ClippedSGD plain({x}, ClippedSGDOptions(0.1));
  EXPECT_TRUE(plain.state_access()->is_by_parameter());
}

TEST(ClipRule, RefusesOptionsOutOfRange) {
  EXPECT_THAT(
      clip_error([] { ValueClip rule(ValueClipOptions(0)); }),
      HasSubstr("ValueClip: max_value must be finite and > 0, got 0"));
  EXPECT_THAT(
      clip_error([] { AGC rule(AGCOptions(0.1).last_group(-2)); }),
      HasSubstr("AGC: last_group must be >= -1, got -2"));
  EXPECT_THAT(
      clip_error([] { ZClip rule(ZClipOptions().alpha(1)); }),
      HasSubstr("ZClip: alpha must be"));
  EXPECT_THAT(
      clip_error([] { AdaGC rule(AdaGCOptions().warmup_steps(0)); }),
      HasSubstr("AdaGC: warmup_steps must be"));
  EXPECT_THAT(
      clip_error([] {
        ZClip().restore({1, -1, 0});
      }),
      HasSubstr("no state of that rule"));
  EXPECT_THAT(
      clip_error([] { ValueClip().restore({1}); }),
      HasSubstr("it has no state"));
}

}  // namespace
}  // namespace stepsize::test
