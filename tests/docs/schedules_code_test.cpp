// The code of docs/schedules.md, word for word (its assert is EXPECT_TRUE
// here): scripts/check_docs.py looks for each block of the page in this folder.

#include <gtest/gtest.h>
#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/lint.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/ramp.h>

#include <cmath>
#include <iostream>

namespace stepsize {
namespace {

TEST(SchedulesCode, BothWaysGiveEqualValues) {
  const Schedule from_code = warmup(100).then(cosine(900, 0.1));
  const Schedule from_text = parse("warmup 100 > cosine 900 to 0.1");
  EXPECT_EQ(from_code, from_text);
}

TEST(SchedulesCode, CodeIsTrue) {
  {
    const Schedule fall = linear(100);
    EXPECT_TRUE(fall(0) == 1 && fall(50) == 0.5);
    EXPECT_TRUE(fall.length() == 100);
    EXPECT_TRUE(fall(100) == 0 && fall(1e15) == 0);
  }
  {
    const Schedule square_root =
        callable([](double t) { return 1 / std::sqrt(1 + t / 100); });
    EXPECT_TRUE(square_root(300) == 0.5);
  }
  {
    ParseContext context;
    context.steps_per_epoch = 100;
    context.run_length = 1000;
    const Schedule schedule = parse("warmup 2ep > cosine to 5%", context);
    EXPECT_TRUE(schedule == warmup(200).then(cosine(800, 0.05)));
  }
  {
    const Schedule restarts =
        cosine_restarts(1, CosineRestartsOptions().stretch(3));
    EXPECT_TRUE(restarts(121) == 1);  // 1 + 3 + 9 + 27 + 81
  }
}

TEST(SchedulesCode, LintLoopIsSilentForACleanSchedule) {
  const Schedule schedule = parse("warmup 100 > cosine 900 to 0.1");
  testing::internal::CaptureStderr();
  for (const LintWarning& warning : lint(schedule, 1000)) {
    std::cerr << warning.message << '\n';
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace stepsize
