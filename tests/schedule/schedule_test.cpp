#include <stepsize/schedule/schedule.h>

#include <stepsize/schedule/parse.h>

#include "tests/schedule/catalogue.h"
#include "tests/schedule/refusal.h"

#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace stepsize {
namespace {

using testing::every_schedule;
using testing::is_refused;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

static_assert(std::is_copy_constructible_v<Schedule>);
static_assert(std::is_copy_assignable_v<Schedule>);
static_assert(std::is_nothrow_move_constructible_v<Schedule>);

TEST(Schedule, IsOneByDefault) {
  EXPECT_EQ(Schedule(), constant(1));
  EXPECT_EQ(Schedule()(1234), 1);
}

TEST(Schedule, RefusesTimesThatAreNone) {
  for (const Schedule& schedule : every_schedule()) {
    const testing::Refusal refusals[] = {
        {[&] { schedule(-1e-300); }, {"Schedule", "t", ">= 0", "-1e-300"}},
        {[&] { schedule(-kInf); }, {"Schedule", "t", ">= 0", "-inf"}},
        {[&] { schedule(kNan); }, {"Schedule", "t", ">= 0", "nan"}}};
    for (const testing::Refusal& refusal : refusals) {
      EXPECT_TRUE(is_refused(refusal)) << schedule.to_string();
    }
  }
}

TEST(Schedule, HoldsTheValueAtItsEndForEver) {
  for (const Schedule& schedule : every_schedule()) {
    const double length = schedule.length();
    if (length == kInf) {
      EXPECT_TRUE(is_refused({[&] { schedule(kInf); }, {"finite", "inf"}}))
          << schedule.to_string();
      continue;
    }
    const double last = schedule(length);
    for (const double t : {length + 1e-9, length + 1, 1e15, 1e308, kInf}) {
      EXPECT_EQ(schedule(t), last) << schedule.to_string() << " at " << t;
    }
  }
}

TEST(Schedule, IsAUsableFactorAtEveryTime) {
  for (const Schedule& schedule : every_schedule()) {
    for (double t = 0; t < 400; t += 0.37) {
      const double factor = schedule(t);
      ASSERT_TRUE(factor >= 0 && factor <= 1.7) << schedule.to_string();
    }
    for (double t = 1e-300; t < 1e307; t *= 9.7) {
      const double factor = schedule(t);
      ASSERT_TRUE(factor >= 0 && factor <= 1.7)
          << schedule.to_string() << " at " << t;
    }
  }
}

// Each number of each curve's text in turn becomes one that it may not like.
TEST(Schedule, RefusesANumberOrTakesIt) {
  for (const testing::CatalogueRow& row : testing::curve_rows()) {
    std::istringstream in(row.text);
    std::vector<std::string> words;
    for (std::string word; in >> word;) {
      words.push_back(word);
    }
    for (std::string& word : words) {
      if (std::isdigit(static_cast<unsigned char>(word.front())) == 0 ||
          word.find(':') != std::string::npos) {
        continue;
      }
      const std::string before = word;
      for (const auto* number : {"-1", "0", "5e-324", "0.5", "1", "1e308"}) {
        word = number;
        std::string text;
        for (const std::string& each : words) {
          text += each + " ";
        }
        try {
          const Schedule schedule = parse(text);
          for (const double t : {0.0, 0.5, 1.0, 100.0, 1e9, 1e300}) {
            const double factor = schedule(t);
            EXPECT_TRUE(factor >= 0 && std::isfinite(factor)) << text;
          }
        } catch (const std::invalid_argument&) {
          // It says what is wrong.
        } catch (const std::domain_error&) {
          // Growth beyond the range of a double.
        }
      }
      word = before;
    }
  }
}

TEST(Schedule, IsContinuousInsideItsSmoothCurves) {
  for (const Schedule& schedule :
       {warmup(40).then(cosine(60, 0.1)),
        one_cycle(100),
        one_cycle(100, OneCycleOptions().three_phase(true)),
        warmup_stable_decay(10, 50, 40, CooldownShape::kCosine),
        tri_stage(10, 50, 40),
        flat_cosine(100),
        slanted_triangular(100),
        triangular(10),
        triangular2(10),
        warmup(40).then(inverse_sqrt(40)),
        noam(40, 1)}) {
    for (double t = 0; t < 120; t += 0.01) {
      ASSERT_NEAR(schedule(t), schedule(t + 1e-9), 1e-8)
          << schedule.to_string() << " at " << t;
    }
  }
}

TEST(Schedule, EqualsOnlyTheSameTree) {
  const std::vector<Schedule> once = every_schedule();
  const std::vector<Schedule> again = every_schedule();
  for (std::size_t i = 0; i < once.size(); ++i) {
    for (std::size_t j = 0; j < again.size(); ++j) {
      EXPECT_EQ(once[i] == again[j], i == j)
          << once[i].to_string() << " and " << again[j].to_string();
      EXPECT_NE(once[i] == again[j], once[i] != again[j]);
    }
  }
}

TEST(Schedule, EqualityLooksAtEveryNumber) {
  EXPECT_NE(cosine(10, 0, 2), cosine(10, 0, 3));
  EXPECT_NE(multi_step({1, 2}), multi_step({1, 2, 2}));
  EXPECT_NE(noise(0.1, 1), noise(0.1, 2));
  EXPECT_NE(linear(9).repeat(2), linear(9).repeat(3));
  EXPECT_NE(linear(9).repeat(2, 2), linear(9).repeat(2, 3));
  EXPECT_NE(linear(9).repeat(2, 2, 1), linear(9).repeat(2, 2, 0.5));
  EXPECT_NE(linear(9).clamp(0, 1), linear(9).clamp(0, 2));
  EXPECT_NE(linear(9).limit(3), linear(9).shift(3));
  EXPECT_NE(constant() * noise(0.1), noise(0.1) * constant());
}

TEST(Schedule, JoinsAreAssociative) {
  const Schedule a = warmup(3);
  const Schedule b = cosine(4);
  const Schedule c = rex(5);
  EXPECT_EQ(a.then(b).then(c), a.then(b.then(c)));
}

TEST(Schedule, ProductsGoFromLeftToRight) {
  const Schedule a = constant(0.1);
  const Schedule b = constant(0.7);
  const Schedule c = constant(0.3);
  EXPECT_EQ((a * b) * c, parse("constant 0.1 * constant 0.7 * constant 0.3"));
  EXPECT_EQ((a * b) * c, parse("(constant 0.1 * constant 0.7) * constant 0.3"));
  EXPECT_EQ(a * (b * c), parse("constant 0.1 * (constant 0.7 * constant 0.3)"));
  EXPECT_EQ(((a * b) * c)(0), (0.1 * 0.7) * 0.3);
  EXPECT_EQ((a * (b * c))(0), 0.1 * (0.7 * 0.3));
  EXPECT_NE(((a * b) * c)(0), (a * (b * c))(0));
}

TEST(Schedule, CallablesEqualTheirCopiesAlone) {
  const auto one = [](double) { return 1.0; };
  const Schedule a = callable(one, 5);
  const Schedule copy = a;
  EXPECT_EQ(a, copy);
  EXPECT_NE(a, callable(one, 5));
  EXPECT_EQ(a.then(cosine(3)), copy.then(cosine(3)));
  EXPECT_NE(a.then(cosine(3)), callable(one, 5).then(cosine(3)));
  EXPECT_EQ(a.to_string(), "callable for 5");
  EXPECT_EQ(callable(one).to_string(), "callable");
}

TEST(Schedule, CopiesAreIndependentValues) {
  Schedule a = cosine(10);
  const Schedule copy = a;
  a = constant(0.5);
  EXPECT_EQ(copy(5), cosine(10)(5));
  EXPECT_EQ(a(5), 0.5);
}

TEST(Schedule, StaysUsableWhenMovedFrom) {
  Schedule a = cosine(10);
  const Schedule b = std::move(a);
  EXPECT_EQ(a, b);  // NOLINT(bugprone-use-after-move): what is tested
  EXPECT_EQ(a(5), b(5));
}

TEST(Schedule, RefusesToAnswerBeyondTheRangeOfADouble) {
  EXPECT_EQ(exponential(2)(1023), 0x1p1023);
  EXPECT_THROW(exponential(2)(1024), std::domain_error);
  EXPECT_THROW((constant(1e308) * constant(1e308))(0), std::domain_error);
}

TEST(Schedule, AnswersAlikeFromSeveralThreads) {
  const std::vector<Schedule> schedules = every_schedule();
  const auto sums = [&schedules] {
    std::vector<double> result;
    for (const Schedule& shared : schedules) {
      const Schedule schedule = shared;
      double sum = 0;
      for (int t = 0; t < 500; ++t) {
        sum += schedule(t);
      }
      result.push_back(sum);
    }
    return result;
  };
  const std::vector<double> expected = sums();
  std::vector<std::vector<double>> found(4);
  std::vector<std::thread> threads;
  for (std::vector<double>& place : found) {
    threads.emplace_back([&place, &sums] { place = sums(); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const std::vector<double>& result : found) {
    EXPECT_EQ(result, expected);
  }
}

}  // namespace
}  // namespace stepsize
