#pragma once

#include <stepsize/optim/power_method_sgd.h>

#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "csrc/state/random_state.h"

namespace stepsize {

namespace detail {
constexpr char kPowerMethodSGD[] = "PowerMethodSGD";
}  // namespace detail

/// One update's parts, all lists in the order of `parameters`.
struct PowerMethodSGD::Update {
  TensorVector parameters;
  /// Group and position of each.
  std::vector<std::pair<std::size_t, std::size_t>> places;
  /// Why this rank takes no step, to be thrown where the others hear of it.
  std::exception_ptr refusal;
  /// Whether the curvature is measured.
  bool due = false;
  at::Tensor loss;
  /// Undefined where the loss does not depend on the parameter. With other
  /// ranks, the means.
  TensorVector gradients;
  /// Those of this rank.
  TensorVector own_gradients;
  /// The same with their graph, where a product is to be exact.
  TensorVector graph;
  /// Why there is none, where one could not be made.
  std::string graph_failure;
  /// Whether the gradients came without one, on this or another rank.
  bool graphless = false;
  /// As it was before the closure, where a difference may be needed.
  std::optional<detail::RandomState> random_before;
  /// Factor of the gradients; undefined for 1.
  at::Tensor scale;
};

}  // namespace stepsize
