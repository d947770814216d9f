// The schedules and messages of docs/schedules.md against the library.

#include <gtest/gtest.h>
#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/lint.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/recipe.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "csrc/schedule/curves.h"
#include "tests/docs/page.h"
#include "tests/schedule/catalogue.h"

namespace stepsize {
namespace {

constexpr const char* kPage = "docs/schedules.md";
constexpr const char* kCatalogue = "tests/schedule/catalogue.h";

// What the page's texts are resolved against.
ParseContext run_of_1000() {
  ParseContext context;
  context.steps_per_epoch = 100;
  context.run_length = 1000;
  return context;
}

using testing::CatalogueRow;

// The columns C++ and Text of the page's tables.
std::vector<CatalogueRow> rows() {
  std::vector<CatalogueRow> all = testing::curve_rows();
  for (const auto& row : testing::combination_rows()) {
    all.push_back(row);
  }
  return all;
}

std::string without_spaces(const std::string& text) {
  std::string result;
  std::copy_if(
      text.begin(), text.end(), std::back_inserter(result), [](char c) {
        return c != ' ' && c != '\n';
      });
  return result;
}

// Whether `source` has the call `name(`, and not as the end of a longer name.
bool has_call(const std::string& source, const std::string& call) {
  for (std::size_t at = source.find(call); at != std::string::npos;
       at = source.find(call, at + 1)) {
    const char before = at == 0 ? ' ' : source[at - 1];
    if (std::isalnum(static_cast<unsigned char>(before)) == 0 &&
        before != '_') {
      return true;
    }
  }
  return false;
}

TEST(SchedulesPage, CodeAndTextOfEveryRowAreEqual) {
  for (const CatalogueRow& row : rows()) {
    try {
      EXPECT_EQ(parse(row.text), row.schedule)
          << row.text << " is " << parse(row.text).to_string() << " and not "
          << row.schedule.to_string();
    } catch (const ParseError& error) {
      ADD_FAILURE() << "csrc/schedule/curves.cpp cannot read a row of "
                    << kCatalogue << ": " << error.what();
    }
  }
}

TEST(SchedulesPage, EveryRowIsOneOfTheseRows) {
  std::string source;
  for (const std::string& line : lines_of(kCatalogue)) {
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
    EXPECT_NE(source.find(row), std::string::npos)
        << kCatalogue << " lacks " << row;
    ++found;
  }
  EXPECT_EQ(found, rows().size())
      << kPage << " does not show every row of " << kCatalogue;
}

TEST(SchedulesPage, EveryCurveHasARowAndItsUsage) {
  std::set<std::string> shown;
  for (const CatalogueRow& row : testing::curve_rows()) {
    const std::string text = row.text;
    shown.insert(text.substr(0, text.find(' ')));
  }
  const std::vector<std::string> usages = fenced_lines(kPage, "text");
  for (const detail::CurveSpec& spec : detail::curve_specs()) {
    EXPECT_EQ(shown.count(spec.name), 1U)
        << kCatalogue << " has no row of " << spec.name;
    EXPECT_NE(std::find(usages.begin(), usages.end(), spec.usage), usages.end())
        << kPage << " does not have '" << spec.usage << "'";
  }
}

// What a curve is worth is in a test beside it: of its values, by a formula or
// numbers from elsewhere, and of what it refuses.
TEST(SchedulesPage, EveryCurveIsTestedByName) {
  std::string tests;
  for (const auto* file :
       {"cycle", "decay", "noise", "ramp", "recipe", "schedule"}) {
    for (const auto& line :
         lines_of("tests/schedule/" + std::string(file) + "_test.cpp")) {
      tests += line;
    }
  }
  for (const auto& cells : table_rows(kPage)) {
    if (cells.size() != 3 || !is_code(cells[0]) || !is_code(cells[1]) ||
        cells[0][1] == 'k') {
      continue;
    }
    const std::string code = code_in(cells[1]);
    const std::string call = code.substr(0, code.find('(') + 1);
    EXPECT_TRUE(has_call(tests, call))
        << "no test in tests/schedule/{cycle,decay,noise,ramp,recipe,schedule}"
        << "_test.cpp has " << call << ")";
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
