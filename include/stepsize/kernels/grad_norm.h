#pragma once

#include <ATen/core/Tensor.h>

namespace stepsize {

enum class NormType {
  kTwo,       ///< Square root of the sum of all squares.
  kInfinity,  ///< Largest absolute value.
};

/// The norm of all elements of all tensors, as of one long vector; 0-dim.
///
/// NaN if any element is NaN, else Inf if any is Inf or the norm is beyond the
/// range of a double (norm_in_parts() has it then). Undefined and empty tensors
/// are skipped; of no elements the norm is 0. A sparse (COO) tensor
/// counts with the values it has after its duplicates are added up.
///
/// CPU tensors (float32, float64, bfloat16, float16, mixed as they come) are
/// read once, without temporaries where they are dense in memory, and give a
/// float64 on the CPU. The sum runs in double precision: for n elements (each
/// tensor's rounded up to a multiple of 64) the norm's relative error is below
/// (520 + n / 2^16) * 2^-53. Values whose squares leave the range of a double
/// (float64 only) cost two more passes and lose no accuracy. The same list
/// gives the same bits with any number of threads and on every CPU.
///
/// On other devices the result is a float64 (float32 where the device has no
/// float64), computed there without waiting for it; tensors on several devices
/// are combined on that of the first. LibTorch before 2.6 sums in float32
/// there, so that elements above 1.8e19 give Inf.
///
/// Throws c10::Error where a tensor is not of a floating type.
at::Tensor global_norm(at::TensorList tensors, NormType type = NormType::kTwo);

/// The same norm as two numbers, {norm / unit, unit}, 1-dim, for gradients of
/// any size: unit is a power of two, 1 unless elements are so large or small
/// that a double could not hold their squares, and the product may be beyond
/// the range of a double. clip_coefficient() takes it.
///
/// On other devices than the CPU float64 tensors cost two more passes and a
/// copy of them; without such the unit is 1 there.
at::Tensor norm_in_parts(
    at::TensorList tensors, NormType type = NormType::kTwo);

/// The factor that brings a norm down to `max_norm`:
///
///   max_norm / max(norm, max_norm)
///
/// that is 1 where the norm is small enough. LibTorch's clip_grad_norm_ divides
/// by norm + 1e-6 instead and so falls short of max_norm.
///
/// 0-dim, on norm's device and of its type; no host waits for it. Where the
/// norm is NaN or Inf there is no such factor: the result is NaN, and sgd_step
/// and adam_step given a NaN change nothing.
///
/// Of a norm in parts the coefficient is two factors, 1-dim, which the step
/// functions multiply in one after the other: their product may be too small
/// for a double.
///
/// `norm`: 0-dim, of a floating type, or from norm_in_parts(). `max_norm` > 0;
/// Inf clips nothing.
at::Tensor clip_coefficient(const at::Tensor& norm, double max_norm);

}  // namespace stepsize
