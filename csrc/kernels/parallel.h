#pragma once

#include <cstdint>
#include <functional>

namespace stepsize::detail {

/// Calls run(i) for each i in [0, count), on as many of LibTorch's own threads
/// as it is set to use; the caller's thread is one of them. A thread works
/// through a range of its own in ascending order, then helps the others. `run`
/// must not throw.
void parallel_run(int64_t count, const std::function<void(int64_t)>& run);

}  // namespace stepsize::detail
