#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace stepsize::detail {

/// Adds a tensor up over ranks where it is not known that all bring one of the
/// same length and type, which Gloo takes for granted: where they do not, it
/// ends a process or gives a wrong sum. `plain_sum` sums without a look.
///
/// The first message is of one length for all, and says what comes. A short
/// tensor fits in; a longer one costs one message more. Returns false on all
/// ranks, and has changed nothing, where they bring different tensors. Throws
/// c10::Error for more than 2^14 ranks.
bool guarded_sum(
    at::Tensor& tensor,
    double ranks,
    const std::function<void(at::Tensor)>& plain_sum);

}  // namespace stepsize::detail
