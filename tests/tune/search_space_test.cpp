#include <stepsize/tune/search_space.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/error_text.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

TEST(SearchSpace, TakesEqualStepsOfItsScale) {
  const SearchSpace space(
      "lr:1e-4..1 log, momentum:0..0.99 log1m, dropout:0.1..0.5");
  const auto values = space.at({0.25, 0.5, 0.75});
  EXPECT_NEAR(values[0], 1e-3, 1e-15);
  // 1 - m goes from 1 to 0.01: half way it is 0.1.
  EXPECT_NEAR(values[1], 0.9, 1e-12);
  EXPECT_NEAR(values[2], 0.4, 1e-15);
  const auto places = space.places_of(values);
  EXPECT_NEAR(places[0], 0.25, 1e-12);
  EXPECT_NEAR(places[1], 0.5, 1e-12);
  EXPECT_NEAR(places[2], 0.75, 1e-12);
}

TEST(SearchSpace, MeetsItsEndsExactly) {
  const SearchSpace space("a:0.3..0.7 log, b:-3..11 int, c:0.1..0.9 log1m");
  EXPECT_EQ(space.at({0, 0, 0}), (std::vector<double>{0.3, -3, 0.1}));
  EXPECT_EQ(space.at({1, 1, 1}), (std::vector<double>{0.7, 11, 0.9}));
  EXPECT_EQ(space.at({-5, 2, NAN}), (std::vector<double>{0.3, 11, 0.1}));
}

TEST(SearchSpace, IntegersAreWhole) {
  const SearchSpace space("batch:16..512 log int");
  for (int i = 0; i <= 100; ++i) {
    const double value = space.at({i / 100.0})[0];
    EXPECT_EQ(value, std::round(value));
  }
  EXPECT_EQ(space.at({0.4})[0], 64);  // 16 * 32^0.4 = 64
}

TEST(SearchSpace, PutsNumbersIntoASchedule) {
  SearchSpace space("lr:1e-5..10 log");
  space.add_schedule(
      "warmup {w:1%..20% log} > cosine to {f:0..0.3}",
      {/*steps_per_epoch=*/0, /*run_length=*/1000});
  EXPECT_EQ(space.schedule_text({0.1, 5, 0.25}), "warmup 5% > cosine to 0.25");
  const Schedule schedule = space.schedule({0.1, 5, 0.25});
  EXPECT_EQ(schedule.length(), 1000);
  EXPECT_DOUBLE_EQ(schedule(50), 1);
  EXPECT_DOUBLE_EQ(schedule(1000), 0.25);
}

TEST(SearchSpace, ANameInBracesIsTheNumberOnceMore) {
  SearchSpace space;
  space.add_schedule("warmup {n:10..100 log int} > cosine {n} to {f:0..1}");
  EXPECT_EQ(space.size(), 2U);
  EXPECT_EQ(space.schedule_text({20, 0.5}), "warmup 20 > cosine 20 to 0.5");
  // One that was there before counts too.
  SearchSpace other("n:10..100 int");
  other.add_schedule("cosine { n }");
  EXPECT_EQ(other.size(), 1U);
  other.add(SearchNumber{"late", 0, 1});
  EXPECT_EQ(other.schedule_text({30, 0.5}), "cosine 30");
}

TEST(SearchSpace, TextReadsBackAsTheSame) {
  const std::string text =
      "lr:1e-05..10 log, beta2:0.9..0.9999 log1m, batch:16..512 log int, "
      "x:-0.5..2";
  EXPECT_EQ(SearchSpace(text).to_string(), text);
  EXPECT_EQ(
      SearchSpace(" lr : 1e-5 .. +1E1 log ,weight-decay:0..1").to_string(),
      "lr:1e-05..10 log, weight_decay:0..1");
  SearchSpace space("lr:1..2");
  space.add_schedule("constant for {n:1ep..3ep}", {100, 0});
  EXPECT_EQ(
      space.to_string(), "lr:1..2, n:1ep..3ep; constant for {n:1ep..3ep}");
}

TEST(SearchSpace, JoinsAnotherWithItsSchedule) {
  SearchSpace other;
  other.add_schedule("cosine {n:5..50 int}");
  SearchSpace space("lr:1..2");
  space.add(other);
  EXPECT_EQ(space.schedule_text({1.5, 7}), "cosine 7");
  EXPECT_EQ(space.index_of("n"), 1U);
}

struct BadText {
  const char* text;
  std::size_t column;
  const char* says;
};

TEST(SearchSpace, PointsAtTheColumnOfABadText) {
  for (const BadText& bad : {
           BadText{"", 1, "the name of a number"},
           BadText{"lr", 3, "':' and a range"},
           BadText{"lr:", 4, "the lowest value"},
           BadText{"lr:1", 5, "'..'"},
           BadText{"lr:1...2", 4, "got 1..0.2"},
           BadText{"lr:1..", 7, "the highest value"},
           BadText{"lr:1..x", 7, "the highest value"},
           BadText{"lr:nan..1", 4, "the lowest value"},
           BadText{"lr:1e999..1", 4, "range of a double"},
           BadText{"lr:1e-..1", 5, "'..'"},
           BadText{"lr:2..1", 4, "low < high, got 2..1"},
           BadText{"lr:1..1", 4, "low < high, got 1..1"},
           BadText{"lr:0..1 log", 4, "> 0 for log"},
           BadText{"m:0..1 log1m", 3, "< 1 for log1m"},
           BadText{"b:0.5..8 int", 3, "whole numbers"},
           BadText{"b:1..8 int int", 12, "unexpected 'int'"},
           BadText{"b:1..8 log log1m", 12, "unexpected 'log1m'"},
           BadText{"b:1..8 exp", 8, "expected log, log1m or int"},
           BadText{"b:1%..8%", 4, "of a schedule's numbers only"},
           BadText{"a:1..2 b:1..2", 8, "unexpected 'b'"},
           BadText{"a:1..2, a:1..2", 9, "'a' is there twice"},
           BadText{"a:1..2,", 8, "the name of a number"},
           BadText{"a:1..2; b", 7, "',' or the end"},
           BadText{"1:1..2", 1, "the name of a number"},
       }) {
    try {
      const SearchSpace space(bad.text);
      ADD_FAILURE() << bad.text;
    } catch (const ParseError& error) {
      EXPECT_EQ(error.column(), bad.column) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(bad.says)) << bad.text;
    }
  }
}

TEST(SearchSpace, PointsAtTheColumnOfABadBrace) {
  for (const BadText& bad : {
           BadText{"cosine {", 9, "the name of a number"},
           BadText{"cosine {n", 10, "':' and a range"},
           BadText{"cosine {n:1..2", 15, "expected '}'"},
           BadText{"cosine {n:1..2] ", 15, "expected '}'"},
           BadText{"cosine {n:1%..2ep}", 15, "in '%' too"},
           BadText{"cosine {n:9..5}", 11, "low < high"},
           BadText{"warmup {n:1..2} > cosine {n:1..3}", 27, "'{n}', the same"},
       }) {
    SearchSpace space("lr:1..2");
    try {
      space.add_schedule(bad.text);
      ADD_FAILURE() << bad.text;
    } catch (const ParseError& error) {
      EXPECT_EQ(error.column(), bad.column) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(bad.says)) << bad.text;
    }
    EXPECT_EQ(space.to_string(), "lr:1..2");  // as it was
  }
}

TEST(SearchSpace, RefusesATextThatIsNoScheduleWithItsNumbers) {
  SearchSpace space;
  EXPECT_THROW(space.add_schedule("cosinus {n:1..2}"), ParseError);
  EXPECT_THROW(space.add_schedule("cosine {n:-5..2}"), ParseError);
  // Shares of a run whose length nobody knows.
  EXPECT_THROW(space.add_schedule("cosine {n:1%..2%}"), ParseError);
  // One with all numbers lowest and with all highest.
  EXPECT_THROW(
      space.add_schedule(
          "multi_step {a:10%..50%} {b:40%..90%}", {0, /*run_length=*/1000}),
      ParseError);
  EXPECT_EQ(space.size(), 0U);
  EXPECT_FALSE(space.has_schedule());
}

TEST(SearchSpace, RefusesNumbersThatAreNone) {
  SearchSpace space("lr:1..2");
  const auto add = [&space](const SearchNumber& number) {
    return message_of([&] { space.add(number); });
  };
  EXPECT_EQ(
      add({"lr", 0, 1}), "SearchSpace: names must differ, got 'lr' twice");
  EXPECT_THAT(add({"", 0, 1}), HasSubstr("letters, digits and '_'"));
  EXPECT_THAT(add({"a b", 0, 1}), HasSubstr("got 'a b'"));
  EXPECT_THAT(add({"a", 0, INFINITY}), HasSubstr("got 0..inf"));
  EXPECT_THAT(add({"a", NAN, 1}), HasSubstr("got nan..1"));
  EXPECT_THAT(add({"a", -1e308, 1e308}), HasSubstr("must be finite"));
  SearchNumber unit{"a", 0, 1};
  unit.unit = "s";
  EXPECT_THAT(add(unit), HasSubstr("got 's'"));
  EXPECT_EQ(space.size(), 1U);
  EXPECT_EQ(
      message_of([&] { space.index_of("rate"); }),
      "SearchSpace: there must be a number 'rate', got lr");
  EXPECT_EQ(
      message_of([&] {
        space.at({1, 2});
      }),
      "SearchSpace: there must be one value a number (1), got 2");
  EXPECT_EQ(
      message_of([&] { space.schedule_text({1}); }),
      "SearchSpace: there must be a schedule");
}

}  // namespace
}  // namespace stepsize::test
