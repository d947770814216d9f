#pragma once

#include <ATen/core/Tensor.h>
#include <torch/optim/optimizer.h>

#include <sstream>
#include <string>
#include <type_traits>
#include <utility>

namespace stepsize::detail {

/// The key of a parameter in Optimizer::state(). LibTorch before 2.0 takes the
/// text of its address.
template <
    typename Key = std::decay_t<
        decltype(std::declval<torch::optim::Optimizer&>().state())>::key_type>
Key parameter_state_key(const at::Tensor& parameter) {
  if constexpr (std::is_same_v<Key, std::string>) {
    std::ostringstream text;
    text << parameter.unsafeGetTensorImpl();
    return text.str();
  } else {
    return parameter.unsafeGetTensorImpl();
  }
}

}  // namespace stepsize::detail
