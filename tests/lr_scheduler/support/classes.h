#pragma once

#include <gtest/gtest.h>

#include <string>

namespace stepsize::test {

/// One row a class that follows a rule, for an optimizer of two groups. Those
/// that end do so between t = 20 and t = 60.
constexpr const char* kRuleClasses[] = {
    "ScheduleLR",
    "LambdaLR(lr_lambda=[decay, stairs])",
    "MultiplicativeLR(lr_lambda=slowing)",
    "StepLR(step_size=7)",
    "MultiStepLR(milestones=[9, 20], gamma=0.5)",
    "ConstantLR(total_iters=24)",
    "LinearLR(total_iters=24)",
    "ExponentialLR(gamma=0.9)",
    "PolynomialLR(total_iters=36, power=2)",
    "CosineAnnealingLR(T_max=40, eta_min=0.001)",
    "CosineAnnealingWarmRestarts(T_0=6, T_mult=2)",
    "CyclicLR(base_lr=0.01, max_lr=[0.1, 0.2], step_size_up=8)",
    "OneCycleLR(max_lr=[0.1, 0.2], total_steps=43)",
    "SequentialLR(schedulers=[LinearLR(total_iters=8), "
    "OneCycleLR(max_lr=0.1, total_steps=11), PolynomialLR(total_iters=20)], "
    "milestones=[8, 20])",
    "ChainedScheduler(schedulers=[LinearLR(total_iters=8), "
    "CosineAnnealingLR(T_max=30)])",
    "SWALR(swa_lr=[0.05, 0.01], anneal_epochs=30)",
    "LinearWarmupLR(warmup_steps=24)",
    "WarmupCosineLR(warmup_steps=9, total_steps=48, eta_min=0.002)",
    "InverseTimeLR(decay_rate=0.5, decay_steps=4, staircase=True)",
    "InverseSqrtLR(warmup_steps=10)",
    "WarmupStableDecayLR(warmup_steps=8, stable_steps=10, decay_steps=12, "
    "floor=0.1)",
};

/// The name of a row: its class.
inline std::string class_name(const testing::TestParamInfo<const char*>& row) {
  const std::string text = row.param;
  return text.substr(0, text.find('('));
}

}  // namespace stepsize::test
