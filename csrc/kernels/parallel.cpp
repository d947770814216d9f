#include "csrc/kernels/parallel.h"

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <vector>

namespace stepsize::detail {
namespace {

/// Items of one thread, alone on its cache line. Threads that walk memory apart
/// from each other read it much faster than such that take turns at it.
struct alignas(64) Share {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

}  // namespace

// at::parallel_for is a template that runs on one thread where the source that
// includes it is compiled without OpenMP. The iterator's loop is compiled
// inside LibTorch: so these threads are LibTorch's, whatever it was built with,
// and there is no second pool of them.
void parallel_run(int64_t count, const std::function<void(int64_t)>& run) {
  const int64_t threads = at::in_parallel_region()
                              ? 1
                              : std::min<int64_t>(count, at::get_num_threads());
  if (threads <= 1) {
    for (int64_t i = 0; i < count; ++i) run(i);
    return;
  }
  std::vector<Share> shares(static_cast<size_t>(threads));
  for (int64_t i = 0; i < threads; ++i) {
    shares[static_cast<size_t>(i)].next = count * i / threads;
    shares[static_cast<size_t>(i)].end = count * (i + 1) / threads;
  }
  std::atomic<size_t> arrived{0};
  const auto work = [&](char**, const int64_t*, int64_t, int64_t) {
    const size_t own = arrived.fetch_add(1, std::memory_order_relaxed);
    for (size_t i = 0; i < shares.size(); ++i) {
      Share& share = shares[(own + i) % shares.size()];
      for (;;) {
        const int64_t item = share.next.fetch_add(1, std::memory_order_relaxed);
        if (item >= share.end) break;
        run(item);
      }
    }
  };
  const at::Tensor workers =
      at::empty({threads}, at::TensorOptions(at::kByte).device(at::kCPU));
  at::TensorIterator::borrowing_nullary_op(workers).for_each(
      work, /*grain_size=*/1);
}

}  // namespace stepsize::detail
