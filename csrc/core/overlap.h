#pragma once

#include <ATen/core/Tensor.h>

namespace stepsize::detail {

/// Whether two elements may share memory, as those of an expanded tensor do:
/// unless each stride, from the smallest on, leads past all that the ones
/// before it reach.
bool may_overlap(const at::Tensor& tensor);

/// The tensor with one element in the place of each row of elements that an
/// expanded dimension makes of one: what has to be written where all of it is.
at::Tensor without_expansion(const at::Tensor& tensor);

/// Puts values that the tensor has had back, also where it is expanded, for
/// which copy_() throws.
void put_back(const at::Tensor& tensor, const at::Tensor& values);

}  // namespace stepsize::detail
