#pragma once

#include <stepsize/kernels/sgd.h>

#include "csrc/kernels/device_lists.h"

namespace stepsize::detail {

/// The step of sgd_step for one list, with LibTorch's operators, on any device.
/// states[0]: the momentum buffers. `first`: they have no content yet.
void aten_sgd_step(
    const DeviceList& list,
    bool first,
    const SGDHyperparameters& hyperparameters,
    const at::Tensor& grad_scale,
    Route route);

}  // namespace stepsize::detail
