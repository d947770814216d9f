#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/curvature/averaged_vector_policy.h>
#include <stepsize/curvature/edge_policy.h>
#include <stepsize/curvature/polyak_policy.h>
#include <stepsize/curvature/secant_policy.h>
#include <stepsize/curvature/sharpness_policy.h>
#include <stepsize/curvature/step_size_policy.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/clipped_sgd.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "csrc/core/archive.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

// The same rate in every update.
class FixedPolicy : public StepSizePolicy {
 public:
  explicit FixedPolicy(double rate) : rate_(rate) {}
  std::unique_ptr<StepSizePolicy> clone() const override {
    return std::make_unique<FixedPolicy>(*this);
  }
  std::string name() const override { return "FixedPolicy"; }
  std::vector<std::pair<std::string, double>> numbers() const override {
    return {{"rate", rate_}};
  }
  std::string describe() const override { return "rate"; }
  bool due() const override { return false; }
  void gradient_was_cut() override {}
  double next_rate(StepProbe& probe) override {
    return look_ ? probe.gradient_curvature(0.1).value : rate_;
  }
  double rate() const override { return rate_; }
  double curvature() const override { return 0; }
  std::vector<double> state() const override { return {}; }
  void restore(const std::vector<double>& /*state*/) override {}

  void look() { look_ = true; }

 private:
  double rate_;
  bool look_ = false;
};

AutoSGDOptions plain() { return AutoSGDOptions().momentum(0); }

// On lambda x^2 / 2 all is known: the first rate is 2 s (1 - m) / lambda, less
// a tenth without momentum.
TEST(AutoSGD, TakesItsShareOfTheEdgeOfAQuadratic) {
  for (const double m : {0.0, 0.5, 0.9}) {
    auto x = leaf({3});
    AutoSGD sgd({x}, AutoSGDOptions().momentum(m));
    EXPECT_EQ(sgd.current_lr(), 0);
    sgd.step([&] { return (4 * x * x / 2).sum(); });
    const double twice = 2 - 0.2 * (1 - m) * (1 - m);
    EXPECT_NEAR(sgd.current_lr(), twice * (1 - m) / 4, 1e-9) << m;
    EXPECT_NEAR(sgd.policy().curvature(), 4, 1e-8);
    EXPECT_NEAR(x.item<double>(), 3 - sgd.current_lr() * 12, 1e-12);
    EXPECT_NEAR(sgd.last_grad_norm(), 12, 1e-12);
  }
}

TEST(AutoSGD, CoupledDecayAddsToTheCurvature) {
  for (const bool decoupled : {false, true}) {
    auto x = leaf({3});
    AutoSGD sgd({x}, plain().weight_decay(2).decoupled_weight_decay(decoupled));
    sgd.step([&] { return (4 * x * x / 2).sum(); });
    EXPECT_NEAR(sgd.current_lr(), 1.8 / (decoupled ? 4 : 6), 1e-9);
  }
}

// Of 4 x^2 / 2 + 2 x^2 / 2 at 3: a loss of 18 + 9, a slope of 12 + 6. Coupled,
// a policy sees a quadratic of curvature 6, else one of 4.
TEST(AutoSGD, EveryPolicySeesTheLossWithCoupledDecay) {
  for (const bool decoupled : {false, true}) {
    SCOPED_TRACE(decoupled);
    const double lambda = decoupled ? 4 : 6;
    const auto first = [&](const StepSizePolicy& policy) {
      auto x = leaf({3});
      auto unused = leaf({7});
      AutoSGD sgd(
          {x, unused},
          plain().weight_decay(2).decoupled_weight_decay(decoupled),
          policy);
      sgd.step([&] { return (4 * x * x / 2).sum(); });
      EXPECT_EQ(unused.item<double>(), 7);
      return std::pair(sgd.current_lr(), sgd.policy().curvature());
    };
    // lambda x^2 / 2 over (lambda x)^2.
    EXPECT_NEAR(first(PolyakPolicy()).first, 0.5 / lambda, 1e-12);
    // Differences of gradients.
    EXPECT_NEAR(first(SecantPolicy()).second, lambda, 1e-8);
    EXPECT_NEAR(first(SharpnessPolicy()).second, lambda, 1e-8);
    EXPECT_NEAR(first(AveragedVectorPolicy()).second, lambda, 1e-8);
    EXPECT_NEAR(first(EdgePolicy()).second, lambda, 1e-8);
  }
}

// 1 / 1000 of the loss of 27 along a slope of 18.
TEST(AutoSGD, TheFirstProbeGoesDownAShareOfTheLossWithDecay) {
  auto x = leaf({3});
  AutoSGD sgd({x}, plain().weight_decay(2));
  std::vector<double> points;
  sgd.step([&] {
    points.push_back(x.item<double>());
    return (4 * x * x / 2).sum();
  });
  ASSERT_GE(points.size(), 2U);
  EXPECT_NEAR(points[1], 3 - 1e-3 * 27 / 18, 1e-12);
}

// With factors 0.5 and 1.5 the direction is (g_1 / 3, g_2): of curvatures 1 and
// 2 at (1, 1) g = (1, 2), and the rate of the larger one is g.d / d'Hd.
TEST(AutoSGD, GroupsKeepTheRatioOfTheirFactors) {
  auto x = leaf({1});
  auto y = leaf({1});
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(
      std::vector<at::Tensor>{x},
      std::make_unique<AutoSGDOptions>(plain().lr(0.5)));
  groups.emplace_back(
      std::vector<at::Tensor>{y},
      std::make_unique<AutoSGDOptions>(plain().lr(1.5)));
  AutoSGD sgd(groups, plain());
  sgd.step([&] { return (x * x / 2 + y * y).sum(); });
  const double slope = 1.0 / 3 + 2 * 2;
  const double bend = 1.0 / 9 + 2 * 4;
  EXPECT_NEAR(sgd.policy().rate(), 1.8 * slope / bend, 1e-9);
  EXPECT_NEAR(sgd.current_lr(0), 0.5 * sgd.policy().rate(), 1e-12);
  EXPECT_NEAR(sgd.current_lr(1), 1.5 * sgd.policy().rate(), 1e-12);
}

// What a scheduler does to all groups changes no measurement.
TEST(AutoSGD, AFactorMultipliesTheRateAndNothingElse) {
  for (const double factor : {1e-300, 1e-3, 1.0, 2.0}) {
    auto x = leaf({3});
    AutoSGD sgd({x}, plain().lr(factor));
    sgd.step([&] { return (4 * x * x / 2).sum(); });
    EXPECT_NEAR(sgd.policy().rate(), 0.45, 1e-9);
    EXPECT_NEAR(sgd.current_lr(), factor * 0.45, 1e-9 * factor);
  }
  auto x = leaf({3});
  AutoSGD still({x}, plain().lr(0));
  still.step([&] { return (4 * x * x / 2).sum(); });
  EXPECT_NEAR(still.policy().rate(), 0.45, 1e-9);
  EXPECT_EQ(x.item<double>(), 3);
}

struct NoisyNet : torch::nn::Module {
  NoisyNet() {
    first = register_module("first", torch::nn::Linear(6, 8));
    norm = register_module("norm", torch::nn::BatchNorm1d(8));
    last = register_module("last", torch::nn::Linear(8, 3));
  }
  torch::Tensor loss(const torch::Tensor& x, const torch::Tensor& y) {
    auto hidden = norm(first(x)).tanh();
    hidden = torch::dropout(hidden, 0.3, /*train=*/true);
    return torch::cross_entropy_loss(last(hidden), y);
  }
  torch::nn::Linear first{nullptr};
  torch::nn::BatchNorm1d norm{nullptr};
  torch::nn::Linear last{nullptr};
};

std::unique_ptr<StepSizePolicy> policy_named(const std::string& name) {
  if (name == "edge") {
    // Low enough for no gradient to be cut.
    return std::make_unique<EdgePolicy>(EdgePolicyOptions().safety(0.2));
  }
  if (name == "secant") return std::make_unique<SecantPolicy>();
  return std::make_unique<PolyakPolicy>();
}

// Probes leave nothing behind: SGD at the same rates goes the same way to the
// bit, with dropout and BatchNorm.
TEST(AutoSGD, IsSGDAtTheRatesOfItsPolicy) {
  for (const std::string name : {"edge", "secant", "polyak"}) {
    SCOPED_TRACE(name);
    torch::manual_seed(1);
    auto ours = std::make_shared<NoisyNet>();
    torch::manual_seed(1);
    auto theirs = std::make_shared<NoisyNet>();
    AutoSGD sgd(
        ours->parameters(),
        AutoSGDOptions().momentum(0.9).weight_decay(1e-3).buffers(
            ours->buffers()),
        *policy_named(name));
    ClippedSGD reference(
        theirs->parameters(),
        ClippedSGDOptions(0).momentum(0.9).weight_decay(1e-3).max_norm(
            std::numeric_limits<double>::infinity()));
    torch::manual_seed(2);
    std::vector<std::pair<torch::Tensor, torch::Tensor>> batches;
    for (int i = 0; i < 40; ++i) {
      batches.emplace_back(torch::randn({16, 6}), torch::randint(3, {16}));
    }
    std::vector<double> rates;
    std::vector<double> losses;
    torch::manual_seed(3);
    for (const auto& [x, y] : batches) {
      losses.push_back(
          sgd.step([&, &x = x, &y = y] { return ours->loss(x, y); })
              .item<double>());
      rates.push_back(sgd.current_lr());
    }
    ASSERT_EQ(sgd.cut_steps(), 0);
    torch::manual_seed(3);
    for (std::size_t i = 0; i < batches.size(); ++i) {
      const auto& [x, y] = batches[i];
      reference.param_groups()[0].options().set_lr(rates[i]);
      reference.zero_grad();
      auto loss = theirs->loss(x, y);
      loss.backward();
      reference.step();
      EXPECT_EQ(loss.item<double>(), losses[i]) << i;
    }
    for (std::size_t i = 0; i < ours->parameters().size(); ++i) {
      EXPECT_TRUE(torch::equal(ours->parameters()[i], theirs->parameters()[i]));
    }
    for (std::size_t i = 0; i < ours->buffers().size(); ++i) {
      EXPECT_TRUE(torch::equal(ours->buffers()[i], theirs->buffers()[i]));
    }
    EXPECT_FALSE(ours->first->weight.grad().defined());
  }
}

TEST(AutoSGD, CountsWhatItAsksFor) {
  auto x = leaf({1, -2});
  AutoSGD edge({x});
  int calls = 0;
  const auto loss = [&] {
    ++calls;
    return (torch::tensor({1.0, 5.0}, torch::kFloat64) * x * x).sum() + 1;
  };
  for (int i = 0; i < 100; ++i) edge.step(loss);
  EXPECT_EQ(edge.extra_losses(), calls - 100);
  EXPECT_EQ(edge.extra_gradients(), 0);
  // Ten at the start, and 10 + 2, 4, 8, 16, 20, 20 ... later; two each, the
  // first update's aside.
  EXPECT_LE(edge.extra_losses(), 2 * 17 + 16);
  EXPECT_GE(edge.extra_losses(), 2 * 15);
  AutoSGD secant({x}, AutoSGDOptions(), SecantPolicy());
  calls = 0;
  for (int i = 0; i < 20; ++i) secant.step(loss);
  EXPECT_EQ(calls, 40);
  EXPECT_EQ(secant.extra_gradients(), 20);
}

// A gradient ten times as long as usual moves twice as far as usual.
TEST(AutoSGD, CutsAGradientThatIsFarTooLong) {
  auto x = leaf({0});
  AutoSGD sgd({x}, plain(), FixedPolicy(0.5));
  double slope = 1;
  const auto loss = [&] { return (slope * x).sum(); };
  for (int i = 0; i < 5; ++i) sgd.step(loss);
  EXPECT_NEAR(x.item<double>(), -2.5, 1e-12);
  slope = 10;
  sgd.step(loss);
  EXPECT_NEAR(x.item<double>(), -3.5, 1e-12);
  EXPECT_EQ(sgd.cut_steps(), 1);
  EXPECT_EQ(sgd.last_grad_norm(), 10);
}

TEST(AutoSGD, LeavesOutWhatIsNotFinite) {
  auto x = leaf({1});
  AutoSGD sgd({x}, plain());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  sgd.step([&] { return (x * nan).sum(); });
  EXPECT_EQ(x.item<double>(), 1);
  EXPECT_EQ(sgd.skipped_steps(), 1);
  sgd.step([&] { return (x * x).sum(); });
  EXPECT_NE(x.item<double>(), 1);
  EXPECT_EQ(sgd.skipped_steps(), 1);
}

// The loss does not depend on the first coordinate, and decay does.
TEST(AutoSGD, LeavesOutADecayThatIsNotFinite) {
  std::vector<std::unique_ptr<StepSizePolicy>> policies;
  policies.push_back(std::make_unique<EdgePolicy>());
  policies.push_back(std::make_unique<SecantPolicy>());
  policies.push_back(std::make_unique<PolyakPolicy>());
  policies.push_back(std::make_unique<AveragedVectorPolicy>());
  policies.push_back(std::make_unique<SharpnessPolicy>());
  for (const auto& policy : policies) {
    for (const double value : {kNaN, kInfinity}) {
      SCOPED_TRACE(policy->name() + " at " + std::to_string(value));
      auto x = leaf({value, 1});
      AutoSGD sgd({x}, plain().weight_decay(2), *policy);
      sgd.step([&] { return 3 * x[1]; });
      EXPECT_EQ(x[1].item<double>(), 1);
      EXPECT_EQ(sgd.skipped_steps(), 1);
      EXPECT_EQ(sgd.last_grad_norm(), 3);
      EXPECT_EQ(sgd.policy().state(), policy->state());
    }
  }
}

// Says the loss that it is told, and no rate.
class LossReader : public FixedPolicy {
 public:
  explicit LossReader(double& loss) : FixedPolicy(0), loss_(&loss) {}
  std::unique_ptr<StepSizePolicy> clone() const override {
    return std::make_unique<LossReader>(*this);
  }
  double next_rate(StepProbe& probe) override {
    *loss_ = probe.loss();
    return 0;
  }

 private:
  double* loss_;
};

// 3 / 2 (1e154)^2 is 1.5e308, of at most 1.8e308.
TEST(AutoSGD, TheLossWithDecayIsFinite) {
  constexpr double kLarge = 1e154;
  for (const double loss : {0.0, 1.2e308}) {
    auto x = leaf({kLarge});
    double seen = 0;
    AutoSGD sgd({x}, plain().weight_decay(3), LossReader(seen));
    sgd.step([&] { return (0 * x).sum() + loss; });
    if (loss == 0) {
      EXPECT_DOUBLE_EQ(seen, 1.5 * (kLarge * kLarge));
    } else {
      EXPECT_EQ(seen, std::numeric_limits<double>::max());
    }
    EXPECT_EQ(sgd.skipped_steps(), 0);
  }
}

TEST(AutoSGD, WaitsOnFlatGround) {
  auto x = leaf({2});
  AutoSGD sgd({x});
  for (int i = 0; i < 3; ++i) sgd.step([&] { return (0 * x).sum(); });
  EXPECT_EQ(x.item<double>(), 2);
  EXPECT_EQ(sgd.current_lr(), 0);
  sgd.step([&] { return (x * x).sum(); });
  EXPECT_GT(sgd.current_lr(), 0);
}

TEST(AutoSGD, ASpikeOfCurvatureIsBounded) {
  auto x = leaf({1, 1});
  AutoSGD sgd({x});
  double lambda = 1;
  const auto loss = [&] {
    return (torch::tensor({lambda, 0.1}, torch::kFloat64) * x * x).sum() / 2 +
           1;
  };
  for (int i = 0; i < 200; ++i) sgd.step(loss);
  const double before = sgd.current_lr();
  lambda = 1000;
  {
    const torch::NoGradGuard no_grad;
    x.fill_(1e-3);
  }
  double highest = 0;
  for (int i = 0; i < 200; ++i) {
    highest = std::max(highest, sgd.step(loss).item<double>());
  }
  // Heavy ball's limit.
  EXPECT_LT(sgd.current_lr() * lambda, 3.8);
  EXPECT_LT(sgd.current_lr(), before / 50);
  EXPECT_LT(highest, 1 + 1e3);
  EXPECT_NEAR(loss().item<double>(), 1, 1e-3);
}

// y^2 (1 + x^2) / 2 - x / 10: the sharpness 1 + x^2 grows on the way down.
TEST(AutoSGD, FollowsAValleyThatGetsSharper) {
  for (const double m : {0.0, 0.9}) {
    auto p = leaf({0, 1});
    AutoSGD sgd({p}, AutoSGDOptions().momentum(m));
    double loss = 0;
    double highest = 0;
    for (int i = 0; i < 400; ++i) {
      loss = sgd.step([&] {
                  return p[1].square() * (1 + p[0].square()) / 2 - p[0] / 10;
                })
                 .item<double>();
      highest = std::max(highest, loss);
    }
    const double x = p[0].item<double>();
    EXPECT_GT(x, 2) << m;
    EXPECT_LT(loss, -0.15) << m;
    // It began at 0.5.
    EXPECT_LT(highest, 1) << m;
  }
}

// Logistic regression in one dimension: log(1 + exp(-x)) + x^2 / 20, whose
// optimum solves x = 10 / (1 + exp(x)).
TEST(AutoSGD, FindsTheOptimumOfALogisticRegression) {
  double optimum = 1;
  for (int i = 0; i < 200; ++i) {
    optimum -=
        (optimum - 10 / (1 + std::exp(optimum))) /
        (1 + 10 * std::exp(optimum) / std::pow(1 + std::exp(optimum), 2));
  }
  for (const double m : {0.0, 0.9}) {
    auto x = leaf({-3});
    AutoSGD sgd({x}, AutoSGDOptions().momentum(m));
    for (int i = 0; i < 500; ++i) {
      sgd.step(
          [&] { return (torch::log1p(torch::exp(-x)) + x * x / 20).sum(); });
    }
    EXPECT_NEAR(x.item<double>(), optimum, 1e-5) << m;
  }
}

std::string bytes_of(const AutoSGD& sgd) {
  std::ostringstream stream;
  torch::save(sgd, stream);
  return stream.str();
}

TEST(AutoSGD, RefusesTheArchiveOfAnotherPolicy) {
  auto x = leaf({1});
  AutoSGD edge({x});
  edge.step([&] { return (x * x).sum(); });
  AutoSGD secant({x}, AutoSGDOptions(), SecantPolicy());
  std::istringstream stream(bytes_of(edge));
  EXPECT_THAT(
      message_of([&] { torch::load(secant, stream); }),
      HasSubstr("AutoSGD: the archive was written with EdgePolicy, and the "
                "policy here is SecantPolicy"));
}

// A share and an interval that are not the defaults, where there are any.
std::vector<std::unique_ptr<StepSizePolicy>> careful_policies() {
  std::vector<std::unique_ptr<StepSizePolicy>> all;
  all.push_back(std::make_unique<EdgePolicy>(
      EdgePolicyOptions().safety(0.25).max_interval(2)));
  all.push_back(std::make_unique<SecantPolicy>(
      SecantPolicyOptions().safety(0.25).interval(7)));
  all.push_back(
      std::make_unique<PolyakPolicy>(PolyakPolicyOptions().divisor(4)));
  all.push_back(std::make_unique<AveragedVectorPolicy>(
      AveragedVectorPolicyOptions().safety(0.25).interval(3)));
  all.push_back(std::make_unique<SharpnessPolicy>(
      SharpnessPolicyOptions().start_products(3).tracker(
          SharpnessTrackerOptions().safety(0.25).max_interval(2))));
  return all;
}

std::unique_ptr<StepSizePolicy> default_of(const std::string& name) {
  if (name == "EdgePolicy") return std::make_unique<EdgePolicy>();
  if (name == "SecantPolicy") return std::make_unique<SecantPolicy>();
  if (name == "PolyakPolicy") return std::make_unique<PolyakPolicy>();
  if (name == "SharpnessPolicy") return std::make_unique<SharpnessPolicy>();
  return std::make_unique<AveragedVectorPolicy>();
}

// One that is resumed with the defaults goes on as one that never ended.
TEST(AutoSGD, ALoadTakesThePolicysOptionsOver) {
  for (const auto& policy : careful_policies()) {
    SCOPED_TRACE(policy->name());
    auto x = leaf({1, -2});
    auto y = leaf({0, 0});
    AutoSGD saved({x}, AutoSGDOptions(), *policy);
    AutoSGD resumed({y}, AutoSGDOptions(), *default_of(policy->name()));
    const auto loss_of = [](const torch::Tensor& at) {
      return (torch::tensor({1.0, 5.0}, torch::kFloat64) * at * at).sum() +
             at.exp().sum();
    };
    for (int i = 0; i < 5; ++i) saved.step([&] { return loss_of(x); });
    EXPECT_NE(resumed.policy().numbers(), policy->numbers());
    std::istringstream stream(bytes_of(saved));
    torch::load(resumed, stream);
    EXPECT_EQ(resumed.policy().numbers(), policy->numbers());
    {
      const torch::NoGradGuard no_grad;
      y.copy_(x);
    }
    for (int i = 0; i < 20; ++i) {
      saved.step([&] { return loss_of(x); });
      resumed.step([&] { return loss_of(y); });
      EXPECT_EQ(resumed.current_lr(), saved.current_lr()) << i;
    }
    EXPECT_TRUE(torch::equal(x, y));
  }
}

TEST(AutoSGD, SaysWhichOptionOfAPolicyCannotBeTakenOver) {
  auto x = leaf({1});
  AutoSGD saved({x}, AutoSGDOptions(), FixedPolicy(0.5));
  AutoSGD other({x}, AutoSGDOptions(), FixedPolicy(0.25));
  std::istringstream stream(bytes_of(saved));
  EXPECT_THAT(
      message_of([&] { torch::load(other, stream); }),
      HasSubstr("FixedPolicy: rate is 0.25 and cannot become 0.5"));
  AutoSGD alike({x}, AutoSGDOptions(), FixedPolicy(0.5));
  std::istringstream again(bytes_of(saved));
  torch::load(alike, again);
  EXPECT_EQ(alike.policy().rate(), 0.5);
}

// Writes other values of its policy's one option.
class OddlySaved : public AutoSGD {
 public:
  OddlySaved(std::vector<torch::Tensor> parameters, std::vector<double> values)
      : AutoSGD(std::move(parameters), AutoSGDOptions(), FixedPolicy(0.5)),
        values_(std::move(values)) {}

 protected:
  void save_counters(torch::serialize::OutputArchive& archive) const override {
    detail::write_string(archive, "policy", "FixedPolicy");
    detail::write_string(archive, "policy_options", "rate\n");
    detail::write_doubles(archive, "policy_option_values", values_);
    detail::write_doubles(archive, "policy_state", {});
    for (const char* const name :
         {"extra_losses", "extra_gradients", "cut_steps"}) {
      detail::write_int(archive, name, 0);
    }
    MeasuredSGD::save_counters(archive);
  }

 private:
  std::vector<double> values_;
};

TEST(AutoSGD, ReadsAsManyValuesAsOptionsOfAPolicy) {
  const auto refusal = [](const std::vector<double>& values) {
    auto x = leaf({1});
    const OddlySaved written({x}, values);
    AutoSGD sgd({x}, AutoSGDOptions(), FixedPolicy(0.5));
    std::istringstream stream(bytes_of(written));
    return message_of([&] { torch::load(sgd, stream); });
  };
  EXPECT_EQ(refusal({0.5}), "nothing was thrown");
  EXPECT_THAT(
      refusal({}),
      HasSubstr("AutoSGD: the archive has 0 values of 1 options of the "
                "policy"));
  EXPECT_THAT(
      refusal({0.5, 1}),
      HasSubstr("AutoSGD: the archive has 2 values of 1 options of the "
                "policy"));
}

// Three updates of 2 |x|^2 at a safety of 0.5, from before the policy's options
// were kept: those here stay.
TEST(AutoSGD, ReadsAnArchiveWithoutThePolicysOptions) {
  auto x = leaf({1, -2});
  AutoSGD sgd(
      {x}, AutoSGDOptions(), EdgePolicy(EdgePolicyOptions().safety(0.75)));
  torch::load(sgd, STEPSIZE_OPTIM_FILES "/auto_sgd.pt");
  EXPECT_NEAR(sgd.policy().curvature(), 4, 1e-12);
  EXPECT_EQ(
      sgd.policy().numbers().front(),
      (std::pair<std::string, double>("safety", 0.75)));
  const auto& group = sgd.param_groups()[0].options();
  EXPECT_EQ(static_cast<const AutoSGDOptions&>(group).momentum(), 0.5);
}

TEST(AutoSGD, SaysWhatIsWrongWithAClosure) {
  auto x = leaf({1});
  AutoSGD sgd({x});
  EXPECT_THAT(
      message_of([&] { sgd.step(); }),
      HasSubstr("AutoSGD: step() wants a closure"));
  EXPECT_THAT(
      message_of([&] { sgd.step([&] { return x.detach().sum(); }); }),
      HasSubstr("AutoSGD: the closure must return the loss as a scalar"));
  EXPECT_THAT(
      message_of([&] {
        sgd.step([&] {
          auto loss = (x * x).sum();
          loss.backward();
          return loss;
        });
      }),
      HasSubstr("backward()"));
  EXPECT_THAT(
      message_of([&] {
        sgd.step([&] { return (x * x).sum().to(torch::kBFloat16); });
      }),
      HasSubstr("AutoSGD: the loss must be of Float or Double, got BFloat16"));
  EXPECT_EQ(x.item<double>(), 1);
  auto half = torch::ones({2}, torch::kBFloat16).requires_grad_();
  AutoSGD halves({half});
  EXPECT_THAT(
      message_of([&] { halves.step([&] { return half.sum(); }); }),
      HasSubstr("AutoSGD: parameters must be of Float or Double, got "
                "BFloat16 in group 0"));
}

// What throws in a probe has moved nothing.
TEST(AutoSGD, PutsAllBackWhereAProbeThrows) {
  auto x = leaf({1, 2});
  AutoSGD sgd({x});
  int calls = 0;
  const auto loss = [&] {
    TORCH_CHECK(++calls < 3, "the data ended");
    return (x * x).sum();
  };
  EXPECT_THAT(message_of([&] { sgd.step(loss); }), HasSubstr("the data ended"));
  EXPECT_TRUE(torch::equal(x, leaf({1, 2})));
  EXPECT_EQ(sgd.policy().state(), EdgePolicy().state());
}

TEST(AutoSGD, RefusesARateThatIsNone) {
  auto x = leaf({1});
  for (const double rate : {-1.0, std::numeric_limits<double>::infinity()}) {
    AutoSGD sgd({x}, AutoSGDOptions(), FixedPolicy(rate));
    EXPECT_THAT(
        message_of([&] { sgd.step([&] { return (x * x).sum(); }); }),
        HasSubstr("AutoSGD: FixedPolicy says a rate of "));
    EXPECT_EQ(x.item<double>(), 1);
    EXPECT_TRUE(std::isnan(sgd.last_grad_norm()));
  }
}

// A gradient of zeros leaves a vector that later products go on from.
TEST(AutoSGD, AVectorIsNotLostWhereTheLossIsALine) {
  auto x = leaf({1, 1});
  AutoSGD sgd({x}, plain(), AveragedVectorPolicy());
  sgd.step([&] { return x.sum(); });
  EXPECT_EQ(sgd.current_lr(), 0);
  for (int i = 0; i < 3; ++i) sgd.step([&] { return (4 * x * x / 2).sum(); });
  EXPECT_NEAR(sgd.policy().curvature(), 4, 1e-3);
}

TEST(AutoSGD, SaysWhichPolicyMeasuresOutOfTurn) {
  auto x = leaf({1});
  FixedPolicy policy(0.1);
  policy.look();
  AutoSGD sgd({x}, AutoSGDOptions(), policy);
  EXPECT_THAT(
      message_of([&] { sgd.step([&] { return (x * x).sum(); }); }),
      HasSubstr("AutoSGD: FixedPolicy asks for a measurement in an update for "
                "which due() was false"));
}

}  // namespace
}  // namespace stepsize::test
