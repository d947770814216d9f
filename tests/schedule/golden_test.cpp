// Lines of ours against the schedules of other libraries.

#include <stepsize/schedule/parse.h>

#include "tests/schedule/goldens.h"

#include <gtest/gtest.h>

#include <string>

namespace stepsize {
namespace {

class OtherLibrary : public ::testing::TestWithParam<const char*> {};

TEST_P(OtherLibrary, RatesAreEqual) {
  const auto goldens = test::read_schedule_goldens(
      std::string(STEPSIZE_SCHEDULE_GOLDENS) + "/" + GetParam() + ".txt");
  ASSERT_GE(goldens.size(), 12U);
  for (const test::ScheduleGolden& golden : goldens) {
    ASSERT_GE(golden.rates.size(), 100U) << golden.call;
    const Schedule schedule = parse(golden.ours);
    for (std::size_t t = 0; t < golden.rates.size(); ++t) {
      // Their formulas lose digits where a difference is small: 1e-14 of the
      // base rate is what 1 - x^k and 1 + cos leave near the end.
      ASSERT_NEAR(
          golden.base * schedule(static_cast<double>(t)),
          golden.rates[t],
          1e-14 * golden.base)
          << golden.call << "\nis not " << golden.ours << " at t = " << t;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Schedules,
    OtherLibrary,
    ::testing::Values("formulas", "timm", "optax", "keras", "hugging_face"),
    [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace stepsize
