#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/optim/clipped_adamw.h>
#include <torch/torch.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tests/adaptive/optimizer_golden.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

void expect_adamw_follows(
    const std::string& name,
    const ClippedAdamWOptions& options,
    double slack = 1) {
  expect_follows_golden(
      name,
      [&](const std::vector<torch::Tensor>& parameters) {
        const auto adamw = std::make_shared<ClippedAdamW>(parameters, options);
        const auto rate = std::make_shared<ScheduleLR>(*adamw, "cosine 200");
        return GoldenRun{
            [adamw, rate](GoldenProblem& problem) {
              problem.set_gradients();
              adamw->step();
              rate->step();
            },
            nullptr};
      },
      slack);
}

ClippedAdamWOptions golden_options() {
  return ClippedAdamWOptions(0.02)
      .betas(std::make_tuple(0.9, 0.99))
      .weight_decay(0.1)
      .max_norm(kInfinity);
}

TEST(ClippedAdamW, CautiousFollowsThePaper) {
  expect_adamw_follows("cautious_adamw", golden_options().cautious(true));
}

TEST(ClippedAdamW, CorrectedDecayFollowsThePaper) {
  expect_adamw_follows("adamc", golden_options().peak_lr(0.02));
}

}  // namespace
}  // namespace stepsize::test
