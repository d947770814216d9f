#include <stepsize/schedule/parse.h>

#include <gtest/gtest.h>

#include <cstddef>
#include <exception>
#include <random>
#include <string>
#include <typeinfo>
#include <vector>

namespace stepsize {
namespace {

struct BadText {
  std::string text;
  std::size_t column;
  std::string says;
};

void expect_refused(const BadText& bad, const ParseContext& context = {}) {
  const std::string shown = bad.text.substr(0, 60);
  try {
    const Schedule schedule = parse(bad.text, context);
    ADD_FAILURE() << "'" << shown << "' became " << schedule.to_string();
  } catch (const ParseError& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.column(), bad.column) << shown << "\n" << message;
    EXPECT_NE(message.find(bad.says), std::string::npos)
        << "'" << bad.says << "' is not in: " << message;
    EXPECT_NE(
        message.find("column " + std::to_string(bad.column)), std::string::npos)
        << message;
  }
}

TEST(ParseError, PointsAtTheColumnAndSaysWhatWasExpected) {
  const BadText texts[] = {
      {"", 1, "expected a curve"},
      {"   ", 4, "expected a curve"},
      {"\t\n", 3, "expected a curve"},
      {"500", 1, "expected a curve"},
      {"cosin 100", 1, "did you mean 'cosine'?"},
      {"Cosine 100", 1, "did you mean 'cosine'?"},
      {"warm-up 100", 1, "did you mean 'warmup'?"},
      {"zzzzzzzz 100", 1, "expected one of constant, linear, warmup"},
      {"callable", 1, "no curve"},
      {"cosine", 7, "expected the length of cosine"},
      {"warmup", 7, "expected the length of warmup"},
      {"step", 5, "expected the period of step"},
      {"triangular", 11, "expected the rising half of triangular"},
      {"noise", 6, "expected the standard deviation of noise"},
      {"wsd 5 80", 4, "expected the decay of wsd"},
      {"geometric 9", 1, "expected 'to' and a number"},
      {"noam 9", 1, "expected 'model_size' and a number"},
      {"piecewise 0 1", 13, "expected ':'"},
      {"piecewise 0:", 13, "expected the factor"},
      {"piecewise", 1, "at least one point"},
      {"cosine 100 to", 14, "expected a number after 'to'"},
      {"cosine 100 to x", 15, "expected a number after 'to'"},
      {"cosine 100 200", 12, "expected cosine [LENGTH]"},
      {"cosine 100 to 1 to 0", 17, "'to' has been said already"},
      {"warmup 9 sqrt cosine", 15, "'sqrt' has been said already"},
      {"cosine 100 tu 0.1",
       12,
       "expected '>', '*', from, to, k, exponent, for"},
      {"cosine 100 tu 0.1", 12, "did you mean 'to'?"},
      {"cosine 100 exponnt 2", 12, "did you mean 'exponent'?"},
      {"cosine 100 repeet", 12, "did you mean 'repeat'?"},
      {"cosine 100 power 2", 12, "unexpected 'power'; expected '>'"},
      {"polynomial-cycle 9", 1, "did you mean 'polynomial_cycles'?"},
      {"polynomial_cycles", 18, "expected the length of polynomial_cycles"},
      {"polynomial_cycles 9 power 0", 1, "power must be > 0 and finite"},
      {"cosine 9 exponent 0", 1, "exponent must be > 0 and finite, got 0"},
      {"polynomial 9 k 0", 1, "polynomial: k must be > 0 and finite, got 0"},
      {"exponential 0.9 every 0", 1, "period must be > 0 and finite, got 0"},
      {"cosine 9 repeat decay 0.5 to 0.1 above 0.1", 40, "and not both"},
      {"cosine_restarts 9 above 0.1 to 0.1", 25, "and not both"},
      {"cosine 9 repeat 3 to 0.1", 10, "expected 'decay D'"},
      {"cosine 9 repeat 3 above 0.1", 10, "expected 'decay D'"},
      {"cosine 9 repeat decay 0.5 above 2",
       10,
       "floor must be a factor of the base "},
      {"cosine 9 repeat decay 2 above 0.1", 10, "decay must be in (0, 1]"},
      {"cosine 100 for", 15, "expected a duration after 'for'"},
      {"cosine 100 clamp 0", 19, "expected the high bound of clamp"},
      {"cosine 100 clamp 2ep 3", 18, "expected a plain number"},
      {"cosine 100 repeat 1.5", 19, "expected a whole number >= 1"},
      {"cosine 100 repeat -1", 19, "expected a whole number >= 1"},
      {"cosine_restarts 9 cycles 0", 26, "expected a whole number >= 1"},
      {"cosine 100 >", 13, "expected a curve"},
      {"> cosine 100", 1, "expected a curve"},
      {"cosine 100 * > rex 9", 14, "expected a curve"},
      {"(cosine 100", 12, "expected ')'"},
      {"cosine 100)", 11, "unexpected ')'"},
      {"()", 2, "expected a curve"},
      {"constant > cosine 100", 10, "has no end"},
      {"constant repeat", 10, "has no end"},
      {"warmup -5", 1, "length must be >= 0 and finite, got -5"},
      {"cosine 9 to -2", 1, "to must be >= 0 and finite, got -2"},
      {"triangular 0", 1, "up must be > 0 and finite, got 0"},
      {"warmup 9 > cosine 9 clamp 3 2", 21, "high must be >= low"},
      {"cosine inf", 1, "finite, got inf"},
      {"constant nan", 10, "unexpected 'nan'"},
      {"cosine 1e999", 8, "range"},
      {"cosine 1e-999", 8, "range"},
      {"cosine 0x10", 9, "expected 'ep'"},
      {"cosine 10steps", 10, "expected 'ep'"},
      {"cosine .", 8, "expected a number"},
      {"cosine -", 8, "expected a curve, a number"},
      {"cosine 1,5", 9, "expected a curve, a number"},
      {"cosine 100\n> rex\t9 $", 20, "expected a curve, a number"},
      {"cosine 100 \xc2\xb5", 12, "expected a curve, a number"},
      {"noise 0.1 seed -1", 16, "expected a whole number from 0"},
      {"noise 0.1 seed 18446744073709551616", 16, "from 0 to 2^64 - 1"},
      {"cosine", 7, "run_length in the ParseContext"},
      {"cosine 2ep", 8, "steps in an epoch"},
      {"cosine 2ep", 8, "set steps_per_epoch in the ParseContext"},
      {"warmup 5% > cosine", 8, "length of the run"},
      {"warmup 5% > cosine", 8, "set run_length in the ParseContext"}};
  for (const BadText& bad : texts) {
    expect_refused(bad);
  }
}

TEST(ParseError, SaysThatTheRunIsUsedUp) {
  ParseContext context;
  context.run_length = 100;
  expect_refused({"warmup 100 > cosine", 14, "nothing is left"}, context);
  expect_refused({"warmup 120% > cosine", 15, "nothing is left"}, context);
}

TEST(ParseError, ShowsTheLineWithACaretUnderTheColumn) {
  try {
    parse("cosine 9 >\n\tr\xc3\xa9x 9");
    ADD_FAILURE();
  } catch (const ParseError& error) {
    EXPECT_EQ(error.column(), 14U);
    EXPECT_NE(
        std::string(error.what()).find("\n  \tr\xc3\xa9x 9\n  \t ^"),
        std::string::npos)
        << error.what();
  }
}

std::string repeated(const std::string& piece, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += piece;
  }
  return text;
}

TEST(ParseError, BoundsTheNesting) {
  const int many = 10000;
  const std::string open = repeated("(", many);
  for (const std::string& text :
       {open,
        open + "constant" + repeated(")", many),
        "constant" + repeated(" clamp 0 1", 100 * many),
        "constant" + repeated(" for 1", 100 * many)}) {
    EXPECT_THROW(parse(text), ParseError) << text.substr(0, 40);
  }
  EXPECT_EQ(
      parse(repeated("(", 50) + "constant" + repeated(")", 50)),
      parse("constant"));
}

TEST(Parse, TakesLongTexts) {
  const int many = 20000;
  const Schedule chain =
      parse("warmup 1" + repeated(" > constant for 1", many));
  EXPECT_EQ(chain.length(), many + 1);
  EXPECT_EQ(chain(many), 1);
  EXPECT_EQ(parse("constant 1" + repeated(" * constant 1", many))(3), 1);
  EXPECT_EQ(parse("multi_step" + repeated(" 1", many) + " gamma 1")(3), 1);
}

TEST(ParseError, IsTheOnlyErrorOfAnyText) {
  const std::vector<std::string> seeds = {
      "warmup 500 > cosine 9500 to 0.1",
      "warmup 2ep cosine > constant for 70% > cooldown sqrt",
      "(triangular 2000 from 0.1) * noise 0.05 seed 7",
      "cosine_restarts 10 stretch 2 decay 0.5 cycles 3 to 0.1",
      "polynomial 9 k 2 repeat 3 decay 0.5 above 0.1 > cosine 9 exponent 2",
      "polynomial_cycles 9 power 2 to 0.1 * noise inf limit 0.67",
      "piecewise 0:0.1 500:1 10000:0 cosine clamp 0.1 inf",
      "(linear 10 repeat 3 stretch 1.5 decay 0.9) stretch_to 1e15 shift -5",
      "one_cycle pct 0.2 div 10 final_div inf linear three_phase",
      "multi_step 1 2 3 gamma 5e-324 * exp_range 9 gamma 0.5 down 3"};
  const std::string alphabet = "0123456789.e-+%()*>: \t\nabkpstx_\xc3\xa9\0~";
  std::mt19937_64 random(20240229);
  const auto below = [&random](std::size_t bound) { return random() % bound; };
  ParseContext context;
  context.steps_per_epoch = 7;
  context.run_length = 1000;
  int parsed = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = seeds[below(seeds.size())];
    for (std::size_t edits = 1 + below(4); edits > 0; --edits) {
      const std::size_t at = below(text.size() + 1);
      const std::string& other = seeds[below(seeds.size())];
      switch (below(4)) {
        case 0:
          text.insert(at, 1, alphabet[below(alphabet.size())]);
          break;
        case 1:
          text.erase(at, 1 + below(3));
          break;
        case 2:
          text.resize(at);
          break;
        default:
          text.insert(at, other.substr(below(other.size()), below(12)));
      }
    }
    try {
      const Schedule schedule = parse(text, context);
      ++parsed;
      ASSERT_EQ(parse(schedule.to_string()), schedule) << text;
      const double factor = schedule(10);
      ASSERT_TRUE(factor >= 0) << text;
    } catch (const ParseError& error) {
      ASSERT_GE(error.column(), 1U) << text;
      ASSERT_LE(error.column(), text.size() + 1) << text;
    } catch (const std::exception& error) {
      FAIL() << text << "\n" << typeid(error).name() << ": " << error.what();
    }
  }
  // Enough of both kinds that the loop shows something.
  EXPECT_GT(parsed, 500);
  EXPECT_LT(parsed, 15000);
}

}  // namespace
}  // namespace stepsize
