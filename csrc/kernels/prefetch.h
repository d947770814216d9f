#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>

namespace stepsize::detail {

/// Asks for memory that will be read soon. An address may be any.
inline void prefetch(const void* address, int bytes) {
  constexpr int kLineBytes = 64;
  const char* line = static_cast<const char*>(address);
  for (int i = 0; i < bytes; i += kLineBytes) {
#if defined(__GNUC__)
    __builtin_prefetch(line + i);
#else
    static_cast<void>(line);
#endif
  }
}

/// How many tensors ahead of their use what is known of them is asked for.
constexpr size_t kTensorsAhead = 12;

/// Asks for what is known of a tensor.
inline void prefetch_tensor(const at::Tensor& tensor) {
  constexpr int kMetadataBytes = 256;
  prefetch(tensor.unsafeGetTensorImpl(), kMetadataBytes);
}

/// Asks for what is known of a tensor of the list some way after `index`. Of
/// thousands of tensors the metadata alone is megabytes, and the gradients have
/// pushed it out of the cache since the last step.
inline void prefetch_tensor(at::TensorList list, size_t index) {
  if (index + kTensorsAhead < list.size()) {
    prefetch_tensor(list[index + kTensorsAhead]);
  }
}

}  // namespace stepsize::detail
