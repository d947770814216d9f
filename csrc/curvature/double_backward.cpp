#include "csrc/curvature/double_backward.h"

#include <torch/csrc/autograd/autograd.h>

#include <cstddef>

namespace stepsize::detail {

TensorVector double_backward(
    const TensorVector& gradients,
    const TensorVector& parameters,
    const TensorVector& v) {
  TensorVector outputs;
  TensorVector directions;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (gradients[i].defined() && gradients[i].requires_grad()) {
      outputs.push_back(gradients[i]);
      directions.push_back(v[i]);
    }
  }
  if (outputs.empty()) return TensorVector(parameters.size());
  return torch::autograd::grad(
      outputs,
      parameters,
      directions,
      /*retain_graph=*/true,
      /*create_graph=*/false,
      /*allow_unused=*/true);
}

}  // namespace stepsize::detail
