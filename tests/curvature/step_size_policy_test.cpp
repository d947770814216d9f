#include <stepsize/curvature/averaged_vector_policy.h>
#include <stepsize/curvature/edge_policy.h>
#include <stepsize/curvature/polyak_policy.h>
#include <stepsize/curvature/secant_policy.h>
#include <stepsize/curvature/sharpness_policy.h>
#include <stepsize/curvature/step_size_policy.h>

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/error_text.h"

namespace stepsize {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Heavy ball on sum_i lambda_i x_i^2 / 2, whose numbers are all known.
class Quadratic : public StepProbe {
 public:
  Quadratic(
      std::vector<double> lambdas, std::vector<double> start, double momentum)
      : lambdas_(std::move(lambdas)),
        x_(std::move(start)),
        buffer_(x_.size(), 0),
        vector_(x_.size(), 1),
        momentum_(momentum) {}

  double loss() override {
    double sum = floor;
    for (std::size_t i = 0; i < x_.size(); ++i) {
      sum += lambdas_[i] * x_[i] * x_[i] / 2;
    }
    return sum;
  }
  double momentum() override { return momentum_; }
  double gradient_square() override { return dot(gradient(), gradient()); }
  double slope() override { return dot(gradient(), direction()); }
  double update_square() override { return dot(direction(), direction()); }
  ProbedCurvature gradient_curvature(double step) override {
    ++losses;
    return bend(gradient(), step);
  }
  ProbedCurvature update_curvature(double step) override {
    ++losses;
    return bend(direction(), step);
  }
  double gradient_change(double step) override {
    EXPECT_GT(step, 0);
    ++gradients;
    const auto along = direction();
    std::vector<double> change;
    for (std::size_t i = 0; i < x_.size(); ++i) {
      change.push_back(lambdas_[i] * along[i]);
    }
    return std::sqrt(dot(change, change) / dot(along, along));
  }
  double averaged_product(double weight) override {
    ++gradients;
    const double length = std::sqrt(dot(vector_, vector_));
    for (std::size_t i = 0; i < x_.size(); ++i) {
      vector_[i] = (1 - weight) * vector_[i] +
                   weight * lambdas_[i] * vector_[i] / length;
    }
    return std::sqrt(dot(vector_, vector_));
  }

  void move(double rate) {
    const auto along = direction();
    for (std::size_t i = 0; i < x_.size(); ++i) {
      buffer_[i] = along[i];
      x_[i] -= rate * along[i];
    }
  }

  double floor = 0;
  double resolution = 0;
  // Beyond a step of this length along the gradient the loss is infinite.
  double cliff = kInfinity;
  int losses = 0;
  int gradients = 0;

 private:
  static double dot(
      const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  }
  std::vector<double> gradient() const {
    std::vector<double> g;
    for (std::size_t i = 0; i < x_.size(); ++i) {
      g.push_back(lambdas_[i] * x_[i]);
    }
    return g;
  }
  std::vector<double> direction() const {
    std::vector<double> u = gradient();
    for (std::size_t i = 0; i < x_.size(); ++i) {
      u[i] += momentum_ * buffer_[i];
    }
    return u;
  }
  ProbedCurvature bend(const std::vector<double>& along, double step) const {
    EXPECT_GT(step, 0);
    double sum = 0;
    for (std::size_t i = 0; i < x_.size(); ++i) {
      sum += lambdas_[i] * along[i] * along[i];
    }
    return {step > cliff ? kInfinity : sum, resolution};
  }

  std::vector<double> lambdas_;
  std::vector<double> x_;
  std::vector<double> buffer_;
  std::vector<double> vector_;
  double momentum_;
};

double run(StepSizePolicy& policy, Quadratic& problem, int updates) {
  for (int i = 0; i < updates; ++i) problem.move(policy.next_rate(problem));
  return problem.loss();
}

TEST(EdgePolicy, TakesItsShareOfTheEdgeInOneDimension) {
  for (const double safety : {0.25, 0.5, 0.9}) {
    Quadratic problem({4}, {1}, 0);
    EdgePolicy policy(EdgePolicyOptions().safety(safety));
    EXPECT_NEAR(policy.next_rate(problem), 0.9 * 2 * safety / 4, 1e-12);
    EXPECT_NEAR(policy.curvature(), 4, 1e-12);
  }
}

TEST(EdgePolicy, ComesToTheSameRateFromAnyScale) {
  for (const double lambda : {1e-8, 1e-3, 1.0, 1e5, 1e12}) {
    Quadratic problem({lambda}, {3}, 0);
    EdgePolicy policy(EdgePolicyOptions().safety(0.9));
    EXPECT_NEAR(policy.next_rate(problem) * lambda, 1.62, 1e-9) << lambda;
  }
}

// With heavy ball's m the gradient's bound is the geometric mean of the limits
// 2 (1 - m) and 2 (1 + m).
TEST(EdgePolicy, IsBetweenTheLimitsOfMomentum) {
  for (const double m : {0.5, 0.9, 0.99}) {
    Quadratic problem({1}, {1}, m);
    EdgePolicy policy(EdgePolicyOptions().safety(0.9));
    const double first = policy.next_rate(problem);
    const double twice = 1.8 * (1 - 0.1 * (1 - m) * (1 - m));
    EXPECT_NEAR(first, twice * (1 - m), 1e-9) << m;
    double most = first;
    for (int i = 0; i < 200; ++i) {
      problem.move(policy.rate());
      most = std::max(most, policy.next_rate(problem));
    }
    EXPECT_LE(most, twice * std::sqrt(1 - m * m) * (1 + 1e-9)) << m;
    EXPECT_TRUE(m < 0.9 || most > 3 * twice * (1 - m)) << m;
  }
}

TEST(EdgePolicy, DescendsQuadraticsOfAnyCondition) {
  for (const double m : {0.0, 0.5, 0.9}) {
    for (const double condition : {1.0, 10.0, 1000.0}) {
      Quadratic problem({1, std::sqrt(condition), condition}, {1, -2, 0.5}, m);
      const double start = problem.loss();
      EdgePolicy policy(EdgePolicyOptions().safety(0.9));
      EXPECT_LT(run(policy, problem, 2000), 1e-2 * start)
          << m << ' ' << condition;
    }
  }
}

TEST(EdgePolicy, MeasuresTheFirstUpdatesAndThenSeldom) {
  Quadratic problem({1, 3}, {1, 1}, 0.9);
  problem.floor = 1;
  EdgePolicy policy(EdgePolicyOptions().start_measurements(4).max_interval(8));
  std::vector<int> measured;
  for (int i = 0; i < 40; ++i) {
    const int before = problem.losses;
    const bool due = policy.due();
    problem.move(policy.next_rate(problem));
    EXPECT_EQ(due, problem.losses > before) << i;
    if (due) measured.push_back(i);
  }
  EXPECT_EQ(measured, (std::vector<int>{0, 1, 2, 3, 5, 9, 17, 25, 33}));
  EXPECT_EQ(problem.gradients, 0);
}

TEST(EdgePolicy, CalmsDownWhereAGradientWasCut) {
  Quadratic problem({3}, {1}, 0);
  EdgePolicy policy(EdgePolicyOptions().start_measurements(1));
  for (int i = 0; i < 8; ++i) policy.next_rate(problem);
  while (policy.due()) policy.next_rate(problem);
  const double rate = policy.rate();
  policy.gradient_was_cut();
  EXPECT_TRUE(policy.due());
  EXPECT_EQ(policy.rate(), 0.5 * rate);
  // And comes back by 2% an update.
  EXPECT_NEAR(policy.next_rate(problem), 1.02 * 0.5 * rate, 1e-9);
  for (int i = 0; i < 40; ++i) policy.next_rate(problem);
  EXPECT_NEAR(policy.rate(), rate, 1e-9);
  for (int i = 0; i < 9; ++i) policy.gradient_was_cut();
  EXPECT_NEAR(policy.rate(), 0.3 * rate, 1e-9);
}

TEST(EdgePolicy, GrowsByItsFactorAtMost) {
  Quadratic problem({1}, {1}, 0);
  EdgePolicy policy(
      EdgePolicyOptions().safety(0.9).lr_growth(1.05).memory(0).average(0));
  double last = policy.next_rate(problem);
  Quadratic flat({0.001}, {1}, 0);
  for (int i = 0; i < 30; ++i) {
    const double rate = policy.next_rate(flat);
    EXPECT_LE(rate, 1.05 * last * (1 + 1e-12));
    EXPECT_GT(rate, last);
    last = rate;
  }
  EXPECT_NEAR(last, 1.62 * std::pow(1.05, 30), 1e-9);
}

TEST(EdgePolicy, StaysBelowTheLargestRate) {
  Quadratic problem({0.01}, {1}, 0);
  EdgePolicy policy(EdgePolicyOptions().max_lr(0.5));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(policy.next_rate(problem), 0.5);
}

TEST(EdgePolicy, ASharperCurvatureCountsAtOnceAndAFlatterOneSlowly) {
  Quadratic problem({1}, {1}, 0);
  EdgePolicy policy(EdgePolicyOptions().memory(0.75));
  policy.next_rate(problem);
  Quadratic sharp({10}, {1}, 0);
  policy.next_rate(sharp);
  EXPECT_NEAR(policy.curvature(), 10, 1e-12);
  policy.next_rate(problem);
  EXPECT_NEAR(policy.curvature(), 0.75 * 10 + 0.25 * 1, 1e-12);
}

TEST(EdgePolicy, TakesACurvatureThatRoundingHidesForASmallerOne) {
  Quadratic problem({2}, {1}, 0);
  EdgePolicy policy(EdgePolicyOptions().safety(0.9));
  const double rate = policy.next_rate(problem);
  Quadratic blurred({100}, {1}, 0);
  blurred.resolution = 1e9;
  EXPECT_GT(policy.next_rate(blurred), rate);
  EXPECT_NEAR(policy.curvature(), 0.7 * 2, 1e-12);
}

TEST(EdgePolicy, HalvesTheRateAtACliffAndLooksAgain) {
  Quadratic problem({1}, {1}, 0);
  EdgePolicy policy(EdgePolicyOptions().safety(0.9));
  const double rate = policy.next_rate(problem);
  problem.cliff = rate / 20;
  EXPECT_NEAR(policy.next_rate(problem), rate / 2, 1e-12);
  EXPECT_TRUE(policy.due());
  EXPECT_NEAR(policy.next_rate(problem), rate / 4, 1e-12);
}

TEST(EdgePolicy, TheFirstStepEndsBeforeACliff) {
  Quadratic problem({1e-9}, {1e9}, 0);
  problem.cliff = 1;
  EdgePolicy policy(EdgePolicyOptions().safety(0.9));
  EXPECT_LE(policy.next_rate(problem), 1);
  EXPECT_GT(policy.rate(), 1e-4);
}

TEST(EdgePolicy, ALineHasAFiniteRate) {
  Quadratic problem({0}, {1}, 0);
  EdgePolicy policy(EdgePolicyOptions().safety(0.9));
  // No gradient: nothing is known.
  EXPECT_EQ(policy.next_rate(problem), 0);
  EXPECT_TRUE(policy.due());
  EXPECT_TRUE(std::isnan(policy.curvature()));
  Quadratic line({1}, {1}, 0);
  line.resolution = 1e9;
  const double rate = policy.next_rate(line);
  EXPECT_GT(rate, 0);
  EXPECT_TRUE(std::isfinite(rate));
}

// The paper's rule by hand: 0.5 / L in one dimension once growth allows it.
TEST(SecantPolicy, ComesToHalfTheInverseCurvature) {
  Quadratic problem({8}, {1}, 0);
  SecantPolicy policy;
  EXPECT_NEAR(policy.next_rate(problem), 0.5 / 8, 1e-12);
  EXPECT_NEAR(policy.curvature(), 8, 1e-12);
}

TEST(SecantPolicy, GrowsAsThePaperHasIt) {
  Quadratic problem({8}, {1}, 0);
  SecantPolicy policy;
  const double first = policy.next_rate(problem);
  Quadratic flat({1e-6}, {1}, 0);
  // The rate before the first one is the probe's, 1e-3 of loss over gradient
  // squared: 4 / 64.
  const double before = 1e-3 * 4 / 64;
  const double second = policy.next_rate(flat);
  EXPECT_NEAR(second, std::sqrt(1 + first / before) * first, 1e-12);
  EXPECT_NEAR(
      policy.next_rate(flat), std::sqrt(1 + second / first) * second, 1e-12);
}

TEST(SecantPolicy, DescendsAndKeepsItsInterval) {
  Quadratic problem({1, 10, 100}, {1, -2, 0.5}, 0.9);
  SecantPolicy policy(SecantPolicyOptions().interval(3));
  const double start = problem.loss();
  EXPECT_LT(run(policy, problem, 3000), 1e-3 * start);
  EXPECT_EQ(problem.gradients, 1000);
}

TEST(PolyakPolicy, IsTheLossOverTheSquaredGradient) {
  // f = 2 x^2 at 3: 18 over 144.
  Quadratic problem({4}, {3}, 0);
  PolyakPolicy policy;
  EXPECT_NEAR(policy.next_rate(problem), 18.0 / 144, 1e-12);
  PolyakPolicy half(PolyakPolicyOptions().divisor(0.5));
  EXPECT_NEAR(half.next_rate(problem), 36.0 / 144, 1e-12);
  problem.floor = 2;
  PolyakPolicy known(PolyakPolicyOptions().floor(2));
  EXPECT_NEAR(known.next_rate(problem), 18.0 / 144, 1e-12);
}

TEST(PolyakPolicy, FindsTheOptimumWhoseLossIsKnown) {
  // Without a floor that is known the cap decides.
  Quadratic problem({1, 100}, {1, 1}, 0);
  problem.floor = 7;
  PolyakPolicy policy(PolyakPolicyOptions().floor(7).divisor(0.5));
  EXPECT_NEAR(run(policy, problem, 3000), 7, 1e-9);
}

TEST(PolyakPolicy, GrowsByItsFactorAtMostAndStaysBelowTheCap) {
  Quadratic steep({1}, {1}, 0);
  PolyakPolicy policy(PolyakPolicyOptions().lr_growth(1.5).max_lr(1));
  EXPECT_NEAR(policy.next_rate(steep), 0.5, 1e-12);
  steep.floor = 1000;
  EXPECT_NEAR(policy.next_rate(steep), 0.75, 1e-12);
  EXPECT_EQ(policy.next_rate(steep), 1);
  PolyakPolicy high(PolyakPolicyOptions().floor(2000));
  EXPECT_EQ(high.next_rate(steep), 0);
  // A batch below the floor does not undo the limit of growth.
  PolyakPolicy between(PolyakPolicyOptions().floor(0.25));
  Quadratic small({1}, {1}, 0);
  EXPECT_NEAR(between.next_rate(small), 0.25, 1e-12);
  Quadratic below({1}, {0.5}, 0);
  EXPECT_EQ(between.next_rate(below), 0);
  EXPECT_NEAR(between.next_rate(steep), 1.01 * 0.25, 1e-12);
}

TEST(AveragedVectorPolicy, IsTheInverseOfTheLargestCurvature) {
  Quadratic problem({1, 5}, {1, 1}, 0);
  problem.floor = 1;
  AveragedVectorPolicy policy;
  for (int i = 0; i < 400; ++i) policy.next_rate(problem);
  EXPECT_NEAR(policy.rate(), 1.0 / 5, 1e-6);
  EXPECT_NEAR(policy.curvature(), 5, 1e-5);
}

TEST(SharpnessPolicy, FollowsItsTracker) {
  Quadratic problem({1, 5}, {1, 1}, 0.9);
  problem.floor = 1;
  SharpnessPolicy policy;
  policy.next_rate(problem);
  EXPECT_NEAR(policy.rate(), 2 * 0.5 * (1 - 0.9) / 5, 1e-6);
  EXPECT_EQ(problem.gradients, 20);
}

std::vector<std::unique_ptr<StepSizePolicy>> all_policies() {
  std::vector<std::unique_ptr<StepSizePolicy>> all;
  all.push_back(std::make_unique<EdgePolicy>());
  all.push_back(std::make_unique<SecantPolicy>());
  all.push_back(std::make_unique<PolyakPolicy>());
  all.push_back(std::make_unique<AveragedVectorPolicy>());
  all.push_back(std::make_unique<SharpnessPolicy>());
  return all;
}

TEST(StepSizePolicy, GoesOnFromItsState) {
  for (const auto& policy : all_policies()) {
    SCOPED_TRACE(policy->name());
    Quadratic problem({1, 10, 100}, {1, -2, 0.5}, 0.9);
    run(*policy, problem, 37);
    const auto fresh = [&] {
      for (auto& other : all_policies()) {
        if (other->name() == policy->name()) return std::move(other);
      }
      return std::unique_ptr<StepSizePolicy>();
    }();
    fresh->restore(policy->state());
    const auto copy = policy->clone();
    Quadratic second = problem;
    Quadratic third = problem;
    for (int i = 0; i < 60; ++i) {
      const double rate = policy->next_rate(problem);
      EXPECT_EQ(fresh->due(), copy->due());
      EXPECT_EQ(fresh->next_rate(second), rate);
      EXPECT_EQ(copy->next_rate(third), rate);
      problem.move(rate);
      second.move(rate);
      third.move(rate);
    }
  }
}

TEST(StepSizePolicy, RefusesWhatIsNoStateAndKeepsItsOwn) {
  for (const auto& policy : all_policies()) {
    SCOPED_TRACE(policy->name());
    Quadratic problem({1, 10}, {1, 1}, 0.5);
    run(*policy, problem, 5);
    const auto state = policy->state();
    for (std::size_t i = 0; i < state.size(); ++i) {
      for (const double bad : {kNaN, -1.0}) {
        auto broken = state;
        broken[i] = bad;
        EXPECT_THROW(policy->restore(broken), c10::Error) << i << ' ' << bad;
      }
    }
    EXPECT_THROW(policy->restore({}), c10::Error);
    EXPECT_EQ(policy->state(), state);
  }
}

// One batch with a curvature a million times larger, and losses of float32:
// from so short a step nothing can be seen of the true one.
TEST(EdgePolicy, ComesBackFromAnOutlier) {
  class Rounded : public Quadratic {
   public:
    using Quadratic::Quadratic;
    ProbedCurvature gradient_curvature(double step) override {
      return {Quadratic::gradient_curvature(step).value, 1e-6 / step / step};
    }
    ProbedCurvature update_curvature(double step) override {
      return {Quadratic::update_curvature(step).value, 1e-6 / step / step};
    }
  };
  EdgePolicy policy;
  Rounded problem({2}, {1}, 0);
  for (int i = 0; i < 5; ++i) policy.next_rate(problem);
  const double rate = policy.rate();
  Rounded outlier({2e6}, {1}, 0);
  EXPECT_LT(policy.next_rate(outlier), 1e-5 * rate);
  for (int i = 0; i < 1000; ++i) policy.next_rate(problem);
  EXPECT_NEAR(policy.rate(), rate, 0.01 * rate);
}

// Uphill at the first look along an update: the rate falls and comes back.
TEST(EdgePolicy, ComesBackFromAnUpdateThatWentUphill) {
  class Uphill : public Quadratic {
   public:
    using Quadratic::Quadratic;
    double slope() override { return -1; }
  };
  EdgePolicy policy;
  Quadratic problem({2}, {1}, 0);
  const double rate = policy.next_rate(problem);
  Uphill uphill({2}, {1}, 0);
  for (int i = 0; i < 400; ++i) {
    EXPECT_TRUE(std::isfinite(policy.next_rate(uphill)));
  }
  EXPECT_LT(policy.rate(), rate);
  for (int i = 0; i < 2000; ++i) policy.next_rate(problem);
  EXPECT_NEAR(policy.rate(), rate, 1e-6 * rate);
}

TEST(SecantPolicy, ComesBackFromAGradientThatIsNotFinite) {
  class Broken : public Quadratic {
   public:
    using Quadratic::Quadratic;
    double gradient_change(double /*step*/) override { return kInfinity; }
  };
  SecantPolicy policy;
  Broken broken({2}, {1}, 0);
  for (int i = 0; i < 400; ++i) {
    EXPECT_TRUE(std::isfinite(policy.next_rate(broken)));
  }
  Quadratic problem({2}, {1}, 0);
  for (int i = 0; i < 4000; ++i) policy.next_rate(problem);
  EXPECT_NEAR(policy.rate(), 0.25, 1e-9);
}

TEST(StepSizePolicy, SaysItsOptions) {
  const EdgePolicy policy(EdgePolicyOptions().safety(0.25));
  EXPECT_EQ(policy.name(), "EdgePolicy");
  EXPECT_EQ(
      policy.numbers().front(),
      (std::pair<std::string, double>("safety", 0.25)));
  EXPECT_EQ(policy.describe().rfind("safety=0.25, ", 0), 0U);
}

TEST(StepSizePolicy, TakesItsOptionsByName) {
  SharpnessPolicy policy;
  policy.set_numbers({{"safety", 0.25}, {"start_products", 3}});
  EXPECT_EQ(policy.options().tracker().safety(), 0.25);
  EXPECT_EQ(policy.options().start_products(), 3);
  const auto before = policy.numbers();
  const auto refusal = [&](const std::string& name, double value) {
    return test::message_of([&] {
      policy.set_numbers({{"max_interval", 2}, {name, value}});
    });
  };
  EXPECT_EQ(
      refusal("safety", -1),
      "SharpnessPolicy: safety must be finite and > 0, got -1");
  EXPECT_EQ(
      refusal("start_products", 1.5),
      "SharpnessPolicy: start_products must be an integer of 64 bits, got 1.5");
  EXPECT_EQ(refusal("speed", 1), "SharpnessPolicy: there is no option speed");
  EXPECT_EQ(policy.numbers(), before);
}

}  // namespace
}  // namespace stepsize
