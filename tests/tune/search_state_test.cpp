#include "csrc/tune/search_state.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace stepsize::test {
namespace {

using detail::SearchRecord;
using detail::SearchState;
using Kind = SearchRecord::Kind;

SearchRecord record(
    Kind kind,
    int64_t trial,
    int64_t repeat,
    int64_t step,
    double loss,
    const std::string& status = "") {
  SearchRecord made;
  made.kind = kind;
  made.trial = trial;
  made.repeat = repeat;
  made.step = step;
  made.loss = loss;
  made.status = status;
  if (kind == Kind::kStart) made.values = {1};
  return made;
}

// A trial that tells `early` after 10 of 90 steps, `middle` after 30 and ends
// with `last`.
void add_run(
    SearchState& state,
    int64_t trial,
    double early,
    double middle,
    double last) {
  EXPECT_TRUE(state.apply(record(Kind::kStart, trial, 0, 0, 0)));
  EXPECT_TRUE(state.apply(record(Kind::kReport, trial, 0, 10, early)));
  EXPECT_TRUE(state.apply(record(Kind::kReport, trial, 0, 30, middle)));
  EXPECT_TRUE(state.apply(record(Kind::kEnd, trial, 0, 90, last, "finished")));
}

SearchState three_runs() {
  SearchState state(1, 1);
  add_run(state, 0, 3, 2, 1);
  add_run(state, 1, 4, 3, 2);
  add_run(state, 2, 5, 4, 0.5);
  state.apply(record(Kind::kStart, 3, 0, 0, 0));
  return state;
}

// Four are there: the best third is two of them.
TEST(SuccessiveHalving, StopsWhatIsNotAmongTheBestAtARung) {
  const SearchState state = three_runs();
  EXPECT_EQ(state.longest(), 90);
  EXPECT_TRUE(state.goes_on(3, 0, 10, 2.5, 3));
  EXPECT_TRUE(state.goes_on(3, 0, 10, 3.5, 3));
  EXPECT_FALSE(state.goes_on(3, 0, 10, 4.5, 3));
  EXPECT_FALSE(state.goes_on(3, 0, 12, 6, 3));
  // As good as one of the best.
  EXPECT_TRUE(state.goes_on(3, 0, 10, 4, 3));
}

TEST(SuccessiveHalving, StopsNothingBetweenRungs) {
  SearchState state = three_runs();
  EXPECT_TRUE(state.goes_on(3, 0, 9, 100, 3));
  state.apply(record(Kind::kReport, 3, 0, 10, 3.5));
  EXPECT_TRUE(state.goes_on(3, 0, 20, 100, 3));
  EXPECT_FALSE(state.goes_on(3, 0, 31, 100, 3));
  EXPECT_TRUE(state.goes_on(3, 0, 10, 100, INFINITY));
}

TEST(SuccessiveHalving, StopsNothingBeforeThreeOthersWereThere) {
  SearchState state(1, 1);
  add_run(state, 0, 3, 2, 1);
  add_run(state, 1, 4, 3, 2);
  state.apply(record(Kind::kStart, 2, 0, 0, 0));
  EXPECT_TRUE(state.goes_on(2, 0, 10, 100, 3));
}

// As bad as the worst that was better then, and as its own last loss.
TEST(SuccessiveHalving, TakesAStoppedTrialForNoBetterThanThoseThatPassed) {
  SearchState state = three_runs();
  state.apply(record(Kind::kReport, 3, 0, 10, 4.5));
  state.apply(record(Kind::kEnd, 3, 0, 10, 4.5, "stopped"));
  EXPECT_EQ(state.stopped_loss(3), 4.5);
  state.apply(record(Kind::kStart, 4, 0, 0, 0));
  state.apply(record(Kind::kReport, 4, 0, 10, 0.1));
  state.apply(record(Kind::kEnd, 4, 0, 10, 0.1, "stopped"));
  EXPECT_EQ(state.stopped_loss(4), 0.1);
}

TEST(SearchState, AveragesRepeats) {
  SearchState state(1, 3);
  state.apply(record(Kind::kStart, 0, 0, 0, 0));
  state.apply(record(Kind::kEnd, 0, 0, 5, 1, "finished"));
  state.apply(record(Kind::kEnd, 0, 1, 5, 2, "finished"));
  EXPECT_FALSE(state.trials()[0].is_done());
  state.apply(record(Kind::kEnd, 0, 2, 5, 6, "finished"));
  EXPECT_TRUE(state.trials()[0].is_done());
  EXPECT_DOUBLE_EQ(state.trials()[0].mean_loss(), 3);
  EXPECT_DOUBLE_EQ(state.trials()[0].loss_variance(), 7);  // (4 + 1 + 9) / 2
}

TEST(SearchState, OneRepeatThatDivergesEndsTheTrial) {
  SearchState state(1, 2);
  state.apply(record(Kind::kStart, 0, 0, 0, 0));
  state.apply(record(Kind::kEnd, 0, 0, 5, NAN, "diverged"));
  EXPECT_TRUE(state.trials()[0].is_done());
  EXPECT_EQ(state.trials()[0].status(), "diverged");
}

TEST(SearchState, LeavesOutRecordsThatDoNotFit) {
  SearchState state(1, 2);
  EXPECT_FALSE(state.apply(record(Kind::kEnd, 0, 0, 5, 1, "finished")));
  EXPECT_FALSE(state.apply(record(Kind::kStart, 1, 0, 0, 0)));
  EXPECT_TRUE(state.apply(record(Kind::kStart, 0, 0, 0, 0)));
  EXPECT_FALSE(state.apply(record(Kind::kStart, 0, 0, 0, 0)));
  EXPECT_FALSE(state.apply(record(Kind::kReport, 0, 2, 1, 1)));
  EXPECT_FALSE(state.apply(record(Kind::kEnd, 0, 0, 5, NAN, "finished")));
  EXPECT_TRUE(state.apply(record(Kind::kEnd, 0, 0, 5, 1, "finished")));
  EXPECT_FALSE(state.apply(record(Kind::kReport, 0, 0, 9, 1)));
  EXPECT_FALSE(state.apply(record(Kind::kEnd, 0, 0, 9, 1, "finished")));
  SearchRecord two = record(Kind::kStart, 1, 0, 0, 0);
  two.values = {1, 2};
  EXPECT_FALSE(state.apply(two));
}

TEST(SearchState, AnotherRunOfATrialReplacesItsReports) {
  SearchState state(1, 1);
  state.apply(record(Kind::kStart, 0, 0, 0, 0));
  state.apply(record(Kind::kReport, 0, 0, 10, 5));
  state.apply(record(Kind::kReport, 0, 0, 20, 4));
  state.apply(record(Kind::kReport, 0, 0, 10, 3));
  ASSERT_EQ(state.trials()[0].repeats[0].reports.size(), 1U);
  EXPECT_EQ(state.trials()[0].repeats[0].reports[0].second, 3);
}

}  // namespace
}  // namespace stepsize::test
