// Every class against Python's torch: scripts/make_goldens.py.

#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/phased_lr.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/lr_scheduler/support/golden_file.h"
#include "tests/lr_scheduler/support/spec.h"

namespace stepsize::test {
namespace {

class Golden : public testing::TestWithParam<const char*> {
 protected:
  // Compares what is in force at step t with the series of that name.
  void compare(
      const GoldenCase& golden,
      const std::string& name,
      const std::vector<double>& ours,
      std::size_t t) {
    const auto found = golden.series.find(name);
    if (found == golden.series.end()) return;
    ASSERT_EQ(ours.size(), found->second.size());
    for (std::size_t i = 0; i < ours.size(); ++i) {
      const std::vector<double>& series = found->second[i];
      const double largest = *std::max_element(series.begin(), series.end());
      ASSERT_TRUE(close(ours[i], series[t], largest))
          << name << " of group " << i << " at t = " << t << ": "
          << testing::PrintToString(ours[i]) << ", Python "
          << testing::PrintToString(series[t]);
      worst_ = std::max(worst_, std::fabs(ours[i] - series[t]) / largest);
    }
  }

  double worst_ = 0;
};

TEST_P(Golden, RatesAndMomentaArePythons) {
  const std::vector<GoldenCase> cases = read_goldens(GetParam());
  ASSERT_FALSE(cases.empty());
  for (const GoldenCase& golden : cases) {
    SCOPED_TRACE(golden.spec);
    const auto optimizer = make_optimizer(golden.optimizer, golden.base_lrs);
    std::unique_ptr<torch::optim::LRScheduler> before;
    if (!golden.before.empty()) {
      before = recipe_of(golden.before).make(*optimizer);
    }
    const std::unique_ptr<torch::optim::LRScheduler> scheduler =
        recipe_of(golden.spec).make(*optimizer);
    for (int64_t i = 0; i < golden.before_steps; ++i) before->step();

    const std::size_t points = golden.series.at("lr")[0].size();
    for (std::size_t t = 0; t < points; ++t) {
      if (t > 0) scheduler->step();
      compare(golden, "lr", lrs_of(*optimizer), t);
      compare(golden, "momentum", momenta_of(*optimizer), t);
      if (HasFatalFailure()) return;
    }
  }
  RecordProperty("worst_over_largest", testing::PrintToString(worst_));
}

INSTANTIATE_TEST_SUITE_P(
    Classes,
    Golden,
    testing::Values(
        "lambda_lr",
        "multiplicative_lr",
        "step_lr",
        "multi_step_lr",
        "constant_lr",
        "linear_lr",
        "exponential_lr",
        "polynomial_lr",
        "cosine_annealing_lr",
        "cosine_annealing_warm_restarts",
        "cyclic_lr",
        "one_cycle_lr",
        "sequential_lr",
        "sequential_momentum",
        "chained_scheduler",
        "swa_lr",
        "adam_cycles"),
    [](const auto& test) { return std::string(test.param); });

// Steps a plateau through each case of a file, with options as `edit` leaves
// them, and compares all that it shows.
void expect_plateaus_of(
    const std::string& name, const std::function<void(Spec&)>& edit) {
  const std::vector<GoldenCase> cases = read_goldens(name);
  ASSERT_FALSE(cases.empty());
  for (const GoldenCase& golden : cases) {
    SCOPED_TRACE(golden.spec);
    const auto optimizer = make_optimizer(golden.optimizer, golden.base_lrs);
    Spec spec = parse_spec(golden.spec);
    edit(spec);
    const auto made = recipe_of(spec).make(*optimizer);
    const auto phased_optimizer =
        make_optimizer(golden.optimizer, golden.base_lrs);
    spec.word = "PlateauPhase";
    const auto phase = recipe_of(spec).make(*phased_optimizer);
    auto& phased = dynamic_cast<PhasedLR&>(*phase);
    auto& plateau = dynamic_cast<ReduceLROnPlateau&>(*made);
    const auto& series = golden.series;
    const std::vector<double>& metrics = series.at("metrics")[0];
    for (std::size_t t = 0; t < metrics.size(); ++t) {
      SCOPED_TRACE(t);
      plateau.step(metrics[t]);
      phased.observe(metrics[t]);
      ASSERT_EQ(lrs_of(*phased_optimizer), lrs_of(*optimizer));
      const std::vector<double> lrs = lrs_of(*optimizer);
      for (std::size_t i = 0; i < lrs.size(); ++i) {
        // The same operations in the same order: equal to the last bit.
        ASSERT_EQ(lrs[i], series.at("lr")[i][t + 1]);
      }
      ASSERT_EQ(plateau.get_last_lr(), lrs);
      ASSERT_EQ(plateau.best(), series.at("best")[0][t]);
      ASSERT_EQ(
          plateau.num_bad_epochs(),
          static_cast<int64_t>(series.at("num_bad_epochs")[0][t]));
      ASSERT_EQ(
          plateau.cooldown_counter(),
          static_cast<int64_t>(series.at("cooldown_counter")[0][t]));
    }
  }
}

TEST(ReduceLROnPlateau, PythonRelIsPythons) {
  expect_plateaus_of("reduce_lr_on_plateau", [](Spec& spec) {
    if (spec.find("threshold_mode") == nullptr) {
      Spec python_rel;
      python_rel.word = "python_rel";
      spec.options.emplace_back("threshold_mode", python_rel);
    }
  });
}

// Python's class with a margin of threshold |best|.
TEST(ReduceLROnPlateau, RelIsPythonsWithTheMarginOfTheBestsSize) {
  expect_plateaus_of("reduce_lr_on_plateau_even", [](Spec&) {});
}

}  // namespace
}  // namespace stepsize::test
