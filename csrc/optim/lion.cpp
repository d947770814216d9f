#include <stepsize/optim/lion.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <cstddef>
#include <memory>
#include <utility>

#include "csrc/kernels/dispatch.h"
#include "csrc/kernels/operands.h"
#include "csrc/optim/common_options.h"
#include "csrc/optim/fused_step.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

constexpr detail::Signature kLionSignature = {
    "Lion", {"parameter", "gradient", "exp_avg"}};

detail::LionNumbers numbers_of(const LionOptions& options) {
  return {
      std::get<0>(options.betas()),
      std::get<1>(options.betas()),
      1.0 - options.lr() * options.weight_decay(),
      options.lr()};
}

}  // namespace

LionOptions::LionOptions(double lr) : lr_(lr) {}

const OptionList<LionOptions>& LionOptions::option_list() {
  static const auto list = [] {
    OptionList<LionOptions> own("Lion");
    detail::add_betas(detail::add_rate(own), OptionRole::kNone)
        .option(STEPSIZE_OPTION(weight_decay))
        .not_negative()
        .role(OptionRole::kDecoupledWeightDecay);
    detail::add_state_type(own);
    return own;
  }();
  return list;
}

const OptimizerTraits& LionOptions::optimizer_traits() {
  static const OptimizerTraits traits = OptimizerTraits::of<Lion>(option_list())
                                            .gradient(GradientUse::kTakesSigns)
                                            .state({"exp_avg"});
  return traits;
}

Lion::Lion(std::vector<at::Tensor> parameters, const LionOptions& options)
    : Lion(
          std::vector<OptimizerParamGroup>{
              OptimizerParamGroup(std::move(parameters))},
          options) {}

Lion::Lion(
    const std::vector<OptimizerParamGroup>& groups, const LionOptions& defaults)
    : IndexedOptimizer(std::make_unique<LionOptions>(defaults)) {
  add_groups(groups);
}

StateType Lion::state_type(std::size_t group) const {
  return static_cast<const LionOptions&>(param_groups()[group].options())
      .state_type();
}

void Lion::step_by_operations(
    at::Tensor parameter,
    const at::Tensor& gradient,
    at::Tensor mean,
    const LionOptions& options) {
  const detail::LionNumbers numbers = numbers_of(options);
  const at::Tensor wide_gradient = gradient.to(mean.scalar_type());
  const at::Tensor mix =
      (mean * numbers.beta1).add_(wide_gradient, 1.0 - numbers.beta1);
  // LibTorch's sign of a NaN is 0, which would hide it.
  const at::Tensor sign = at::where(mix.isnan(), mix, mix.sign());
  mean.mul_(numbers.beta2).add_(wide_gradient, 1.0 - numbers.beta2);
  at::Tensor wide = parameter.to(mean.scalar_type());
  wide.mul_(numbers.keep).sub_(sign, numbers.lr);
  if (!wide.is_same(parameter)) parameter.copy_(wide);
}

at::Tensor Lion::step(LossClosure closure) {
  const at::Tensor loss = evaluate(closure);
  const c10::AutoGradMode no_grad(false);
  auto updates = coming_updates();
  const auto options_of = [this](const ParameterUpdate& update) -> auto& {
    return static_cast<const LionOptions&>(
        param_groups()[update.group].options());
  };
  const auto seed_of = [](const ParameterUpdate& update) {
    return detail::rounding_seed(
        static_cast<int64_t>(update.group), update.step, update.index);
  };
  detail::FusedStep<detail::LionNumbers> fused(detail::checked_operands(
      kLionSignature, updates, /*may_be_compact=*/true));
  std::vector<std::size_t> elsewhere;
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const detail::LionNumbers numbers = numbers_of(options_of(updates[k]));
    const auto form = detail::compact_form_of(fused.operands()[k], true);
    const bool added = form ? fused.add_compact(
                                  k,
                                  detail::loops().compact_lion[*form],
                                  seed_of(updates[k]),
                                  numbers)
                            : fused.add(k, detail::loops().lion, numbers);
    if (!added) elsewhere.push_back(k);
  }
  for (const std::size_t k : elsewhere) {
    const ParameterUpdate& own = updates[k];
    const detail::Operands& operands = fused.operands()[k];
    if (detail::compact_form_of(operands, true)) {
      const detail::FullState full(operands, seed_of(own));
      step_by_operations(
          own.parameter,
          own.gradient,
          *full.operands().tensors[2],
          options_of(own));
      full.write_back();
    } else {
      step_by_operations(
          own.parameter, own.gradient, own.state[0], options_of(own));
    }
  }
  fused.run();
  take_over(std::move(updates));
  return loss;
}

}  // namespace stepsize
