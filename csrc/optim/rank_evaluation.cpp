#include "csrc/optim/rank_evaluation.h"

#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/distributed/average.h>
#include <stepsize/state/optimizer_traits.h>

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

CommonNumbers options_of(const torch::optim::Optimizer& optimizer) {
  CommonNumbers all;
  const auto& groups = optimizer.param_groups();
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const std::string of_group = " of group " + std::to_string(g);
    if (const auto* traits = find_traits(groups[g].options())) {
      const auto fields = traits->options().fields();
      const auto numbers = traits->options().numbers(groups[g].options());
      for (std::size_t i = 0; i < fields.size(); ++i) {
        if (fields[i].kind == OptionKind::kSeed) continue;
        all.emplace_back(numbers[i].first + of_group, numbers[i].second);
      }
      continue;
    }
    double lr = 0;
    try {
      lr = groups[g].options().get_lr();
    } catch (const c10::Error&) {
      // A class of a user's that has none.
    }
    all.emplace_back("lr" + of_group, lr);
  }
  return all;
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
                                    options_of(optimizer))
                              : evaluate();
}

std::exception_ptr refusal_of(
    const std::function<void()>& check, Reduction* reduction) {
  if (reduction != nullptr) return reduction->attempt(check);
  check();
  return nullptr;
}

void agree_on(std::vector<double>& numbers, Reduction* reduction) {
  if (reduction == nullptr || numbers.empty()) return;
  RankShare share;
  share.numbers = numbers;
  numbers = average({}, share, *reduction).numbers;
}

}  // namespace stepsize::detail
