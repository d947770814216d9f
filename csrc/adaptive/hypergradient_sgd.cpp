#include <stepsize/adaptive/hypergradient_sgd.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <torch/serialize/archive.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "csrc/adaptive/hypergradient_sums.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/optim/common_options.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

constexpr detail::Signature kHypergradientSGDSignature = {
    "HypergradientSGD",
    {"parameter", "gradient", "direction", "momentum_buffer"}};

at::Tensor hypergradient_sgd_gradient(
    const at::Tensor& wide, const at::Tensor& gradient, double decay) {
  const at::Tensor grad = gradient.to(wide.scalar_type());
  return decay != 0 ? grad.add(wide, decay) : grad;
}

}  // namespace

HypergradientSGDOptions::HypergradientSGDOptions(double lr) : lr_(lr) {}

const OptionList<HypergradientSGDOptions>&
HypergradientSGDOptions::option_list() {
  static const auto list =
      detail::sgd_options<HypergradientSGDOptions>("HypergradientSGD")
          .option(STEPSIZE_OPTION(hypergrad_lr))
          .not_negative()
          .choice(STEPSIZE_OPTION(form), {"kAdditive", "kMultiplicative"});
  return list;
}

const OptimizerTraits& HypergradientSGDOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<HypergradientSGD>(option_list())
          .gradient(GradientUse::kDescends)
          .sets_own_rate(true)
          .state({"direction", "momentum_buffer"});
  return traits;
}

HypergradientSGD::HypergradientSGD(
    std::vector<at::Tensor> parameters, const HypergradientSGDOptions& options)
    : HypergradientSGD(
          std::vector<OptimizerParamGroup>{
              OptimizerParamGroup(std::move(parameters))},
          options) {}

HypergradientSGD::HypergradientSGD(
    const std::vector<OptimizerParamGroup>& groups,
    const HypergradientSGDOptions& defaults)
    : IndexedOptimizer(std::make_unique<HypergradientSGDOptions>(defaults)) {
  add_groups(groups);
}

const HypergradientSGDOptions& HypergradientSGD::options_of(
    std::size_t group) const {
  return static_cast<const HypergradientSGDOptions&>(
      param_groups()[group].options());
}

at::Tensor HypergradientSGD::sums_by_operations(
    const at::Tensor& parameter,
    const at::Tensor& gradient,
    const std::vector<at::Tensor>& state,
    const detail::HypergradientSGDNumbers& numbers) {
  const at::Tensor wide = parameter.to(state[0].scalar_type());
  return detail::hypergradient_sums(
      hypergradient_sgd_gradient(wide, gradient, numbers.decay), state[0]);
}

void HypergradientSGD::step_by_operations(
    at::Tensor parameter,
    const at::Tensor& gradient,
    const std::vector<at::Tensor>& state,
    const detail::HypergradientSGDNumbers& numbers) {
  at::Tensor direction = state[0];
  const at::Tensor wide = parameter.to(direction.scalar_type());
  const at::Tensor grad =
      hypergradient_sgd_gradient(wide, gradient, numbers.decay);
  if (numbers.nesterov) {
    at::Tensor buffer = state[1];
    buffer.mul_(numbers.momentum).add_(grad, numbers.undamped);
    direction.copy_(grad + buffer * numbers.momentum);
  } else {
    direction.mul_(numbers.momentum).add_(grad, numbers.undamped);
  }
  parameter.copy_(wide - direction * numbers.rate);
}

bool HypergradientSGD::has_state(std::size_t group, std::size_t slot) const {
  return slot == 0 || options_of(group).nesterov();
}

// A momentum buffer that is not wanted is left where it is.
std::vector<ParameterUpdate> HypergradientSGD::own_updates() {
  auto updates = coming_updates();
  for (ParameterUpdate& own : updates) {
    if (!own.state.back().defined()) own.state.pop_back();
  }
  return updates;
}

at::Tensor HypergradientSGD::step(LossClosure closure) {
  const at::Tensor loss = evaluate(closure);
  const c10::AutoGradMode no_grad(false);
  auto updates = own_updates();
  std::vector<detail::HypergradientSGDNumbers> numbers;
  for (const ParameterUpdate& own : updates) {
    const HypergradientSGDOptions& options = options_of(own.group);
    // The first gradient enters the momentum whole, as in torch::optim::SGD.
    const bool damped = options.momentum() > 0 && own.step > 1;
    numbers.push_back(
        {options.weight_decay(),
         options.momentum(),
         damped ? 1 - options.dampening() : 1,
         options.nesterov(),
         0});
  }
  const auto operands =
      detail::checked_operands(kHypergradientSGDSignature, updates);
  detail::renew_rates(
      operands,
      updates,
      detail::loops().hypergradient_sgd_sums,
      numbers,
      [&](std::size_t k) {
        return sums_by_operations(
            updates[k].parameter,
            updates[k].gradient,
            updates[k].state,
            numbers[k]);
      },
      [this](std::size_t group) -> const HypergradientSGDOptions& {
        return options_of(group);
      },
      param_groups().size(),
      reduction().get(),
      rates_);
  detail::FusedStep<detail::HypergradientSGDNumbers> fused(operands);
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const ParameterUpdate& own = updates[k];
    numbers[k].rate = current_lr(own.group);
    if (!fused.add(k, detail::loops().hypergradient_sgd, numbers[k])) {
      step_by_operations(own.parameter, own.gradient, own.state, numbers[k]);
    }
  }
  fused.run();
  take_over(std::move(updates));
  return loss;
}

double HypergradientSGD::current_lr(std::size_t group) const {
  TORCH_CHECK(
      group < param_groups().size(),
      "HypergradientSGD: there is no group ",
      group);
  return rates_.current(group, options_of(group).lr());
}

void HypergradientSGD::save_counters(
    torch::serialize::OutputArchive& archive) const {
  rates_.save(archive, param_groups().size());
}

std::function<void()> HypergradientSGD::read_counters(
    torch::serialize::InputArchive& archive) {
  return rates_.read(archive, kind(), param_groups().size());
}

}  // namespace stepsize
