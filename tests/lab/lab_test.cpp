#include "examples/lab/lab.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace stepsize::lab {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

bool holds(const std::function<void(Lab&)>& report) {
  Lab lab("title", testing::TempDir());
  report(lab);
  return lab.all_hold();
}

TEST(Lab, HoldsWhereTheoryAndMeasurementAgree) {
  EXPECT_TRUE(holds([](Lab& lab) {
    lab.expect_near("near", 1, 1.5, 0.5);
    lab.expect_between("between", 1, 2, 1);
    lab.note("a number", kNaN);
  }));
}

TEST(Lab, DoesNotHoldAfterARowThatIsOff) {
  EXPECT_FALSE(holds([](Lab& lab) {
    lab.expect_near("off", 1, 1.5, 0.4);
    lab.expect_near("near", 1, 1, 0);
  }));
  EXPECT_FALSE(holds([](Lab& lab) { lab.expect_between("low", 1, 2, 0.9); }));
  EXPECT_FALSE(holds([](Lab& lab) { lab.expect_between("high", 1, 2, 2.1); }));
  EXPECT_FALSE(holds([](Lab& lab) { lab.expect_near("NaN", 1, kNaN, 9); }));
  EXPECT_FALSE(holds([](Lab& lab) { lab.expect_near("NaN", kNaN, 1, 9); }));
  EXPECT_FALSE(holds([](Lab& lab) { lab.expect_between("NaN", 0, 1, kNaN); }));
}

int status_of(const std::function<void(Lab&)>& experiment) {
  std::string name = "program";
  std::string folder = testing::TempDir();
  char* arguments[] = {name.data(), folder.data(), nullptr};
  return run(2, arguments, "title", experiment);
}

TEST(LabRun, EndsWithAStatusThatTells) {
  EXPECT_EQ(status_of([](Lab& lab) { lab.expect_near("", 1, 1, 0); }), 0);
  EXPECT_EQ(status_of([](Lab& lab) { lab.expect_near("", 1, 2, 0); }), 1);
  EXPECT_EQ(status_of([](Lab&) { throw std::runtime_error("broken"); }), 1);
  std::string name = "program";
  std::string option = "--help";
  char* arguments[] = {name.data(), option.data(), nullptr};
  EXPECT_EQ(run(2, arguments, "title", [](Lab&) {}), 2);
}

TEST(Extremes, FindLeastAndMostAndKeepNaN) {
  const auto [least, most] = extremes({2, -1, 5});
  EXPECT_EQ(least, -1);
  EXPECT_EQ(most, 5);
  for (const auto& values :
       {std::vector<double>{kNaN, 1}, std::vector<double>{1, kNaN, 2}}) {
    EXPECT_TRUE(std::isnan(extremes(values).least));
    EXPECT_TRUE(std::isnan(extremes(values).most));
  }
}

}  // namespace
}  // namespace stepsize::lab
