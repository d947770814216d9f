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
    const at::Tensor& grad_scale,
    StateType type) {
  if (numbers.momentum == 0) {
    sgd_step(parameters, gradients, {}, {}, numbers, grad_scale);
    return;
  }
  auto used = buffers;
  FirstSteps first(used.size());
  bool changed = false;
  for (std::size_t i = 0; i < used.size(); ++i) {
    if (!gradients[i].defined() || is_in_form(used[i], parameters[i], type)) {
      continue;
    }
    if (!used[i].defined()) first.set(i);
    used[i] = state_in_form(used[i], parameters[i], type, 0);
    changed = true;
  }
  sgd_step(parameters, gradients, used, first.flags(), numbers, grad_scale);
  if (changed) {
    buffers = std::move(used);
  }
}

}  // namespace stepsize::detail
