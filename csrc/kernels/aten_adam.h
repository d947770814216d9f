#pragma once

#include <stepsize/kernels/adam.h>

#include <cstdint>

#include "csrc/kernels/device_lists.h"

namespace stepsize::detail {

struct BiasCorrection {
  double step_size;     ///< lr / (1 - beta1^t)
  double inverse_root;  ///< 1 / sqrt(1 - beta2^t)
};

BiasCorrection bias_correction(const AdamHyperparameters& h, int64_t step);

/// The step of adam_step for one list, with LibTorch's operators, on any
/// device. states: exp_avg, exp_avg_sq and, with amsgrad, max_exp_avg_sq.
void aten_adam_step(
    const DeviceList& list,
    int64_t step,
    const AdamHyperparameters& hyperparameters,
    const at::Tensor& grad_scale,
    Route route);

}  // namespace stepsize::detail
