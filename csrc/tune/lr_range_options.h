#pragma once

#include <stepsize/tune/lr_range_test.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <vector>

namespace stepsize::detail {

constexpr char kLRRangeTest[] = "LRRangeTest";

/// Throws c10::Error, naming option, rule and value, where one is out of range.
void check_lr_range_options(
    const LRRangeTestOptions& options,
    const torch::optim::Optimizer& optimizer);

/// Points to either side in the fit, with what 0 stands for.
int64_t half_width_of(const LRRangeTestOptions& options);

/// The rate of an iteration; both ends are exact.
double swept_lr(const LRRangeTestOptions& options, int64_t iteration);

/// The rates of all groups over the first one's. Throws c10::Error where the
/// first is 0 and others are not.
std::vector<double> group_ratios(
    const LRRangeTestOptions& options,
    const torch::optim::Optimizer& optimizer);

}  // namespace stepsize::detail
