#include <stepsize/schedule/ramp.h>

#include <stepsize/schedule/parse.h>

#include "tests/schedule/refusal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <ostream>
#include <string>

namespace stepsize {
namespace {

using testing::is_refused;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
const double kPi = std::acos(-1.0);

// A ramp, and its formula as the papers write it, of the share x done.
struct RampCase {
  std::string name;
  std::function<Schedule(double)> make;  // of the length
  std::function<double(double)> formula;
  double first;
  double last;
  friend std::ostream& operator<<(std::ostream& out, const RampCase& ramp) {
    return out << ramp.name;
  }
};

const WarmupShape kUpLinear = WarmupShape::kLinear;
const WarmupShape kUpCosine = WarmupShape::kCosine;
const WarmupShape kUpExponential = WarmupShape::kExponential;
const WarmupShape kUpSqrt = WarmupShape::kSqrt;
const WarmupShape kUpLogarithmic = WarmupShape::kLogarithmic;
const CooldownShape kDownLinear = CooldownShape::kLinear;
const CooldownShape kDownCosine = CooldownShape::kCosine;
const CooldownShape kDownSqrt = CooldownShape::kSqrt;
const CooldownShape kDownSquare = CooldownShape::kSquare;
const CooldownShape kDownHalfLife = CooldownShape::kHalfLife;
const CooldownShape kDownExponential = CooldownShape::kExponential;

const RampCase kRamps[] = {
    {"linear",
     [](double n) { return linear(n, 0.25, 3); },
     [](double x) { return 0.25 + 2.75 * x; },
     0.25,
     3},
    {"linear_by_default",
     [](double n) { return linear(n); },
     [](double x) { return 1 - x; },
     1,
     0},
    {"warmup_linear",
     [](double n) { return warmup(n, kUpLinear, 0.125); },
     [](double x) { return 0.125 + 0.875 * x; },
     0.125,
     1},
    {"warmup_cosine",
     [](double n) { return warmup(n, kUpCosine, 0.1); },
     [](double x) { return 0.1 + 0.9 * (1 - std::cos(kPi * x)) / 2; },
     0.1,
     1},
    {"warmup_exponential",
     [](double n) { return warmup(n, kUpExponential, 1e-3); },
     [](double x) { return std::exp(std::log(1e-3) * (1 - x)); },
     1e-3,
     1},
    {"warmup_sqrt",
     [](double n) { return warmup(n, kUpSqrt, 0); },
     [](double x) { return 1 - std::sqrt(1 - x); },
     0,
     1},
    {"cooldown_linear",
     [](double n) { return cooldown(n, kDownLinear, 0.2); },
     [](double x) { return 0.2 + 0.8 * (1 - x); },
     1,
     0.2},
    {"cooldown_cosine",
     [](double n) { return cooldown(n, kDownCosine, 0.2); },
     [](double x) { return 0.2 + 0.8 * (1 + std::cos(kPi * x)) / 2; },
     1,
     0.2},
    {"cooldown_sqrt",
     [](double n) { return cooldown(n, kDownSqrt, 0.2); },
     [](double x) { return 0.2 + 0.8 * (1 - std::sqrt(x)); },
     1,
     0.2},
    {"cooldown_square",
     [](double n) { return cooldown(n, kDownSquare, 0.2); },
     [](double x) { return 0.2 + 0.8 * (1 - x * x); },
     1,
     0.2},
    {"cooldown_half_life",
     [](double n) { return cooldown(n, kDownHalfLife, 0.2); },
     [](double x) { return 0.2 + 0.8 * (2 * std::pow(0.5, x) - 1); },
     1,
     0.2},
    {"cooldown_exponential",
     [](double n) { return cooldown(n, kDownExponential, 1e-4); },
     [](double x) { return std::pow(1e-4, x); },
     1,
     1e-4},
    {"power_cooldown",
     [](double n) { return power_cooldown(n, 3); },
     [](double x) { return (1 - x) * (1 - x) * (1 - x); },
     1,
     0},
    {"power_cooldown_scaled",
     [](double n) {
       return power_cooldown(n, 1.5, n > 0 ? 8 / (n * std::sqrt(n)) : 8);
     },
     [](double x) { return std::min(1.0, 8 * (1 - x) * std::sqrt(1 - x)); },
     1,
     0},
    {"cosine",
     [](double n) { return cosine(n); },
     [](double x) { return (1 + std::cos(kPi * x)) / 2; },
     1,
     0},
    {"cosine_k_decay",
     [](double n) { return cosine(n, 0.1, 2.5); },
     [](double x) {
       return 0.1 + 0.9 * (1 + std::cos(kPi * std::pow(x, 2.5))) / 2;
     },
     1,
     0.1},
    {"cosine_k_below_one",
     [](double n) { return cosine(n, 0.1, 0.5); },
     [](double x) {
       return 0.1 + 0.9 * (1 + std::cos(kPi * std::sqrt(x))) / 2;
     },
     1,
     0.1},
    {"polynomial",
     [](double n) { return polynomial(n, 3, 0.1); },
     [](double x) { return 0.1 + 0.9 * (1 - x) * (1 - x) * (1 - x); },
     1,
     0.1},
    {"geometric_up",
     [](double n) { return geometric(n, 1e-5, 10); },
     [](double x) { return std::pow(10, -5 + 6 * x); },
     1e-5,
     10},
    {"rex",
     [](double n) { return rex(n, 0.1); },
     [](double x) { return 0.1 + 0.9 * (1 - x) / (0.5 + 0.5 * (1 - x)); },
     1,
     0.1}};

class EveryRamp : public ::testing::TestWithParam<RampCase> {};

TEST_P(EveryRamp, FollowsItsFormula) {
  for (const double length : {1.0, 7.0, 100.0, 12345.678, 1e6, 1e15}) {
    const Schedule schedule = GetParam().make(length);
    ASSERT_EQ(schedule.length(), length);
    for (int i = 0; i <= 64; ++i) {
      const double x = i / 64.0;
      const double expected = GetParam().formula(x);
      EXPECT_NEAR(schedule(x * length), expected, 4e-15 * (1 + expected))
          << "length " << length << ", share " << x;
    }
  }
}

TEST_P(EveryRamp, HasExactEndsAndHoldsTheLast) {
  for (const double length : {1.0, 3.0, 0.1, 1e15}) {
    const Schedule schedule = GetParam().make(length);
    EXPECT_EQ(schedule(0), GetParam().first);
    for (const double t : {length, length * 1.5, 1e15, 1e300, kInf}) {
      EXPECT_EQ(schedule(t), GetParam().last) << t;
    }
  }
}

TEST_P(EveryRamp, IsMonotoneAndWithinItsEnds) {
  const Schedule schedule = GetParam().make(1000.0 / 3);
  const auto [low, high] = std::minmax(GetParam().first, GetParam().last);
  const double direction = GetParam().last > GetParam().first ? 1 : -1;
  // Rounding may be felt in the last place only.
  const double slack = 2e-16 * high;
  double previous = schedule(0);
  for (double t = 0; t < 340; t += 0.125) {
    const double factor = schedule(t);
    EXPECT_GE((factor - previous) * direction, -slack) << t;
    EXPECT_GE(factor, low - slack) << t;
    EXPECT_LE(factor, high + slack) << t;
    previous = factor;
  }
}

TEST_P(EveryRamp, OfLengthZeroIsItsEnd) {
  EXPECT_EQ(GetParam().make(0)(0), GetParam().last);
  EXPECT_EQ(GetParam().make(0)(5), GetParam().last);
}

INSTANTIATE_TEST_SUITE_P(
    Ramp, EveryRamp, ::testing::ValuesIn(kRamps), [](const auto& param_info) {
      return param_info.param.name;
    });

TEST(Ramp, GivesValuesWorkedOutByHand) {
  const double half_root = std::sqrt(0.5);
  EXPECT_DOUBLE_EQ(cosine(4)(1), (1 + half_root) / 2);
  EXPECT_DOUBLE_EQ(cosine(4)(2), 0.5);
  EXPECT_DOUBLE_EQ(cosine(4)(3), (1 - half_root) / 2);
  EXPECT_DOUBLE_EQ(cosine(4, 0, 2)(2), (1 + half_root) / 2);
  EXPECT_DOUBLE_EQ(cooldown(4, kDownSqrt)(1), 0.5);
  EXPECT_DOUBLE_EQ(cooldown(4, kDownSquare)(2), 0.75);
  EXPECT_DOUBLE_EQ(cooldown(4, kDownHalfLife)(2), std::sqrt(2.0) - 1);
  EXPECT_DOUBLE_EQ(warmup(4, kUpSqrt, 0)(3), 0.5);
  EXPECT_DOUBLE_EQ(rex(4)(2), 2.0 / 3);
  EXPECT_DOUBLE_EQ(polynomial(4, 2)(1), 9.0 / 16);
  EXPECT_DOUBLE_EQ(geometric(2, 0.01, 100)(1), 1);
}

TEST(Warmup, ClimbsInEqualIncrementsFromAboveZeroByDefault) {
  for (int t = 0; t <= 4; ++t) {
    EXPECT_DOUBLE_EQ(warmup(4)(t), (t + 1) / 5.0);
  }
  EXPECT_EQ(warmup(4, kUpCosine)(0), 0.2);
  EXPECT_EQ(warmup(4, kUpExponential)(0), 0.2);
  EXPECT_EQ(warmup(4, kUpSqrt)(0), 0.2);
}

// DeepSpeed counts its updates from 0 and has the whole rate from update
// warmup_num_steps - 1 on.
TEST(Warmup, ClimbsByTheLogarithmAsDeepSpeedsDoes) {
  for (const int warmup_num_steps : {2, 3, 10, 1000}) {
    const Schedule schedule =
        warmup(warmup_num_steps - 1, kUpLogarithmic, 0.25);
    for (int t = 0; t < warmup_num_steps; ++t) {
      const double gamma = std::log(t + 1) / std::log(warmup_num_steps);
      EXPECT_NEAR(schedule(t), 0.25 + 0.75 * gamma, 1e-15) << t;
    }
    EXPECT_EQ(schedule(warmup_num_steps - 1), 1);
    EXPECT_EQ(schedule(1e9), 1);
  }
  EXPECT_EQ(warmup(0, kUpLogarithmic)(0), 1);
  // Near its end, where 1 - ln(1 + t) / ln(1 + length) cancels.
  const double left = 1 - warmup(1e9, kUpLogarithmic, 0)(1e9 - 1);
  EXPECT_NEAR(left, 1e-9 / std::log(1e9), 1e-12);
}

TEST(PowerCooldown, FallsFromWhereItsScaleSaysToTheBit) {
  const Schedule line = power_cooldown(1000, 1, 1.0 / 128);
  const Schedule parabola = power_cooldown(1000, 2, 1.0 / 65536);
  const Schedule root = power_cooldown(1000, 0.5, 1.0 / 16);
  for (int t = 0; t <= 1000; ++t) {
    const double left = 1000 - t;
    EXPECT_EQ(line(t), left >= 128 ? 1 : left / 128) << t;
    EXPECT_EQ(parabola(t), left >= 256 ? 1 : left * left / 65536) << t;
    EXPECT_DOUBLE_EQ(root(t), left >= 256 ? 1 : std::sqrt(left) / 16) << t;
  }
  // Just before its end there is something left, and from there on nothing.
  const double before = std::nextafter(1000.0, 0.0);
  EXPECT_EQ(line(before), (1000 - before) / 128);
  for (const double t : {1000.0, 1000.5, 1e15, kInf}) {
    EXPECT_EQ(line(t), 0);
    EXPECT_EQ(parabola(t), 0);
    EXPECT_EQ(root(t), 0);
  }
}

TEST(PowerCooldown, BeginsBelowOneWithASmallScale) {
  const Schedule schedule = power_cooldown(16, 2, 1.0 / 1024);
  EXPECT_EQ(schedule(0), 0.25);
  EXPECT_EQ(schedule(8), 1.0 / 16);
  EXPECT_EQ(schedule(16), 0);
}

TEST(PowerCooldown, WithAScaleKnowsItsDistanceToTheEndAlone) {
  const Schedule early = power_cooldown(1000, 0.7, 0.03);
  const Schedule late = power_cooldown(4096, 0.7, 0.03);
  for (double left = 0; left <= 1000; left += 0.25) {
    EXPECT_EQ(early(1000 - left), late(4096 - left)) << left;
  }
}

TEST(PowerCooldown, IsRightWhereThePowerAloneLeavesTheRangeOfADouble) {
  EXPECT_EQ(power_cooldown(1e5, 100)(5e4), std::ldexp(1, -100));
  const Schedule small = power_cooldown(1024, 128, std::ldexp(1, -1074));
  EXPECT_EQ(small(0), 1);
  EXPECT_EQ(small(512), 1);
  EXPECT_EQ(small(1024 - 256), std::ldexp(1, 1024 - 1074));
  const Schedule large = power_cooldown(1, 128, std::ldexp(1, 1000));
  EXPECT_EQ(large(0), 1);
  EXPECT_EQ(large(1 - std::ldexp(1, -9)), std::ldexp(1, 1000 - 9 * 128));
  for (const double t : {0.0, 0.5, std::nextafter(1.0, 0.0), 1.0}) {
    EXPECT_GE(power_cooldown(1, 1e300, 1e-300)(t), 0) << t;
    EXPECT_LE(power_cooldown(1, 5e-324, 1e300)(t), 1) << t;
  }
}

TEST(PowerCooldown, IsToldApartByEachOfItsNumbers) {
  const Schedule schedule = power_cooldown(4, 1, 0.25);
  EXPECT_TRUE(schedule == power_cooldown(4, 1, 0.25));
  EXPECT_FALSE(schedule == power_cooldown(5, 1, 0.25));
  EXPECT_FALSE(schedule == power_cooldown(4, 2, 0.25));
  EXPECT_FALSE(schedule == power_cooldown(4, 1, 0.5));
  // It is the same curve, but another text.
  EXPECT_FALSE(schedule == power_cooldown(4, 1));
  EXPECT_TRUE(power_cooldown(4, 1) == power_cooldown(4, 1));
}

TEST(PowerCooldown, TakesWhatIsLeftOfTheRun) {
  ParseContext context;
  context.run_length = 1000;
  EXPECT_EQ(
      parse("constant for 80% > power_cooldown power 0.5", context),
      constant().limit(800).then(power_cooldown(200, 0.5)));
  EXPECT_THROW(parse("power_cooldown 200", context), ParseError);
}

TEST(Cosine, IsAccurateJustBeforeItsEnd) {
  // (1 + cos(pi (1 - e)))/2 is (pi e/2)^2 to within e^4.
  for (const double length : {1e3, 1e6, 1e9, 1e12}) {
    const double expected = std::pow(kPi / 2 / length, 2);
    EXPECT_NEAR(cosine(length)(length - 1) / expected, 1, 2e-6) << length;
  }
}

TEST(TanhDecay, FollowsThePaperAtBothEndsAndBetween) {
  const Schedule schedule = tanh_decay(300, -6, 3);
  EXPECT_DOUBLE_EQ(schedule(0), (1 + std::tanh(6)) / 2);
  EXPECT_DOUBLE_EQ(schedule(200), 0.5);
  EXPECT_NEAR(schedule(300), (1 - std::tanh(3)) / 2, 1e-15);
  EXPECT_EQ(schedule(1e15), schedule(300));
  EXPECT_DOUBLE_EQ(tanh_decay(300, -4, 4, 0.2)(150), 0.2 + 0.8 * 0.5);
  EXPECT_EQ(tanh_decay(0, -6, 3, 0.2)(0), 0.2);
}

TEST(Constant, IsTheSameAtEveryTime) {
  EXPECT_EQ(constant()(0), 1);
  EXPECT_EQ(constant(0.3)(1e15), 0.3);
  EXPECT_EQ(constant(0)(3), 0);
  EXPECT_EQ(constant().length(), kInf);
}

TEST(Ramp, RefusesBadArguments) {
  const testing::Refusal refusals[] = {
      {[] { constant(-1); }, {"constant", "factor", ">= 0", "-1"}},
      {[] { constant(kNan); }, {"constant", "factor", "nan"}},
      {[] { constant(kInf); }, {"constant", "finite", "inf"}},
      {[] { linear(-2); }, {"linear", "length", ">= 0", "-2"}},
      {[] { linear(kInf); }, {"linear", "length", "finite", "inf"}},
      {[] { linear(9, -0.5); }, {"linear", "from", ">= 0", "-0.5"}},
      {[] { linear(9, 1, kNan); }, {"linear", "to", "nan"}},
      {[] { warmup(-1); }, {"warmup", "length", ">= 0", "-1"}},
      {[] { warmup(kNan, kUpCosine); }, {"warmup", "length", "nan"}},
      {[] { warmup(9, kUpLinear, 1.5); }, {"warmup", "[0, 1]", "1.5"}},
      {[] { warmup(9, kUpExponential, 0); }, {"warmup", "(0, 1]", "got 0"}},
      {[] { cooldown(-1); }, {"cooldown", "length", "-1"}},
      {[] { cooldown(9, kDownSqrt, -0.1); }, {"cooldown", "[0, 1]", "-0.1"}},
      {[] { cooldown(9, kDownExponential); }, {"cooldown", "(0, 1]", "0"}},
      {[] { power_cooldown(-1, 2); }, {"power_cooldown", "length", "-1"}},
      {[] { power_cooldown(kInf, 2); }, {"power_cooldown", "length", "inf"}},
      {[] { power_cooldown(9, 0); }, {"power_cooldown", "power", "> 0", "0"}},
      {[] { power_cooldown(9, kNan); }, {"power_cooldown", "power", "nan"}},
      {[] { power_cooldown(9, kInf, 1); }, {"power_cooldown", "power", "inf"}},
      {[] { power_cooldown(9, 2, 0); }, {"power_cooldown", "scale", "> 0"}},
      {[] { power_cooldown(9, 2, kNan); }, {"power_cooldown", "scale", "nan"}},
      {[] { power_cooldown(9, 2, kInf); }, {"power_cooldown", "scale", "inf"}},
      {[] { cosine(9, 1.5); }, {"cosine", "floor", "[0, 1]", "1.5"}},
      {[] { cosine(9, 0, 0); }, {"cosine", "k", "> 0", "got 0"}},
      {[] { cosine(9, 0, kInf); }, {"cosine", "k", "finite", "inf"}},
      {[] { polynomial(9, -2); }, {"polynomial", "power", "> 0", "-2"}},
      {[] { polynomial(9, 1, kNan); }, {"polynomial", "floor", "nan"}},
      {[] { geometric(9, 0, 1); }, {"geometric", "from", "> 0", "got 0"}},
      {[] { geometric(9, 1, 0); }, {"geometric", "to", "> 0", "got 0"}},
      {[] { rex(9, 2); }, {"rex", "floor", "[0, 1]", "2"}},
      {[] { tanh_decay(9, 3, 3); }, {"tanh_decay", "below", "3"}},
      {[] { tanh_decay(9, -kInf); }, {"tanh_decay", "finite", "inf"}},
      {[] { tanh_decay(9, -6, 3, -1); }, {"tanh_decay", "floor", "-1"}}};
  for (const testing::Refusal& refusal : refusals) {
    EXPECT_TRUE(is_refused(refusal));
  }
}

}  // namespace
}  // namespace stepsize
