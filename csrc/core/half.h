#pragma once

#include <c10/core/ScalarType.h>

namespace stepsize::detail {

/// float16 or bfloat16.
inline bool is_half(at::ScalarType type) {
  return type == at::kHalf || type == at::kBFloat16;
}

/// What is computed with, and kept, of values of a type: float32 of a half one.
inline at::ScalarType widened(at::ScalarType type) {
  return is_half(type) ? at::kFloat : type;
}

}  // namespace stepsize::detail
