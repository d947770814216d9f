#include <stepsize/schedule/parse.h>

#include "tests/schedule/catalogue.h"
#include "tests/schedule/random_schedules.h"
#include "tests/schedule/refusal.h"

#include <gtest/gtest.h>

#include <clocale>
#include <cstring>
#include <limits>
#include <locale>
#include <stdexcept>
#include <string>
#include <vector>

namespace stepsize {
namespace {

std::vector<Schedule> generated() {
  testing::RandomSchedules generator(1729, testing::Times::kWild);
  std::vector<Schedule> schedules = testing::every_schedule();
  for (int i = 0; i < 4000; ++i) {
    schedules.push_back(generator.any(i % 5));
  }
  return schedules;
}

// Also tells NaN from NaN as equal.
bool same_bits(double a, double b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}

// The factor; NaN where growth has gone beyond the range of a double.
double factor(const Schedule& schedule, double t) {
  try {
    return schedule(t);
  } catch (const std::domain_error&) {
    return std::numeric_limits<double>::quiet_NaN();
  }
}

TEST(RoundTrip, GivesAnEqualSchedule) {
  for (const Schedule& schedule : generated()) {
    const std::string text = schedule.to_string();
    const Schedule again = parse(text);
    ASSERT_EQ(again, schedule) << text << "\nbecame\n" << again.to_string();
    ASSERT_EQ(again.to_string(), text);
    ASSERT_TRUE(same_bits(again.length(), schedule.length())) << text;
    for (const double t : {0.0, 0.3, 1.0, 17.0, 400.5, 1e6, 1e15}) {
      ASSERT_TRUE(same_bits(factor(again, t), factor(schedule, t)))
          << text << " at " << t;
    }
  }
}

TEST(RoundTrip, HoldsForTheDeepestTreeThatIsAllowed) {
  // A curve is one deep, each change of it one more.
  Schedule clamped = cosine(100);
  Schedule repeated = cosine(100);
  for (int depth = 2; depth <= 99; ++depth) {
    clamped = clamped.clamp(0, 1);
    repeated = depth % 2 == 0 ? repeated.then(cosine(100)) : repeated.repeat(1);
  }
  for (const Schedule& deepest : {clamped.clamp(0, 1), repeated.repeat(1)}) {
    EXPECT_EQ(parse(deepest.to_string()), deepest);
    EXPECT_TRUE(testing::is_refused(
        {[&] { deepest.clamp(0, 1); }, {"Schedule", "100 deep", "101"}}));
    EXPECT_THROW(parse(deepest.to_string() + " clamp 0 1"), ParseError);
  }
}

class CommaDecimals : public std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

// Sets the C++ locale, and the C locale where one with commas is installed.
class LocaleGuard {
 public:
  LocaleGuard() {
    for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8"}) {
      if (std::setlocale(LC_ALL, name) != nullptr) {
        break;
      }
    }
    std::locale::global(std::locale(std::locale(), new CommaDecimals));
  }
  ~LocaleGuard() {
    std::locale::global(std::locale::classic());
    std::setlocale(LC_ALL, "C");
  }
};

TEST(RoundTrip, DoesNotDependOnTheLocale) {
  const std::vector<Schedule> schedules = testing::every_schedule();
  std::vector<std::string> texts;
  for (const Schedule& schedule : schedules) {
    texts.push_back(schedule.to_string());
  }
  const LocaleGuard guard;
  ASSERT_EQ(
      std::use_facet<std::numpunct<char>>(std::locale()).decimal_point(), ',');
  for (std::size_t i = 0; i < schedules.size(); ++i) {
    EXPECT_EQ(schedules[i].to_string(), texts[i]);
    EXPECT_EQ(parse(texts[i]), schedules[i]) << texts[i];
  }
  EXPECT_EQ(
      parse("cosine_restarts 12345.5 cycles 1234567").to_string(),
      "cosine_restarts 12345.5 cycles 1234567");
}

}  // namespace
}  // namespace stepsize
