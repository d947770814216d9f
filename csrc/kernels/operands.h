#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "csrc/kernels/loops.h"

namespace stepsize::detail {

constexpr int kMaxOperands = 6;

/// What messages call a step function and the lists it takes.
struct Signature {
  const char* function;
  const char* names[kMaxOperands];
};

/// A parameter and what belongs to it: gradient, then state.
struct Operands {
  const at::Tensor* tensors[kMaxOperands];
  int count;

  const at::Tensor& param() const { return *tensors[0]; }
  const at::Tensor& grad() const { return *tensors[1]; }
};

/// Throws unless the operands fit together; `index` is the parameter's.
void check_operands(
    const Signature& signature, int64_t index, const Operands& operands);

/// Throws unless the tensor, the operand of this position, can be written.
void check_writable(
    const Signature& signature,
    int64_t index,
    int position,
    const at::Tensor& tensor);

/// Throws unless the number is finite and >= 0.
void check_not_negative(const char* function, const char* name, double value);

/// Throws unless a list has the length expected.
void check_length(
    const char* function, const char* list, size_t length, size_t expected);

/// Throws unless the scale is undefined, or 0-dim or two factors of a floating
/// type.
void check_scale(const char* function, const at::Tensor& grad_scale);

/// A factor of the gradients, coarse * fine, as a step multiplies it in: first
/// the one, then the other. The product may be no number of the type that the
/// step is computed in; both factors are.
struct Scale {
  double fine = 1;
  double coarse = 1;  ///< a power of two; 1 where the product is normal

  /// Whether it can be used: finite also in float32, which most steps are
  /// computed in.
  bool is_usable() const;
  /// In factors that are normal numbers of float64, or of float32.
  Scale for_type(bool is_double) const;
};

/// Reads a checked scale, for which the host waits; 1 where it is undefined.
Scale read_scale(const at::Tensor& grad_scale);

/// How checked operands are stored.
Format format_of(const Operands& operands);

/// The element type as a Format, kFormatCount where the loops have it not.
int element_type(at::ScalarType type);

/// Whether memory holds the elements as they are: not those of a negated view,
/// nor the zeros that autograd keeps without memory.
bool is_plain(const at::Tensor& tensor);
/// The tensor made plain: itself, or a copy.
at::Tensor written_out(const at::Tensor& tensor);

/// Whether the elements lie in memory as one gapless run that can be read as
/// is.
bool is_flat(const at::Tensor& tensor);

/// Gives each operand as an array, all in the same order of elements. Where
/// memory has not that order the array is a copy, which `copy_back` returns.
class ArrayView {
 public:
  void add(const Operands& operands, void** arrays);
  /// Parameter and gradient in the order of indices, and state as memory has
  /// it.
  void add_in_order(const Operands& operands, void** arrays);
  void copy_back();

 private:
  void add_copies(const Operands& operands, void** arrays);

  /// Tensors and their copies.
  std::vector<std::pair<at::Tensor, at::Tensor>> written_;
  std::vector<at::Tensor> read_;
};

/// Tells autograd that parameter and state have been written.
void mark_written(const Operands& operands);

}  // namespace stepsize::detail
