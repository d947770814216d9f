#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/optim/measured_sgd.h>

#include <exception>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "csrc/optim/operand_checks.h"
#include "csrc/state/random_state.h"

namespace stepsize {

/// One update's parts, all lists in the order of `parameters`.
struct MeasuredSGD::Update {
  std::vector<at::Tensor> parameters;
  std::vector<detail::Place> places;
  // Why this rank takes no step, to be thrown where the others hear of it.
  std::exception_ptr refusal;

  // What prepare() asks for: the gradients' graph, whether to go on where there
  // can be none, the random state of before the closure, and this rank's
  // gradients.
  bool wants_graph = false;
  bool may_lack_graph = false;
  bool wants_random = false;
  bool wants_own_gradients = false;

  // With other ranks loss and gradients are the means. A gradient is undefined
  // where the loss does not depend on the parameter.
  at::Tensor loss;
  std::vector<at::Tensor> gradients;
  std::vector<at::Tensor> own_gradients;
  std::vector<at::Tensor> graph;
  // Why there is no graph, where one could not be made, on this or another
  // rank.
  std::string graph_failure;
  // Whether the gradients came without one.
  bool graphless = false;
  std::optional<detail::RandomState> random_before;

  double loss_number = std::numeric_limits<double>::quiet_NaN();
  at::Tensor norm_tensor;
  double norm = std::numeric_limits<double>::quiet_NaN();
  // Factor of the gradients; undefined for 1.
  at::Tensor scale;
};

}  // namespace stepsize
