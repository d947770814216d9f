#pragma once

#include <stepsize/optim/indexed_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/torch.h>

#include <memory>
#include <utility>
#include <vector>

namespace stepsize::test {

/// An optimizer of a user's, that the library does not know: Signum (Bernstein
/// et al., signSGD, 2018), b = momentum b + (1 - momentum) g, p = p - lr sign
/// b.
class SignumOptions : public ListedOptions<SignumOptions> {
 public:
  SignumOptions(double lr = 1e-3) : lr_(lr) {}  // NOLINT: implicit

  TORCH_ARG(double, lr);
  TORCH_ARG(double, momentum) = 0.9;
  TORCH_ARG(double, weight_decay) = 0;

 public:
  static const OptionList<SignumOptions>& option_list() {
    static const auto list = OptionList<SignumOptions>("Signum")
                                 .option(STEPSIZE_OPTION(lr))
                                 .not_negative()
                                 .role(OptionRole::kRate)
                                 .option(STEPSIZE_OPTION(momentum))
                                 .share()
                                 .role(OptionRole::kMomentum)
                                 .option(STEPSIZE_OPTION(weight_decay))
                                 .not_negative()
                                 .role(OptionRole::kDecoupledWeightDecay);
    return list;
  }
  static const OptimizerTraits& optimizer_traits();
};

class Signum : public IndexedOptimizer {
 public:
  explicit Signum(
      std::vector<torch::Tensor> parameters, const SignumOptions& options = {})
      : Signum(
            std::vector<torch::optim::OptimizerParamGroup>{
                torch::optim::OptimizerParamGroup(std::move(parameters))},
            options) {}
  explicit Signum(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const SignumOptions& options = {})
      : IndexedOptimizer(std::make_unique<SignumOptions>(options)) {
    add_groups(groups);
  }

  torch::Tensor step(LossClosure closure = nullptr) override {
    const auto loss = evaluate(closure, [this] {
      check_all_options();
      check_gradients();
    });
    const torch::NoGradGuard no_grad;
    for (std::size_t g = 0; g < param_groups().size(); ++g) {
      auto& group = param_groups()[g];
      const auto& own = static_cast<const SignumOptions&>(group.options());
      auto& buffers = group_state(g).slots[0];
      for (std::size_t i = 0; i < group.params().size(); ++i) {
        torch::Tensor& parameter = group.params()[i];
        if (!parameter.grad().defined()) continue;
        if (!buffers[i].defined()) buffers[i] = new_state(parameter);
        buffers[i]
            .mul_(own.momentum())
            .add_(parameter.grad(), 1 - own.momentum());
        parameter.mul_(1 - own.lr() * own.weight_decay());
        parameter.sub_(buffers[i].sign(), own.lr());
      }
    }
    return loss;
  }
};

inline const OptimizerTraits& SignumOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<Signum>(option_list())
          .gradient(GradientUse::kTakesSigns)
          .state({"momentum_buffer"});
  return traits;
}

}  // namespace stepsize::test
