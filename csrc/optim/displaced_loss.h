#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <utility>
#include <vector>

#include "csrc/state/random_state.h"

namespace stepsize::detail {

/// A closure's loss at points near the parameters, which leaves no trace:
/// parameters, buffers and random state are put back bit for bit after each
/// evaluation, also when the closure throws.
class DisplacedLoss {
 public:
  /// `random`: the state that each evaluation begins with.
  DisplacedLoss(
      std::function<at::Tensor()> closure,
      std::vector<at::Tensor> parameters,
      std::vector<at::Tensor> buffers,
      const RandomState& random);

  /// The loss at w - step * direction, without a graph. An undefined part of
  /// the direction is zero.
  double loss(const std::vector<at::Tensor>& direction, double step);
  /// The gradients there; undefined where the loss does not depend on one.
  std::vector<at::Tensor> gradients(
      const std::vector<at::Tensor>& direction, double step);

 private:
  class Displacement;

  void keep(const std::vector<at::Tensor>& direction);

  std::function<at::Tensor()> closure_;
  std::vector<at::Tensor> parameters_;
  std::vector<at::Tensor> buffers_;
  const RandomState& random_;
  // Tensors, and what they held before the first evaluation.
  std::vector<std::pair<at::Tensor, at::Tensor>> kept_;
  std::vector<bool> is_kept_;
  bool buffers_are_kept_ = false;
};

}  // namespace stepsize::detail
