// The points of the Schedule-Free optimizers between updates: modes, archive,
// rollback.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/adaptive/schedule_free_adamw.h>
#include <stepsize/adaptive/schedule_free_evaluation.h>
#include <stepsize/adaptive/schedule_free_sgd.h>
#include <stepsize/optim/optimizer_snapshot.h>
#include <torch/torch.h>

#include <memory>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <vector>

#include "csrc/optim/rollback_point.h"
#include "tests/adaptive/schedule_free.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

// What both classes do alike is tested of one.
class FreeRun {
 public:
  explicit FreeRun(torch::Dtype type = torch::kFloat32) {
    for (int k = 0; k < 2; ++k) {
      parameters.push_back(free_wave(7, k).to(type).set_requires_grad(true));
    }
    optimizer = std::make_unique<ScheduleFreeAdamW>(
        parameters, ScheduleFreeAdamWOptions(0.03).warmup_steps(5));
  }

  void step(int count = 1) {
    for (int i = 0; i < count; ++i) {
      ++clock;
      for (auto& parameter : parameters) {
        parameter.mutable_grad() =
            (parameter.detach() * 2 + 0.1 * static_cast<double>(clock)).sin();
      }
      optimizer->step();
    }
  }

  void take(const FreeRun& other) {
    const torch::NoGradGuard no_grad;
    for (std::size_t k = 0; k < parameters.size(); ++k) {
      parameters[k].copy_(other.parameters[k]);
    }
    clock = other.clock;
  }

  std::vector<torch::Tensor> values() const {
    std::vector<torch::Tensor> all;
    for (const auto& parameter : parameters) {
      all.push_back(parameter.detach().clone());
    }
    return all;
  }

  void expect_values(const std::vector<torch::Tensor>& expected) const {
    for (std::size_t k = 0; k < parameters.size(); ++k) {
      EXPECT_TRUE(torch::equal(parameters[k], expected[k])) << k;
    }
  }

  std::vector<torch::Tensor> parameters;
  std::unique_ptr<ScheduleFreeAdamW> optimizer;
  int clock = 0;
};

TEST(ScheduleFreeOptimizer, SwitchesBetweenItsPoints) {
  FreeRun run(torch::kFloat64);
  EXPECT_TRUE(run.optimizer->is_training());
  const auto start = run.values();
  run.optimizer->eval();
  EXPECT_FALSE(run.optimizer->is_training());
  // Before the first update all points are one.
  run.expect_values(start);
  run.optimizer->train();
  run.step(20);
  const auto y = run.values();
  run.optimizer->train();
  run.expect_values(y);
  run.optimizer->eval();
  const auto x = run.values();
  EXPECT_GT(free_difference(x[0], y[0]), 1e-3);
  const auto z = free_state(*run.optimizer).tensors[0];
  EXPECT_LT(free_difference(0.1 * z + 0.9 * x[0], y[0]), 1e-15);
  run.optimizer->eval();
  run.expect_values(x);
  run.optimizer->train();
  EXPECT_LT(free_difference(run.parameters[0], y[0]), 1e-15);
}

TEST(ScheduleFreeOptimizer, RefusesToStepInEvalMode) {
  FreeRun run;
  run.step(3);
  run.optimizer->eval();
  const auto x = run.values();
  bool called = false;
  EXPECT_THAT(
      message_of([&] {
        run.optimizer->step([&] {
          called = true;
          return torch::zeros({});
        });
      }),
      HasSubstr("ScheduleFreeAdamW: it is in eval mode"));
  EXPECT_FALSE(called);
  EXPECT_THAT(
      message_of([&] { run.optimizer->step(); }), HasSubstr("call train()"));
  run.expect_values(x);
  EXPECT_EQ(free_state(*run.optimizer).steps, 3);
}

TEST(ScheduleFreeEvaluation, LeavesNoTrace) {
  for (const auto type : {torch::kFloat32, torch::kBFloat16}) {
    FreeRun run(type);
    FreeRun unwatched(type);
    for (int i = 0; i < 10; ++i) {
      run.step();
      unwatched.step();
      const auto y = run.values();
      {
        const ScheduleFreeEvaluation guard(*run.optimizer);
        EXPECT_FALSE(run.optimizer->is_training());
        // Half a spacing of bfloat16 apart they are one at first.
        if (i == 9) {
          EXPECT_GT(free_difference(run.parameters[0], y[0]), 0);
        }
      }
      EXPECT_TRUE(run.optimizer->is_training());
      run.expect_values(unwatched.values());
      EXPECT_THROW(
          {
            const ScheduleFreeEvaluation guard(*run.optimizer);
            throw std::runtime_error("no data");
          },
          std::runtime_error);
      run.expect_values(y);
    }
  }
}

TEST(ScheduleFreeEvaluation, PutsBackWhatTheWayThereAndBackDoesNot) {
  auto parameter =
      free_wave(10000, 0).to(torch::kFloat32).set_requires_grad(true);
  ScheduleFreeSGD optimizer(
      {parameter}, ScheduleFreeSGDOptions(0.5).momentum(0.95));
  for (int t = 1; t <= 20; ++t) {
    parameter.mutable_grad() = free_wave(10000, t).to(torch::kFloat32);
    optimizer.step();
  }
  const auto y = parameter.detach().clone();
  { const ScheduleFreeEvaluation guard(optimizer); }
  EXPECT_TRUE(torch::equal(parameter, y));
  optimizer.eval();
  optimizer.train();
  EXPECT_FALSE(torch::equal(parameter, y));
  EXPECT_LT(free_difference(parameter, y), 1e-6);
}

TEST(ScheduleFreeEvaluation, LeavesAnotherModeAlone) {
  FreeRun run;
  run.step(5);
  run.optimizer->eval();
  const auto x = run.values();
  { const ScheduleFreeEvaluation guard(*run.optimizer); }
  EXPECT_FALSE(run.optimizer->is_training());
  run.expect_values(x);
  run.optimizer->train();
  std::vector<torch::Tensor> y;
  {
    const ScheduleFreeEvaluation guard(*run.optimizer);
    run.optimizer->train();
    y = run.values();
  }
  run.expect_values(y);
}

TEST(ScheduleFreeOptimizer, TheArchiveCarriesTheMode) {
  for (const bool in_training : {true, false}) {
    FreeRun run;
    run.step(9);
    if (!in_training) run.optimizer->eval();
    std::stringstream file;
    torch::save(*run.optimizer, file);
    FreeRun resumed;
    resumed.take(run);  // as the module's archive does it
    if (in_training) resumed.optimizer->eval();
    torch::load(*resumed.optimizer, file);
    EXPECT_EQ(resumed.optimizer->is_training(), in_training);
    resumed.expect_values(run.values());
    for (FreeRun* own : {&run, &resumed}) {
      own->optimizer->train();
      own->step(9);
      own->optimizer->eval();
    }
    resumed.expect_values(run.values());
  }
}

TEST(ScheduleFreeOptimizer, TheMeanGoesWithItsParameter) {
  FreeRun run;
  FreeRun other;
  run.step(6);
  other.step(6);
  auto& list = run.optimizer->param_groups()[0].params();
  std::swap(list[0], list[1]);
  {
    // Before a step has seen it, too.
    const ScheduleFreeEvaluation one(*run.optimizer);
    const ScheduleFreeEvaluation two(*other.optimizer);
    run.expect_values(other.values());
  }
  run.step(6);
  other.step(6);
  run.expect_values(other.values());
}

// The reference has one count and one sum of weights a group: there a parameter
// that comes late is hardly ever in the mean, and its first steps are long.
TEST(ScheduleFreeOptimizer, AParameterThatComesLateIsAsGoodAsNew) {
  FreeRun run;
  run.step(50);
  FreeRun young;
  auto late = young.parameters[0].detach().clone().set_requires_grad(true);
  run.optimizer->add_parameters({late});
  for (int i = 0; i < 10; ++i) {
    young.step();
    late.mutable_grad() = young.parameters[0].grad().clone();
    run.optimizer->step();
    EXPECT_TRUE(torch::equal(late, young.parameters[0])) << i;
  }
  // The memory of one that has gone may come back as another one's.
  run.optimizer->param_groups()[0].params().pop_back();
  run.step();
  run.optimizer->add_parameters({late});
  const auto before = late.detach().clone();
  run.optimizer->eval();
  EXPECT_TRUE(torch::equal(late, before));
  run.optimizer->train();
  run.optimizer->step();
  run.optimizer->eval();
  EXPECT_TRUE(torch::equal(late, free_state(*run.optimizer, 0, 2).tensors[0]));
}

TEST(ScheduleFreeOptimizer, FollowsASchedulerOfRateAndMomentum) {
  auto parameter = leaf({1, -2, 0.5});
  ScheduleFreeSGD optimizer({parameter}, ScheduleFreeSGDOptions(0.1));
  torch::optim::StepLR scheduler(optimizer, 10, 0.5);
  for (int t = 0; t < 40; ++t) {
    parameter.mutable_grad() = parameter.detach().clone();
    optimizer.step();
    scheduler.step();
  }
  EXPECT_LT(optimizer.param_groups()[0].options().get_lr(), 0.02);
  const double norm = parameter.norm().item<double>();
  EXPECT_LT(norm, 1.5);
  // Another beta alone leaves x where it is.
  optimizer.eval();
  const auto x = parameter.detach().clone();
  optimizer.train();
  static_cast<ScheduleFreeSGDOptions&>(optimizer.param_groups()[0].options())
      .momentum(0.5);
  optimizer.eval();
  EXPECT_LT(free_difference(parameter, x), 1e-15);
  optimizer.train();
  const auto z = free_state(optimizer).tensors[0];
  EXPECT_LT(free_difference(parameter, 0.5 * (x + z)), 1e-15);
}

TEST(ScheduleFreeOptimizer, ARollbackTakesTheMeanAlong) {
  FreeRun run;
  FreeRun straight;
  run.step(6);
  detail::RollbackPoint point(*run.optimizer, run.optimizer->state_access());
  point.keep({}, /*with_gradients=*/false);
  const int clock = run.clock;
  run.step(3);
  run.optimizer->eval();
  ASSERT_TRUE(point.fits());
  {
    const torch::NoGradGuard no_grad;
    point.restore_parameters();
    point.restore_state();
  }
  EXPECT_TRUE(run.optimizer->is_training());
  run.clock = clock;
  run.step(6);
  straight.step(12);
  run.expect_values(straight.values());
  // A snapshot, likewise.
  OptimizerSnapshot snapshot(*run.optimizer);
  run.step(4);
  run.optimizer->eval();
  snapshot.restore();
  run.clock = 12;
  run.step(4);
  straight.step(4);
  run.expect_values(straight.values());
}

TEST(ScheduleFreeOptimizer, ARefusedCallChangesNothing) {
  FreeRun run;
  run.step(4);
  const auto y = run.values();
  auto& options = run.optimizer->param_groups()[0].options();
  options.set_lr(-1);
  EXPECT_THROW(run.optimizer->eval(), c10::Error);
  EXPECT_TRUE(run.optimizer->is_training());
  run.expect_values(y);
  options.set_lr(0.03);
  // Refused by the operands' check, after the gradients': one has no memory.
  FreeRun fresh;
  const auto start = fresh.values();
  for (auto& parameter : fresh.parameters) {
    parameter.mutable_grad() = torch::ones_like(parameter);
  }
  {
    const torch::NoGradGuard no_grad;
    fresh.parameters[1].set_data(torch::_efficientzerotensor({7}));
  }
  EXPECT_THROW(fresh.optimizer->step(), c10::Error);
  EXPECT_TRUE(torch::equal(fresh.parameters[0], start[0]));
  EXPECT_FALSE(free_state(*fresh.optimizer).tensors.at(0).defined());
}

}  // namespace
}  // namespace stepsize::test
