#pragma once

#include <stepsize/optim/power_method_sgd.h>

namespace stepsize::detail {

constexpr char kPowerMethodSGD[] = "PowerMethodSGD";

/// Throws c10::Error where an option is out of its range.
void check_power_method_options(const PowerMethodSGDOptions& options);

/// Whether what must be the same in all groups is, the buffers aside.
bool same_measurement(
    const PowerMethodSGDOptions& a, const PowerMethodSGDOptions& b);

}  // namespace stepsize::detail
