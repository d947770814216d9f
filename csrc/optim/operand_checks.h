#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <string>
#include <unordered_set>
#include <vector>

namespace stepsize::detail {

/// Where a parameter stands.
struct Place {
  std::size_t group;
  std::size_t index;
};

/// The type that state is kept in: the parameter's, or float32 where that is of
/// half precision.
at::ScalarType state_type(const at::Tensor& parameter);

/// Each throws c10::Error, naming `kind` and the place.
/// Unless every parameter is defined, a leaf and not in `known`, which takes
/// them in.
void check_parameters(
    const std::string& kind,
    const std::vector<at::Tensor>& parameters,
    std::unordered_set<const void*>& known);
/// Unless the gradient is dense, of the parameter's shape, type and device, and
/// the parameter one that can be written: of floating point, with no two
/// elements in one place.
void check_gradient_fits(
    const std::string& kind,
    const Place& place,
    const at::Tensor& gradient,
    const at::Tensor& parameter);
/// Unless the state is of the parameter's shape and device and of its
/// state_type(), or, with `may_be_compact`, as new_compact_state() makes it.
void check_state_fits(
    const std::string& kind,
    const std::string& name,
    const Place& place,
    const at::Tensor& state,
    const at::Tensor& parameter,
    bool may_be_compact = false);
/// Whether a state is as new_compact_state() makes it, but for its device.
bool is_compact_state(const at::Tensor& state, const at::Tensor& parameter);

}  // namespace stepsize::detail
