#include <stepsize/schedule/lint.h>

#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/recipe.h>

#include "tests/schedule/refusal.h"

#include <gtest/gtest.h>

#include <limits>
#include <ostream>
#include <string>
#include <vector>

namespace stepsize {

// For GoogleTest's messages.
void PrintTo(const LintWarning& warning, std::ostream* out) {
  *out << static_cast<int>(warning.kind) << " at " << warning.at << ": "
       << warning.message;
}

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::vector<LintWarning> lint_text(const std::string& text, double run) {
  ParseContext context;
  context.run_length = run;
  return lint(parse(text, context), run);
}

struct Finding {
  LintKind kind;
  double at;
};

struct LintCase {
  std::string text;
  double run;
  std::vector<Finding> expected;
};

void expect_findings(const LintCase& c) {
  const std::vector<LintWarning> found = lint_text(c.text, c.run);
  ASSERT_EQ(found.size(), c.expected.size())
      << c.text << ": " << ::testing::PrintToString(found);
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].kind, c.expected[i].kind) << c.text;
    EXPECT_NEAR(found[i].at, c.expected[i].at, 1e-9 * c.run) << c.text;
    EXPECT_FALSE(found[i].message.empty());
    EXPECT_EQ(found[i].message.find('\n'), std::string::npos);
  }
}

TEST(Lint, FindsTheMistakes) {
  const LintCase cases[] = {
      {"warmup 10 from 0 > cosine 90",
       100,
       {{LintKind::kFirstUpdateAtZero, 0}}},
      {"constant 0.5 for 50 > cosine 50", 100, {{LintKind::kJumpAtJoin, 50}}},
      {"warmup 10 > cosine 90 from 0.9", 100, {{LintKind::kJumpAtJoin, 10}}},
      {"(constant 0.5 for 5 > linear 5) stretch_to 99.9",
       99.9,
       {{LintKind::kJumpAtJoin, 49.95}}},
      {"constant 1e-3 for 50 > constant 1e-4 for 50",
       100,
       {{LintKind::kJumpAtJoin, 50}}},
      {"cosine 200",
       100,
       {{LintKind::kFloorNotReached, 100}, {LintKind::kRunShorter, 100}}},
      {"cosine 50 > linear 50 from 0 to 1",
       100,
       {{LintKind::kRiseAfterEnd, 50}}},
      {"warmup 200", 100, {{LintKind::kRunShorter, 100}}},
      {"cosine 100 to 0.1", 200, {{LintKind::kRunLonger, 100}}},
      {"cosine 100", 200, {{LintKind::kRunLonger, 100}}},
      // A decay above a floor leaves the floor where it is, and a run that
      // stops short of it finds that out.
      {"cosine 50 to 0.1 repeat decay 0.5 above 0.1",
       120,
       {{LintKind::kRiseAfterEnd, 99}}},
      {"cosine 200 to 0.1 repeat decay 0.5 to 0.1",
       100,
       {{LintKind::kFloorNotReached, 100}}},
      {"(warmup 10 > cosine 40 from 0.5 to 0.1) repeat 2 decay 0.5 to 0.1",
       100,
       {{LintKind::kJumpAtJoin, 10}}},
      {"polynomial_cycles 30", 100, {{LintKind::kRiseAfterEnd, 30}}},
      {"linear 100", 200, {{LintKind::kRunLonger, 100}}},
      {"warmup 10 > rex 90", 200, {{LintKind::kRunLonger, 100}}}};
  for (const LintCase& c : cases) {
    expect_findings(c);
  }
}

// A factor for a rate shows where it is above 1.
TEST(Lint, WarnsWhereNoFactorIsAsLowAsOne) {
  expect_findings(
      {"linear 100 from 8 to 2", 100, {{LintKind::kFloorAboveOne, 99}}});
  expect_findings({"constant 1.5", 10, {{LintKind::kFloorAboveOne, 0}}});
  expect_findings({"linear 100 from 1 to 5", 100, {}});
  expect_findings({"geometric 100 from 1 to 1000", 100, {}});
}

// What is before 0 after a shift is not played.
TEST(Lint, PassesOverJoinsThatAShiftHasCutOff) {
  expect_findings(
      {"(warmup 10 > cosine 90) shift -20 * linear 100",
       80,
       {{LintKind::kRunShorter, 80}}});
  expect_findings({"(constant 0.5 for 10 > linear 90) shift -10", 90, {}});
  expect_findings(
      {"constant for 10 > ((constant 0.5 for 10 > linear 90) shift -10)",
       100,
       {}});
  expect_findings(
      {"(constant 0.5 for 30 > linear 90) shift -20 * linear 100",
       100,
       {{LintKind::kJumpAtJoin, 10}}});
}

// 10^308 is a double, 10^309 is none.
TEST(Lint, SaysWhereAScheduleHasNoFactor) {
  expect_findings({"exponential 10", 1000, {{LintKind::kNoFactor, 309}}});
  expect_findings({"exponential 10", 1e9, {{LintKind::kNoFactor, 309}}});
  expect_findings({"exponential 10", 309, {}});
  expect_findings(
      // Beside 1e308 the jump to 1 is none.
      {"linear 5 from 0 > exponential 10",
       1000,
       {{LintKind::kFirstUpdateAtZero, 0}, {LintKind::kNoFactor, 314}}});
  // Growth after the run is none of its business.
  expect_findings({"(exponential 10 for 400 > constant) * linear 50", 50, {}});
  const auto found =
      lint(callable([](double t) { return t < 7 ? 1.0 : -1.0; }), 20);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].kind, LintKind::kNoFactor);
  EXPECT_EQ(found[0].at, 7);
  EXPECT_NE(found[0].message.find("got -1"), std::string::npos);
}

TEST(Lint, PassesWhatIsSound) {
  const char* const texts[] = {
      "warmup 10% > cosine 90%",
      "warmup 10% > cosine",
      "warmup 10% > cosine exponent 2",
      "warmup 10% > polynomial power 2 k 2",
      "cosine 50% to 0.1 repeat 2 decay 0.5 above 0.1",
      "cosine 50% to 0.1 repeat 2 decay 0.5 to 0.1 * noise 1 limit 0.67",
      "polynomial_cycles 50%",
      "warmup 7.3% > constant for 61.1% > cooldown sqrt",
      "warmup 0 > cosine to 0.1",
      "(warmup 10% > cosine) * noise 0.05",
      "wsd 5% 80% 15% exponential to 0.01",
      "one_cycle",
      "one_cycle three_phase",
      "flat_cosine",
      "slanted_triangular",
      "tri_stage 10% 20% 70%",
      "multi_step 30% 60% 90%",
      "step 10%",
      "exponential 0.999",
      "warmup 10% > inverse_sqrt 10%",
      "constant",
      "constant 0.5",
      "tanh",
      "triangular 10%",
      "triangular 10% for 100%",
      "cosine_restarts 10%",
      "cosine_restarts 10% cycles 10 to 0.1",
      "linear for 100% clamp 0.2 0.8",
      "linear 50% > linear 50% from 0 to 0"};
  for (const char* text : texts) {
    for (const double run : {100.0, 12345.0, 1e6, 1e12}) {
      const std::vector<LintWarning> found = lint_text(text, run);
      EXPECT_TRUE(found.empty())
          << text << ", " << run << ": " << ::testing::PrintToString(found);
    }
  }
}

TEST(Lint, TakesSharesOfTheRunForTheWholeOfIt) {
  for (int run = 50; run < 3000; ++run) {
    const auto found = lint_text(
        "warmup 3% > constant for 77% > cooldown 20% sqrt to 0.01", run);
    ASSERT_TRUE(found.empty()) << run << ::testing::PrintToString(found);
  }
}

TEST(Lint, LooksAtTheCurveUnderTheNoise) {
  for (const int run : {50, 333, 1000, 20000}) {
    for (const char* text :
         {"constant * noise 0.1 seed 7",
          "warmup 10 > inverse_sqrt 10 * noise 0.1",
          "(warmup 10% > cosine 90%) * noise 0.3 limit 0.9",
          "(warmup 10% * noise 0.2) > (cosine * noise 0.2) clamp 0 2"}) {
      const auto found = lint_text(text, run);
      EXPECT_TRUE(found.empty()) << text << ::testing::PrintToString(found);
    }
  }
  expect_findings(
      {"triangular 100 * noise 0.05", 250, {{LintKind::kRiseAfterEnd, 200}}});
}

// The samples of a long run must not all meet its cycles at one place.
TEST(Lint, SeesCyclesOfEveryLength) {
  for (const double cycle : {64, 100, 128, 1000}) {
    const double run = 4095 * cycle + 1;
    const auto found = lint(cosine_restarts(cycle), run);
    EXPECT_EQ(found.size(), 1U) << cycle << ::testing::PrintToString(found);
    EXPECT_EQ(found.front().kind, LintKind::kRiseAfterEnd);
  }
}

TEST(Lint, SaysTheNumbers) {
  const std::vector<LintWarning> found =
      lint_text("constant 0.5 for 123456 > cosine", 200000);
  ASSERT_EQ(found.size(), 1U);
  for (const char* words : {"0.5", "1", "123456"}) {
    EXPECT_NE(found[0].message.find(words), std::string::npos)
        << found[0].message;
  }
}

TEST(Lint, OrdersByTime) {
  const std::vector<LintWarning> found =
      lint_text("linear 10 from 0 to 0.5 > constant for 40 > cosine 25", 100);
  ASSERT_EQ(found.size(), 3U) << ::testing::PrintToString(found);
  EXPECT_EQ(found[0].kind, LintKind::kFirstUpdateAtZero);
  EXPECT_EQ(found[1].kind, LintKind::kJumpAtJoin);
  EXPECT_EQ(found[2].kind, LintKind::kRunLonger);
  EXPECT_EQ(found[2].at, 75);
}

TEST(Lint, TakesARunOfAnyLength) {
  for (const double run : {0.5, 1.0, 2.0, 5000.5, 1e15, 1e300}) {
    EXPECT_TRUE(lint(constant(), run).empty()) << run;
    EXPECT_TRUE(lint(multi_step({run / 2}), run).empty()) << run;
  }
}

TEST(Lint, RefusesARunThatIsNone) {
  for (const double bad : {0.0, -1.0, kInf, kNan}) {
    EXPECT_TRUE(testing::is_refused(
        {[bad] { lint(constant(), bad); }, {"lint", "run_length", "> 0"}}));
  }
}

}  // namespace
}  // namespace stepsize
