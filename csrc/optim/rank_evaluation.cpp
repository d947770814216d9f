#include "csrc/optim/rank_evaluation.h"

#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/distributed/average.h>

#include <string>

namespace stepsize::detail {

std::vector<at::Tensor> parameters_of(
    const torch::optim::Optimizer& optimizer) {
  std::vector<at::Tensor> all;
  for (const auto& group : optimizer.param_groups()) {
    all.insert(all.end(), group.params().begin(), group.params().end());
  }
  return all;
}

CommonNumbers rates_of(const torch::optim::Optimizer& optimizer) {
  CommonNumbers rates;
  for (const auto& group : optimizer.param_groups()) {
    double lr = 0;
    try {
      lr = group.options().get_lr();
    } catch (const c10::Error&) {
      // A class of a user's that has none.
    }
    rates.emplace_back("lr of group " + std::to_string(rates.size()), lr);
  }
  return rates;
}

at::Tensor evaluate_gradients(
    const torch::optim::Optimizer::LossClosure& closure,
    const std::function<void()>& check,
    const torch::optim::Optimizer& optimizer,
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
  return reduction != nullptr ? evaluate_on_ranks(
                                    evaluate,
                                    parameters_of(optimizer),
                                    *reduction,
                                    AverageOptions(),
                                    rates_of(optimizer))
                              : evaluate();
}

std::exception_ptr refusal_of(
    const std::function<void()>& check, Reduction* reduction) {
  if (reduction != nullptr) return reduction->attempt(check);
  check();
  return nullptr;
}

}  // namespace stepsize::detail
