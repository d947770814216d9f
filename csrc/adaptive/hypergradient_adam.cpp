#include <stepsize/adaptive/hypergradient_adam.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <torch/serialize/archive.h>

#include <cmath>
#include <memory>
#include <utility>

#include "csrc/adaptive/hypergradient_sums.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/optim/common_options.h"
#include "csrc/optim/fused_step.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

constexpr detail::Signature kHypergradientAdamSignature = {
    "HypergradientAdam", {"parameter", "gradient", "exp_avg", "exp_avg_sq"}};

at::Tensor hypergradient_adam_gradient(
    const at::Tensor& wide, const at::Tensor& gradient, double decay) {
  const at::Tensor grad = gradient.to(wide.scalar_type());
  return decay != 0 ? grad.add(wide, decay) : grad;
}

}  // namespace

HypergradientAdamOptions::HypergradientAdamOptions(double lr) : lr_(lr) {}

const OptionList<HypergradientAdamOptions>&
HypergradientAdamOptions::option_list() {
  static const auto list = [] {
    OptionList<HypergradientAdamOptions> own("HypergradientAdam");
    return detail::add_betas(detail::add_rate(own))
        .option(STEPSIZE_OPTION(eps))
        .not_negative()
        .option(STEPSIZE_OPTION(weight_decay))
        .not_negative()
        .role(OptionRole::kWeightDecay)
        .option(STEPSIZE_OPTION(hypergrad_lr))
        .not_negative()
        .choice(STEPSIZE_OPTION(form), {"kAdditive", "kMultiplicative"});
  }();
  return list;
}

const OptimizerTraits& HypergradientAdamOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<HypergradientAdam>(option_list())
          .gradient(GradientUse::kScalesCoordinates)
          .momentum_is_mean(true)
          .sets_own_rate(true)
          .state({"exp_avg", "exp_avg_sq"});
  return traits;
}

HypergradientAdam::HypergradientAdam(
    std::vector<at::Tensor> parameters, const HypergradientAdamOptions& options)
    : HypergradientAdam(
          std::vector<OptimizerParamGroup>{
              OptimizerParamGroup(std::move(parameters))},
          options) {}

HypergradientAdam::HypergradientAdam(
    const std::vector<OptimizerParamGroup>& groups,
    const HypergradientAdamOptions& defaults)
    : IndexedOptimizer(std::make_unique<HypergradientAdamOptions>(defaults)) {
  add_groups(groups);
}

const HypergradientAdamOptions& HypergradientAdam::options_of(
    std::size_t group) const {
  return static_cast<const HypergradientAdamOptions&>(
      param_groups()[group].options());
}

at::Tensor HypergradientAdam::sums_by_operations(
    const at::Tensor& parameter,
    const at::Tensor& gradient,
    const std::vector<at::Tensor>& state,
    const detail::HypergradientAdamNumbers& numbers) {
  const at::Tensor wide = parameter.to(state[0].scalar_type());
  const at::Tensor ratio =
      (state[0] * numbers.mean_scale)
          .div_(state[1].sqrt().mul_(numbers.inverse_root).add_(numbers.eps));
  return detail::hypergradient_sums(
      hypergradient_adam_gradient(wide, gradient, numbers.decay),
      at::where(state[0].eq(0), at::zeros_like(ratio), ratio));
}

void HypergradientAdam::step_by_operations(
    at::Tensor parameter,
    const at::Tensor& gradient,
    const std::vector<at::Tensor>& state,
    const detail::AdamNumbers& numbers) {
  at::Tensor mean = state[0];
  at::Tensor square = state[1];
  const at::Tensor wide = parameter.to(mean.scalar_type());
  const at::Tensor grad =
      hypergradient_adam_gradient(wide, gradient, numbers.decay);
  mean.mul_(numbers.beta1).add_(grad, 1.0 - numbers.beta1);
  square.mul_(numbers.beta2).addcmul_(grad, grad, 1.0 - numbers.beta2);
  const at::Tensor denominator =
      square.sqrt().mul_(numbers.inverse_root).add_(numbers.eps);
  parameter.copy_(wide - (mean * numbers.step_size).div_(denominator));
}

at::Tensor HypergradientAdam::step(LossClosure closure) {
  const at::Tensor loss = evaluate(closure);
  const c10::AutoGradMode no_grad(false);
  auto updates = coming_updates();
  std::vector<detail::HypergradientAdamNumbers> before;
  for (const ParameterUpdate& own : updates) {
    const HypergradientAdamOptions& options = options_of(own.group);
    const auto& [beta1, beta2] = options.betas();
    const auto last = static_cast<double>(own.step - 1);
    const bool first = own.step == 1;
    before.push_back(
        {options.weight_decay(),
         options.eps(),
         first ? 0 : 1 / (1 - std::pow(beta1, last)),
         first ? 1 : 1 / std::sqrt(1 - std::pow(beta2, last))});
  }
  const auto operands =
      detail::checked_operands(kHypergradientAdamSignature, updates);
  detail::renew_rates(
      operands,
      updates,
      detail::loops().hypergradient_adam_sums,
      before,
      [&](std::size_t k) {
        return sums_by_operations(
            updates[k].parameter,
            updates[k].gradient,
            updates[k].state,
            before[k]);
      },
      [this](std::size_t group) -> const HypergradientAdamOptions& {
        return options_of(group);
      },
      param_groups().size(),
      reduction().get(),
      rates_);
  detail::FusedStep<detail::AdamNumbers> fused(operands);
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const ParameterUpdate& own = updates[k];
    const HypergradientAdamOptions& options = options_of(own.group);
    const auto& [beta1, beta2] = options.betas();
    const auto t = static_cast<double>(own.step);
    const detail::AdamNumbers numbers = {
        beta1,
        beta2,
        options.eps(),
        options.weight_decay(),
        /*keep=*/1,
        /*coarse=*/1,
        /*scale=*/1,
        current_lr(own.group) / (1 - std::pow(beta1, t)),
        1 / std::sqrt(1 - std::pow(beta2, t)),
        /*mask=*/1};
    if (!fused.add(k, detail::loops().plain_adam, numbers)) {
      step_by_operations(own.parameter, own.gradient, own.state, numbers);
    }
  }
  fused.run();
  take_over(std::move(updates));
  return loss;
}

double HypergradientAdam::current_lr(std::size_t group) const {
  TORCH_CHECK(
      group < param_groups().size(),
      "HypergradientAdam: there is no group ",
      group);
  return rates_.current(group, options_of(group).lr());
}

void HypergradientAdam::save_counters(
    torch::serialize::OutputArchive& archive) const {
  rates_.save(archive, param_groups().size());
}

std::function<void()> HypergradientAdam::read_counters(
    torch::serialize::InputArchive& archive) {
  return rates_.read(archive, kind(), param_groups().size());
}

}  // namespace stepsize
