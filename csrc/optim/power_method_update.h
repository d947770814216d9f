#pragma once

#include <stepsize/optim/power_method_sgd.h>

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "csrc/optim/default_random_state.h"

namespace stepsize {

/// One update's parts, all lists in the order of `parameters`.
struct PowerMethodSGD::Update {
  TensorVector parameters;
  /// Group and position of each.
  std::vector<std::pair<std::size_t, std::size_t>> places;
  /// Whether the curvature is measured.
  bool due = false;
  at::Tensor loss;
  /// Undefined where the loss does not depend on the parameter.
  TensorVector gradients;
  /// The same with their graph, where a product is to be exact.
  TensorVector graph;
  /// As it was before the closure, where a difference may be needed.
  std::optional<detail::DefaultRandomState> random_before;
  /// Factor of the gradients; undefined for 1.
  at::Tensor scale;
};

}  // namespace stepsize
