#include "csrc/distributed/guarded_sum.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <cstddef>
#include <cstdint>

namespace stepsize::detail {
namespace {

// Numbers d, each with its square: of n ranks all have the same d just where
// n sum(d^2) = sum(d)^2. With 12 bits this is exact in float64 for up to 2^14
// ranks.
constexpr int64_t kDigests = 4;
constexpr unsigned kDigestBits = 12;
constexpr double kMostRanks = 1 << 14;
constexpr int64_t kHead = 2 * kDigests;
constexpr int64_t kRoom = 56;

uint64_t digest_of(const at::Tensor& tensor) {
  constexpr uint64_t kMix = 0x9e3779b97f4a7c15;
  constexpr unsigned kHalf = 32;
  uint64_t value = static_cast<uint64_t>(tensor.numel()) * kMix;
  value ^= value >> kHalf;
  value += static_cast<uint64_t>(tensor.scalar_type()) + 1;
  value *= kMix;
  return value ^ (value >> kHalf);
}

}  // namespace

bool guarded_sum(
    at::Tensor& tensor,
    double ranks,
    const std::function<void(at::Tensor)>& plain_sum) {
  TORCH_CHECK(
      ranks <= kMostRanks,
      "ProcessGroupReduction: world_size must be <= ",
      static_cast<int64_t>(kMostRanks),
      " for a sum on a CPU, got ",
      static_cast<int64_t>(ranks));
  const c10::AutoGradMode no_grad(false);
  at::Tensor message = at::zeros({kHead + kRoom}, at::kDouble);
  auto* numbers = message.data_ptr<double>();
  uint64_t digest = digest_of(tensor);
  for (int64_t i = 0; i < kDigests; ++i) {
    const auto part =
        static_cast<double>(digest % (uint64_t{1} << kDigestBits));
    numbers[2 * i] = part;
    numbers[2 * i + 1] = part * part;
    digest >>= kDigestBits;
  }
  const bool fits = tensor.numel() <= kRoom;
  const auto place = message.narrow(0, kHead, fits ? tensor.numel() : 0);
  if (fits) place.copy_(tensor.reshape({-1}));
  plain_sum(message);
  // The group may be the last to let the message go, in a thread of its own.
  const at::Tensor summed = message.narrow(0, 0, kHead).clone();
  const auto* sums = summed.data_ptr<double>();
  for (int64_t i = 0; i < kDigests; ++i) {
    const double sum = sums[2 * i];
    if (ranks * sums[2 * i + 1] != sum * sum) return false;
  }
  if (fits) {
    tensor.copy_(place.view(tensor.sizes()));
  } else {
    plain_sum(tensor);
  }
  return true;
}

}  // namespace stepsize::detail
