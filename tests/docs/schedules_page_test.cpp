// The schedules and messages of docs/schedules.md against the library.

#include <gtest/gtest.h>
#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/lint.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/recipe.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "csrc/schedule/curves.h"
#include "tests/docs/page.h"

namespace stepsize {
namespace {

constexpr const char* kPage = "docs/schedules.md";

// What the page's texts are resolved against.
ParseContext run_of_1000() {
  ParseContext context;
  context.steps_per_epoch = 100;
  context.run_length = 1000;
  return context;
}

struct Row {
  Schedule schedule;
  const char* text;
};

// The columns C++ and Text of the page's tables.
std::vector<Row> rows() {
  return {
      {constant(0.5), "constant 0.5"},
      {warmup(100), "warmup 100"},
      {warmup(100, WarmupShape::kCosine), "warmup 100 cosine"},
      {warmup(100, WarmupShape::kExponential), "warmup 100 exponential"},
      {warmup(100, WarmupShape::kSqrt), "warmup 100 sqrt"},
      {warmup(100, WarmupShape::kLinear, 0.2), "warmup 100 linear from 0.2"},
      {linear(1000), "linear 1000"},
      {linear(1000, 0.8, 0.1), "linear 1000 from 0.8 to 0.1"},
      {cosine(1000), "cosine 1000"},
      {cosine(1000, 0.2), "cosine 1000 to 0.2"},
      {cosine(1000, 0, 2), "cosine 1000 k 2"},
      {cosine(1000, 0, 1, 2), "cosine 1000 exponent 2"},
      {polynomial(1000, 2), "polynomial 1000 power 2"},
      {polynomial(1000, 0.5, 0, 2), "polynomial 1000 power 0.5 k 2"},
      {geometric(1000, 1, 0.01), "geometric 1000 to 0.01"},
      {rex(1000), "rex 1000"},
      {tanh_decay(1000), "tanh 1000"},
      {cosine(1000, 0, 0.5), "cosine 1000 k 0.5"},
      {cosine(1000, 0, 4), "cosine 1000 k 4"},
      {polynomial(1000, 0.5), "polynomial 1000 power 0.5"},
      {polynomial(1000, 4, 0.1), "polynomial 1000 power 4 to 0.1"},
      {tanh_decay(1000, -3, 3), "tanh 1000 lower -3 upper 3"},
      {cooldown(100), "cooldown 100"},
      {cooldown(100, CooldownShape::kCosine), "cooldown 100 cosine"},
      {cooldown(100, CooldownShape::kSqrt), "cooldown 100 sqrt"},
      {cooldown(100, CooldownShape::kSquare), "cooldown 100 square"},
      {cooldown(100, CooldownShape::kExponential, 0.01),
       "cooldown 100 exponential to 0.01"},
      {step_decay(250, 0.5), "step 250 gamma 0.5"},
      {multi_step({500, 750}, 0.3), "multi_step 500 750 gamma 0.3"},
      {exponential(0.997), "exponential 0.997"},
      {exponential(0.5, 250), "exponential 0.5 every 250"},
      {inverse_time(1, 100), "inverse_time 1 every 100"},
      {inverse_time(1, 100, true), "inverse_time 1 every 100 staircase"},
      {inverse_sqrt(50), "inverse_sqrt 50"},
      {warmup(50).then(inverse_sqrt(50)), "warmup 50 > inverse_sqrt 50"},
      {noam(100, 400, 200), "noam 100 model_size 400 scale 200"},
      {cosine_restarts(100, CosineRestartsOptions().stretch(2)),
       "cosine_restarts 100 stretch 2"},
      {cosine_restarts(
           250, CosineRestartsOptions().peak_decay(0.7).cycles(3).floor(0.05)),
       "cosine_restarts 250 decay 0.7 cycles 3 to 0.05"},
      {cosine_restarts(
           250, CosineRestartsOptions().height_decay(0.7).floor(0.05)),
       "cosine_restarts 250 decay 0.7 above 0.05"},
      {polynomial_cycles(250, 2, 0.05),
       "polynomial_cycles 250 power 2 to 0.05"},
      {triangular(125), "triangular 125"},
      {triangular2(125), "triangular2 125"},
      {exp_range(125, 0.998, TriangularOptions().floor(0.1)),
       "exp_range 125 gamma 0.998 from 0.1"},
      {triangular(50, TriangularOptions().down(450).floor(0)),
       "triangular 50 down 450 from 0"},
      {one_cycle(1000), "one_cycle 1000"},
      {one_cycle(
           1000, OneCycleOptions().anneal_strategy(AnnealStrategy::kLinear)),
       "one_cycle 1000 linear"},
      {one_cycle(1000, OneCycleOptions().three_phase(true)),
       "one_cycle 1000 three_phase"},
      {one_cycle(1000, OneCycleOptions().pct_start(0.1).div_factor(5)),
       "one_cycle 1000 pct 0.1 div 5"},
      {warmup_stable_decay(50, 650, 300), "wsd 50 650 300"},
      {warmup_stable_decay(50, 650, 300, CooldownShape::kCosine),
       "wsd 50 650 300 cosine"},
      {warmup_stable_decay(50, 650, 300, CooldownShape::kSqrt),
       "wsd 50 650 300 sqrt"},
      {warmup_stable_decay(50, 650, 300, CooldownShape::kSquare, 0.1),
       "wsd 50 650 300 square to 0.1"},
      {warmup_stable_decay(50, 650, 300, CooldownShape::kExponential, 0.01),
       "wsd 50 650 300 exponential to 0.01"},
      {tri_stage(100, 400, 500), "tri_stage 100 400 500"},
      {flat_cosine(1000), "flat_cosine 1000"},
      {slanted_triangular(1000), "slanted_triangular 1000"},
      {piecewise({{0, 0.1}, {200, 1}, {600, 0.4}, {1000, 0}}),
       "piecewise 0:0.1 200:1 600:0.4 1000:0"},
      {piecewise(
           {{0, 0.1}, {200, 1}, {600, 0.4}, {1000, 0}}, Interpolation::kCosine),
       "piecewise 0:0.1 200:1 600:0.4 1000:0 cosine"},
      {noise(0.1, 7), "noise 0.1 seed 7"},
      {cosine(1000) * noise(0.1, 7, 0.5, 10),
       "cosine 1000 * noise 0.1 seed 7 every 10"},
      {noise(1, 0, 0.67), "noise 1 limit 0.67"},
      {warmup(100).then(cosine(900)), "warmup 100 > cosine 900"},
      {warmup(200) * cosine(1000), "warmup 200 * cosine 1000"},
      {exponential(0.99).limit(500), "exponential 0.99 for 500"},
      {cosine(1000).clamp(0.2, 0.8), "cosine 1000 clamp 0.2 0.8"},
      {cosine(100).repeat(), "cosine 100 repeat"},
      {cosine(100).repeat(3, 2, 0.5),
       "cosine 100 repeat 3 stretch 2 decay 0.5"},
      {rex(100, 0.1).repeat(RepeatOptions().peak_decay(0.5).floor(0.1)),
       "rex 100 to 0.1 repeat decay 0.5 to 0.1"},
      {rex(100, 0.1).repeat(RepeatOptions().height_decay(0.5).floor(0.1)),
       "rex 100 to 0.1 repeat decay 0.5 above 0.1"},
      {cosine(400).stretch_to(1000), "cosine 400 stretch_to 1000"},
      {cosine(400).shift(300), "cosine 400 shift 300"},
      {cosine(400).shift(-100), "cosine 400 shift -100"},
  };
}

std::string without_spaces(const std::string& text) {
  std::string result;
  std::copy_if(
      text.begin(), text.end(), std::back_inserter(result), [](char c) {
        return c != ' ' && c != '\n';
      });
  return result;
}

TEST(SchedulesPage, CodeAndTextOfEveryRowAreEqual) {
  for (const Row& row : rows()) {
    EXPECT_EQ(parse(row.text), row.schedule)
        << row.text << " is " << parse(row.text).to_string() << " and not "
        << row.schedule.to_string();
  }
}

TEST(SchedulesPage, EveryRowIsOneOfTheseRows) {
  std::string source;
  for (const std::string& line :
       lines_of("tests/docs/schedules_page_test.cpp")) {
    source += without_spaces(line);
  }
  std::size_t found = 0;
  for (const auto& cells : table_rows(kPage)) {
    if (cells.size() != 3 || !is_code(cells[0]) || !is_code(cells[1]) ||
        cells[0][1] == 'k') {
      continue;
    }
    const std::string row = "{" + without_spaces(code_in(cells[1])) + ",\"" +
                            without_spaces(code_in(cells[0])) + "\"}";
    EXPECT_NE(source.find(row), std::string::npos) << row;
    ++found;
  }
  EXPECT_EQ(found, rows().size());
}

TEST(SchedulesPage, EveryCurveHasARowAndItsUsage) {
  std::set<std::string> shown;
  for (const Row& row : rows()) {
    const std::string text = row.text;
    shown.insert(text.substr(0, text.find(' ')));
  }
  const std::vector<std::string> usages = fenced_lines(kPage, "text");
  for (const detail::CurveSpec& spec : detail::curve_specs()) {
    EXPECT_EQ(shown.count(spec.name), 1U) << spec.name;
    EXPECT_NE(std::find(usages.begin(), usages.end(), spec.usage), usages.end())
        << spec.usage;
  }
}

TEST(SchedulesPage, EveryScheduleInABlockParses) {
  const std::vector<std::string> texts = fenced_lines(kPage, "schedule");
  EXPECT_FALSE(texts.empty());
  for (const std::string& text : texts) {
    EXPECT_NO_THROW(parse(text, run_of_1000())) << text;
  }
}

TEST(SchedulesPage, EveryAdviceParses) {
  std::size_t found = 0;
  for (const auto& cells : table_rows(kPage)) {
    if (cells.size() != 2 || is_code(cells[0])) {
      continue;
    }
    // One or more codes in the second column.
    const std::string& cell = cells[1];
    for (std::size_t at = cell.find('`'); at != std::string::npos;) {
      const std::size_t end = cell.find('`', at + 1);
      const std::string code = cell.substr(at + 1, end - at - 1);
      at = cell.find('`', end + 1);
      EXPECT_NO_THROW(parse(code, run_of_1000())) << code;
      ++found;
    }
  }
  EXPECT_GE(found, 8U);
}

TEST(SchedulesPage, LintSaysWhatItIsSaidToSay) {
  const std::map<std::string, LintKind> kinds{
      {"kFirstUpdateAtZero", LintKind::kFirstUpdateAtZero},
      {"kJumpAtJoin", LintKind::kJumpAtJoin},
      {"kFloorNotReached", LintKind::kFloorNotReached},
      {"kRiseAfterEnd", LintKind::kRiseAfterEnd},
      {"kRunShorter", LintKind::kRunShorter},
      {"kRunLonger", LintKind::kRunLonger},
      {"kNoFactor", LintKind::kNoFactor},
      {"kFloorAboveOne", LintKind::kFloorAboveOne},
  };
  std::size_t found = 0;
  for (const auto& cells : table_rows(kPage)) {
    if (cells.size() != 3 || !is_code(cells[0]) || cells[0][1] != 'k') {
      continue;
    }
    const auto warnings = lint(parse(code_in(cells[1])), 1000);
    ASSERT_EQ(warnings.size(), 1U) << cells[1];
    EXPECT_EQ(warnings[0].kind, kinds.at(code_in(cells[0])));
    EXPECT_EQ(warnings[0].message, cells[2]);
    ++found;
  }
  EXPECT_EQ(found, kinds.size());
}

TEST(SchedulesPage, ErrorIsAsShown) {
  std::string page;
  for (const std::string& line : fenced_lines(kPage, "text")) {
    page += line + "\n";
  }
  try {
    parse("warmup 500 > cosne 9500");
    FAIL();
  } catch (const ParseError& error) {
    EXPECT_NE(page.find(error.what()), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace stepsize
