#include "csrc/optim/sgd_group_step.h"

#include <cstddef>
#include <utility>

#include "csrc/optim/state_tensor.h"

namespace stepsize::detail {

void sgd_group_step(
    const std::vector<at::Tensor>& parameters,
    const std::vector<at::Tensor>& gradients,
    std::vector<at::Tensor>& buffers,
    const SGDHyperparameters& numbers,
    const at::Tensor& grad_scale) {
  if (numbers.momentum == 0) {
    sgd_step(parameters, gradients, {}, {}, numbers, grad_scale);
    return;
  }
  auto used = buffers;
  FirstSteps first(used.size());
  for (std::size_t i = 0; i < used.size(); ++i) {
    if (!used[i].defined() && gradients[i].defined()) {
      used[i] = new_state_like(parameters[i]);
      first.set(i);
    }
  }
  sgd_step(parameters, gradients, used, first.flags(), numbers, grad_scale);
  if (first.any()) {
    buffers = std::move(used);
  }
}

}  // namespace stepsize::detail
