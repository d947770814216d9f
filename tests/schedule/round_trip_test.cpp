#include <stepsize/schedule/parse.h>

#include "tests/schedule/catalogue.h"
#include "tests/schedule/refusal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <clocale>
#include <cmath>
#include <cstring>
#include <limits>
#include <locale>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace stepsize {
namespace {

// Seeded expressions of any curve under any combinator, with numbers of every
// size among the ordinary ones.
class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}

  Schedule any(int depth) {
    if (depth == 0 || below(5) == 0) {
      return curve();
    }
    switch (below(8)) {
      case 0:
        return finite(depth - 1).then(any(depth - 1));
      case 1:
        return any(depth - 1) * any(depth - 1);
      case 2: {
        const double low = positive();
        return any(depth - 1).clamp(
            low, below(3) == 0 ? kInf : std::max(low, positive()));
      }
      case 3:
        return finite(depth - 1).repeat(
            below(2) == 0 ? Schedule::kForever : count(), stretch(), share());
      case 4:
        return finite(depth - 1).stretch_to(positive());
      case 5: {
        const Schedule inner = finite(depth - 1);
        return inner.shift(-inner.length() * share());
      }
      case 6:
        return any(depth - 1).shift(positive());
      default:
        return any(depth - 1).limit(positive());
    }
  }

 private:
  static constexpr double kInf = std::numeric_limits<double>::infinity();

  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  double uniform() {
    return std::ldexp(static_cast<double>(below(1U << 30)), -30);
  }
  double positive() {
    static const double odd[] = {
        5e-324, 1e-300, 1.0 / 3, 0.1, 1, 3, 1e15, 9007199254740992, 1e300};
    return below(3) == 0 ? odd[below(std::size(odd))] : 1 + 1000 * uniform();
  }
  double share() {
    static const double odd[] = {1e-300, 1.0 / 3, 0.1, 0.25, 1};
    return below(3) == 0 ? odd[below(std::size(odd))] : 0.01 + 0.9 * uniform();
  }
  double zero_or(double value) { return below(4) == 0 ? 0 : value; }
  double stretch() { return below(2) == 0 ? 1 : 1 + 3 * uniform(); }
  int64_t count() {
    return below(4) == 0 ? (int64_t{1} << 62) + 1
                         : static_cast<int64_t>(1 + below(9));
  }

  Schedule finite(int depth) {
    Schedule schedule = any(depth);
    const double length = schedule.length();
    return length > 0 && length < 1e300 ? schedule
                                        : schedule.limit(1 + uniform());
  }

  Schedule curve() {
    const double n = positive();
    const double s = share();
    const double m = zero_or(share());
    const auto up = static_cast<WarmupShape>(below(4));
    const auto down = static_cast<CooldownShape>(below(5));
    switch (below(20)) {
      case 0:
        return constant(zero_or(positive()));
      case 1:
        return linear(zero_or(n), zero_or(positive()), below(2) ? 1 : n);
      case 2:
        return warmup(zero_or(n), up);
      case 3:
        return warmup(zero_or(n), up, s);
      case 4:
        return cooldown(zero_or(n), down, s);
      case 5:
        return cosine(n, m, positive());
      case 6:
        return polynomial(n, positive(), m);
      case 7:
        return geometric(zero_or(n), s, below(2) ? 1 : positive());
      case 8:
        return rex(n, below(4) ? m : 1);
      case 9:
        return tanh_decay(n, -positive(), positive(), m);
      case 10:
        return step_decay(n, m);
      case 11:
        return multi_step({zero_or(s), n + s, n + s}, positive());
      case 12:
        return below(2) ? exponential(s) : inverse_time(m, n, below(2) == 0);
      case 13:
        return below(2) ? inverse_sqrt(n) : noam(n, positive(), positive());
      case 14:
        return piecewise(
            {{0, m}, {1 + s, 1 / 3.0}, {3 + n, s}},
            static_cast<Interpolation>(below(2)));
      case 15:
        return noise(s / 2, random_(), s, n);
      case 16:
        return cosine_restarts(
            n,
            CosineRestartsOptions()
                .stretch(stretch())
                .peak_decay(share())
                .cycles(below(2) ? Schedule::kForever : count())
                .floor(m));
      case 17: {
        TriangularOptions options;
        options.floor(m).down(below(2) ? n : positive());
        return below(2) ? triangular(n, options) : triangular2(n, options);
      }
      case 18:
        return exp_range(n, s);
      default:
        return one_cycle(
            n, OneCycleOptions().pct_start(s / 2).three_phase(below(2)));
    }
  }

  std::mt19937_64 random_;
};

std::vector<Schedule> generated() {
  Generator generator(1729);
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
