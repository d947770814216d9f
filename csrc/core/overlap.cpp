#include "csrc/core/overlap.h"

#include <c10/util/SmallVector.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace stepsize::detail {

bool may_overlap(const at::Tensor& tensor) {
  if (tensor.numel() < 2 || tensor.is_non_overlapping_and_dense()) return false;
  c10::SmallVector<std::pair<int64_t, int64_t>, 8> dims;
  for (int64_t i = 0; i < tensor.dim(); ++i) {
    if (tensor.size(i) > 1) dims.emplace_back(tensor.stride(i), tensor.size(i));
  }
  std::sort(dims.begin(), dims.end());
  int64_t reach = 0;
  for (const auto& [stride, size] : dims) {
    if (stride <= reach) return true;
    reach += stride * (size - 1);
  }
  return false;
}

namespace {

bool is_expanded(const at::Tensor& tensor, int64_t dim) {
  return tensor.size(dim) > 1 && tensor.stride(dim) == 0;
}

}  // namespace

at::Tensor without_expansion(const at::Tensor& tensor) {
  at::Tensor part = tensor;
  for (int64_t dim = 0; dim < tensor.dim(); ++dim) {
    if (is_expanded(tensor, dim)) part = part.narrow(dim, 0, 1);
  }
  return part;
}

void put_back(const at::Tensor& tensor, const at::Tensor& values) {
  if (tensor.layout() != at::kStrided || !may_overlap(tensor)) {
    tensor.copy_(values);
    return;
  }
  at::Tensor part = values;
  for (int64_t dim = 0; dim < tensor.dim(); ++dim) {
    if (is_expanded(tensor, dim)) part = part.narrow(dim, 0, 1);
  }
  without_expansion(tensor).copy_(part);
}

}  // namespace stepsize::detail
