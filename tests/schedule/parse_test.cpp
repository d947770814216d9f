#include <stepsize/schedule/parse.h>

#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/recipe.h>

#include "tests/schedule/refusal.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace stepsize {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(Parse, BuildsEveryCurve) {
  struct {
    const char* text;
    Schedule schedule;
  } const cases[] = {
      {"constant", constant()},
      {"constant 0.5", constant(0.5)},
      {"linear 100 from 0.2 to 0.7", linear(100, 0.2, 0.7)},
      {"linear 100", linear(100)},
      {"warmup 500", warmup(500)},
      {"warmup 500 linear from 0", warmup(500, WarmupShape::kLinear, 0)},
      {"warmup 500 cosine", warmup(500, WarmupShape::kCosine)},
      {"warmup 500 exponential", warmup(500, WarmupShape::kExponential)},
      {"warmup 500 from 0.1 sqrt", warmup(500, WarmupShape::kSqrt, 0.1)},
      {"cooldown 9", cooldown(9)},
      {"cooldown 9 cosine to 0.1", cooldown(9, CooldownShape::kCosine, 0.1)},
      {"cooldown 9 sqrt", cooldown(9, CooldownShape::kSqrt)},
      {"cooldown 9 square", cooldown(9, CooldownShape::kSquare)},
      {"cooldown 9 half_life to 0.1",
       cooldown(9, CooldownShape::kHalfLife, 0.1)},
      {"cooldown 9 exponential to 0.1",
       cooldown(9, CooldownShape::kExponential, 0.1)},
      {"cosine 9500 to 0.1", cosine(9500, 0.1)},
      {"cosine 9500 k 2", cosine(9500, 0, 2)},
      {"polynomial 9 power 2 to 0.1", polynomial(9, 2, 0.1)},
      {"cosine 9500 to 0.1 k 2 exponent 3", cosine(9500, 0.1, 2, 3)},
      {"polynomial 9 power 2 to 0.1 k 3", polynomial(9, 2, 0.1, 3)},
      {"geometric 9 from 0.1 to 10", geometric(9, 0.1, 10)},
      {"rex 9 to 0.1", rex(9, 0.1)},
      {"tanh 9 lower -4 upper 2 to 0.1", tanh_decay(9, -4, 2, 0.1)},
      {"step 30", step_decay(30)},
      {"step 30 gamma 0.5", step_decay(30, 0.5)},
      {"multi_step 30 60 gamma 0.5", multi_step({30, 60}, 0.5)},
      {"exponential 0.99", exponential(0.99)},
      {"exponential 0.5 every 9", exponential(0.5, 9)},
      {"inverse_time 0.5", inverse_time(0.5)},
      {"inverse_time 0.5 every 9 staircase", inverse_time(0.5, 9, true)},
      {"inverse_sqrt 4000", inverse_sqrt(4000)},
      {"noam 4000 model_size 512 scale 2", noam(4000, 512, 2)},
      {"piecewise 0:0.1 500:1 1e4:0",
       piecewise({{0, 0.1}, {500, 1}, {10000, 0}})},
      {"piecewise 0 : 1 9 : 0 cosine",
       piecewise({{0, 1}, {9, 0}}, Interpolation::kCosine)},
      {"noise 0.05", noise(0.05)},
      {"noise 0.05 limit 1 seed 18446744073709551615 every 9",
       noise(0.05, ~std::uint64_t{0}, 1, 9)},
      {"cosine_restarts 10 stretch 2 decay 0.5 cycles 3 to 0.1",
       cosine_restarts(
           10,
           CosineRestartsOptions().stretch(2).peak_decay(0.5).cycles(3).floor(
               0.1))},
      {"cosine_restarts 10 decay 0.5 above 0.1",
       cosine_restarts(
           10, CosineRestartsOptions().height_decay(0.5).floor(0.1))},
      {"noise 1 limit 0.67", noise(1, 0, 0.67)},
      {"noise inf limit 0.67", noise(kInf, 0, 0.67)},
      {"polynomial_cycles 9", polynomial_cycles(9)},
      {"polynomial_cycles 9 power 2 to 0.1", polynomial_cycles(9, 2, 0.1)},
      {"triangular 2000", triangular(2000)},
      {"triangular 2000 from 0.1 down 9",
       triangular(2000, TriangularOptions().down(9).floor(0.1))},
      {"triangular2 2000", triangular2(2000)},
      {"exp_range 2000 gamma 0.9", exp_range(2000, 0.9)},
      {"one_cycle 100", one_cycle(100)},
      {"one_cycle 100 pct 25% div 10 final_div inf linear three_phase",
       one_cycle(
           100,
           OneCycleOptions()
               .pct_start(0.25)
               .div_factor(10)
               .final_div_factor(kInf)
               .anneal_strategy(AnnealStrategy::kLinear)
               .three_phase(true))},
      {"wsd 5 80 15 sqrt to 0.1",
       warmup_stable_decay(5, 80, 15, CooldownShape::kSqrt, 0.1)},
      {"tri_stage 1 2 3 init 0.1 final 0.2",
       tri_stage(1, 2, 3, TriStageOptions().init_scale(0.1).final_scale(0.2))},
      {"flat_cosine 100 flat 0.5 to 0.1", flat_cosine(100, 0.5, 0.1)},
      {"slanted_triangular 100 cut 0.2 ratio 8",
       slanted_triangular(100, 0.2, 8)}};
  for (const auto& c : cases) {
    EXPECT_EQ(parse(c.text), c.schedule)
        << c.text << " is " << parse(c.text).to_string();
  }
}

TEST(Parse, BuildsEveryCombination) {
  const Schedule a = warmup(5);
  const Schedule b = cosine(9);
  const Schedule c = rex(7);
  struct {
    const char* text;
    Schedule schedule;
  } const cases[] = {
      {"warmup 5 > cosine 9", a.then(b)},
      {"warmup 5>cosine 9>rex 7", a.then(b).then(c)},
      {"warmup 5 * cosine 9 > rex 7", (a * b).then(c)},
      {"warmup 5 > cosine 9 * rex 7", a.then(b * c)},
      {"(warmup 5 > cosine 9) * rex 7", a.then(b) * c},
      {"((warmup 5))", a},
      {"warmup 5 for 3 > cosine 9 clamp 0.1 inf",
       a.limit(3).then(b.clamp(0.1, kInf))},
      {"warmup 5 > cosine 9 for 3", a.then(b.limit(3))},
      {"(warmup 5 > cosine 9) for 3", a.then(b).limit(3)},
      {"cosine 9 repeat", b.repeat()},
      {"cosine 9 repeat 4 stretch 2 decay 0.5", b.repeat(4, 2, 0.5)},
      {"cosine 9 repeat stretch 2 for 99",
       b.repeat(Schedule::kForever, 2).limit(99)},
      {"cosine 9 repeat 4 decay 0.5 to 0.1",
       b.repeat(RepeatOptions().count(4).peak_decay(0.5).floor(0.1))},
      {"cosine 9 repeat decay 0.5 above 0.1 stretch 2",
       b.repeat(RepeatOptions().stretch(2).height_decay(0.5).floor(0.1))},
      {"cosine 9 repeat decay 0.5 above 0", b.repeat(-1, 1, 0.5)},
      {"cosine 9 repeat decay 1 to 0.1", b.repeat()},
      {"cosine 9 stretch_to 90 shift -3", b.stretch_to(90).shift(-3)},
      {"cosine 9 stretch-to 90", b.stretch_to(90)},
      {" \t\ncosine\n9\r\n", b}};
  for (const auto& c2 : cases) {
    EXPECT_EQ(parse(c2.text), c2.schedule)
        << c2.text << " is " << parse(c2.text).to_string();
  }
}

TEST(Parse, ResolvesEpochsAndSharesExactly) {
  ParseContext context;
  context.steps_per_epoch = 391;
  context.run_length = 100;
  EXPECT_EQ(parse("warmup 2ep", context), warmup(782));
  EXPECT_EQ(parse("warmup 0.5ep", context), warmup(195.5));
  EXPECT_EQ(parse("cosine 10% to 10%", context), cosine(10, 0.1));
  EXPECT_EQ(parse("multi_step 30% 2ep", context), multi_step({30, 782}));
  EXPECT_EQ(
      parse("piecewise 0%:10% 50%:1 1ep:0", context),
      piecewise({{0, 0.1}, {50, 1}, {391, 0}}));
  EXPECT_EQ(
      parse("rex for 10% shift 5%", context), rex(100).limit(10).shift(5));
  for (const int run : {100, 700, 12300, 1000000}) {
    context.run_length = run;
    for (int percent = 0; percent <= 100; ++percent) {
      const Schedule schedule =
          parse("warmup " + std::to_string(percent) + "%", context);
      EXPECT_EQ(schedule.length(), percent * (run / 100)) << percent << "%";
    }
  }
}

TEST(Parse, GivesACurveWithoutALengthTheRestOfTheRun) {
  ParseContext context;
  context.steps_per_epoch = 10;
  context.run_length = 1000;
  const auto length = [&context](const std::string& text) {
    return parse(text, context).length();
  };
  EXPECT_EQ(parse("cosine", context), cosine(1000));
  EXPECT_EQ(
      parse("warmup 7% > cosine to 0.1", context),
      warmup(70).then(cosine(930, 0.1)));
  EXPECT_EQ(
      parse("warmup 3ep > constant for 500 > cooldown sqrt", context),
      warmup(30)
          .then(constant().limit(500))
          .then(cooldown(470, CooldownShape::kSqrt)));
  EXPECT_EQ(
      parse("warmup 100 > (constant for 200 > rex)", context),
      warmup(100).then(constant().limit(200)).then(rex(700)));
  EXPECT_EQ(
      parse("(warmup 100 > cosine) * linear", context),
      warmup(100).then(cosine(900)) * linear(1000));
  for (const char* text :
       {"linear",
        "polynomial",
        "geometric to 0.1",
        "rex",
        "tanh",
        "one_cycle",
        "flat_cosine",
        "slanted_triangular"}) {
    EXPECT_EQ(length(text), 1000) << text;
    EXPECT_EQ(length(std::string("warmup 300 > ") + text), 1000) << text;
  }
}

TEST(Parse, RefusesAContextThatIsNone) {
  for (const double bad : {-1.0, kNan, kInf}) {
    ParseContext epochs;
    epochs.steps_per_epoch = bad;
    ParseContext run;
    run.run_length = bad;
    EXPECT_TRUE(testing::is_refused(
        {[&] { parse("constant", epochs); }, {"steps_per_epoch", ">= 0"}}));
    EXPECT_TRUE(testing::is_refused(
        {[&] { parse("constant", run); }, {"run_length", ">= 0"}}));
  }
}

}  // namespace
}  // namespace stepsize
