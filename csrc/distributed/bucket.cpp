#include "csrc/distributed/bucket.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "csrc/core/half.h"

namespace stepsize::detail {
namespace {

at::ScalarType sum_type(const at::Tensor& like) {
  return widened(like.scalar_type());
}

}  // namespace

std::vector<Bucket> buckets_of(
    const std::vector<at::Tensor>& like,
    const std::vector<bool>& present,
    int64_t most_bytes) {
  std::vector<Bucket> buckets;
  for (std::size_t i = 0; i < like.size(); ++i) {
    if (!present[i]) continue;
    const auto fits = [&](const Bucket& bucket) {
      const at::Tensor& first = like[bucket.members.front()];
      return first.device() == like[i].device() &&
             sum_type(first) == sum_type(like[i]);
    };
    const auto last = std::find_if(buckets.rbegin(), buckets.rend(), fits);
    const auto size = static_cast<int64_t>(c10::elementSize(sum_type(like[i])));
    const bool has_room =
        last != buckets.rend() &&
        (last->elements + like[i].numel()) * size <= most_bytes;
    Bucket& bucket = has_room ? *last : buckets.emplace_back();
    bucket.members.push_back(i);
    bucket.elements += like[i].numel();
  }
  return buckets;
}

void allocate(Bucket& bucket, const std::vector<at::Tensor>& like) {
  const at::Tensor& first = like[bucket.members.front()];
  bucket.flat =
      at::empty({bucket.elements}, first.options().dtype(sum_type(first)));
}

}  // namespace stepsize::detail
