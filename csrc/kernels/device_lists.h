#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "csrc/kernels/operands.h"

namespace stepsize::detail {

/// Parameters of one device and one type, with what belongs to them: what a
/// multi-tensor operator can take at once.
struct DeviceList {
  /// Apart from device and type, what must be the same: of SGD whether the step
  /// is a parameter's first, of Adam its number.
  int64_t tag;
  std::vector<at::Tensor> params;
  std::vector<at::Tensor> grads;
  std::vector<at::Tensor> states[kMaxOperands - 2];
};

class DeviceLists {
 public:
  /// Adds checked operands to the list they fit in.
  void add(const Operands& operands, int64_t tag);

  const std::vector<DeviceList>& lists() const { return lists_; }

 private:
  std::vector<DeviceList> lists_;
};

/// The way that LibTorch's operators are used.
enum class Route { kForeach, kFused };

/// Whether fused operators are right for the types and strides of a list.
bool fits_fused_operators(const DeviceList& list);

/// Fused where this LibTorch has the operators for the list's device and they
/// are right for it.
Route fused_route_of(const DeviceList& list);

/// The tensors in the type `type`: themselves where they have it already.
std::vector<at::Tensor> in_type(
    const std::vector<at::Tensor>& list, at::ScalarType type);

/// to = from for those that in_type has copied.
void return_from_type(
    const std::vector<at::Tensor>& to, const std::vector<at::Tensor>& from);

/// The type that a list's step is computed in.
at::ScalarType math_type(const DeviceList& list);

}  // namespace stepsize::detail
