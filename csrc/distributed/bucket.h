#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace stepsize::detail {

/// Some of the tensors, one after the other in one block of memory.
struct Bucket {
  std::vector<std::size_t> members;
  int64_t elements = 0;
  at::Tensor flat;
  std::function<void()> wait;
};

/// The tensors that are present, in buckets of up to so many bytes; the same on
/// every rank, as the ranks have agreed on what is there. Without memory.
std::vector<Bucket> buckets_of(
    const std::vector<at::Tensor>& like,
    const std::vector<bool>& present,
    int64_t most_bytes);

/// Gives the bucket memory of the type that its tensors are summed in.
void allocate(Bucket& bucket, const std::vector<at::Tensor>& like);

/// function(i, part): the place of each tensor in the bucket's memory.
template <typename Function>
void for_each_part(
    const Bucket& bucket,
    const std::vector<at::Tensor>& like,
    const Function& function) {
  int64_t start = 0;
  for (const std::size_t i : bucket.members) {
    const int64_t length = like[i].numel();
    function(i, bucket.flat.narrow(0, start, length).view(like[i].sizes()));
    start += length;
  }
}

}  // namespace stepsize::detail
