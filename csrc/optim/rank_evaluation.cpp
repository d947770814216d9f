#include "csrc/optim/rank_evaluation.h"

#include <c10/core/GradMode.h>
#include <stepsize/distributed/average.h>

namespace stepsize::detail {

std::vector<at::Tensor> parameters_of(
    const torch::optim::Optimizer& optimizer) {
  std::vector<at::Tensor> all;
  for (const auto& group : optimizer.param_groups()) {
    all.insert(all.end(), group.params().begin(), group.params().end());
  }
  return all;
}

at::Tensor evaluate_gradients(
    const torch::optim::Optimizer::LossClosure& closure,
    const std::function<void()>& check,
    const std::vector<at::Tensor>& parameters,
    Reduction* reduction) {
  const auto evaluate = [&] {
    at::Tensor loss;
    if (closure != nullptr) {
      const c10::AutoGradMode with_gradients(true);
      loss = closure();
    }
    check();
    return loss;
  };
  return reduction != nullptr
             ? evaluate_on_ranks(evaluate, parameters, *reduction)
             : evaluate();
}

std::exception_ptr refusal_of(
    const std::function<void()>& check, Reduction* reduction) {
  if (reduction != nullptr) return reduction->attempt(check);
  check();
  return nullptr;
}

}  // namespace stepsize::detail
