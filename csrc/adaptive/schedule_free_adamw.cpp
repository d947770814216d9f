#include <stepsize/adaptive/schedule_free_adamw.h>

#include <ATen/Functions.h>

#include <cmath>
#include <cstddef>
#include <utility>

#include "csrc/adaptive/schedule_free_options.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/kernels/operands.h"
#include "csrc/optim/fused_step.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

constexpr detail::Signature kScheduleFreeAdamWSignature = {
    "ScheduleFreeAdamW", {"parameter", "gradient", "z", "exp_avg_sq"}};

double schedule_free_inverse_root(
    const ScheduleFreeAdamWOptions& options, int64_t step) {
  const double beta2 = std::get<1>(options.betas());
  return 1 / std::sqrt(1 - std::pow(beta2, static_cast<double>(step)));
}

}  // namespace

ScheduleFreeAdamWOptions::ScheduleFreeAdamWOptions(double lr) : lr_(lr) {}

const OptionList<ScheduleFreeAdamWOptions>&
ScheduleFreeAdamWOptions::option_list() {
  static const auto list = [] {
    OptionList<ScheduleFreeAdamWOptions> own("ScheduleFreeAdamW");
    own.option(STEPSIZE_OPTION(lr)).not_negative().role(OptionRole::kRate);
    detail::share_of_average(own.option(
        "beta1", [](auto& o) -> auto& { return std::get<0>(o.betas()); }));
    // Without the role of a second beta: rules of Adam's betas hold for both,
    // and the first is none of a mean of gradients.
    own.option(
           "beta2", [](auto& o) -> auto& { return std::get<1>(o.betas()); })
        .share()
        .option(STEPSIZE_OPTION(eps))
        .not_negative()
        .role(OptionRole::kEpsilon)
        .option(STEPSIZE_OPTION(weight_decay))
        .not_negative()
        .role(OptionRole::kDecoupledWeightDecay);
    return detail::add_weights_of_average(own);
  }();
  return list;
}

const OptimizerTraits& ScheduleFreeAdamWOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<ScheduleFreeAdamW>(option_list())
          .gradient(GradientUse::kScalesCoordinates)
          .state({"z", "exp_avg_sq"});
  return traits;
}

ScheduleFreeAdamW::ScheduleFreeAdamW(
    std::vector<at::Tensor> parameters, const ScheduleFreeAdamWOptions& options)
    : ScheduleFreeAdamW(
          std::vector<OptimizerParamGroup>{
              OptimizerParamGroup(std::move(parameters))},
          options) {}

ScheduleFreeAdamW::ScheduleFreeAdamW(
    const std::vector<OptimizerParamGroup>& groups,
    const ScheduleFreeAdamWOptions& defaults)
    : ScheduleFreeOptimizer(
          std::make_unique<ScheduleFreeAdamWOptions>(defaults)) {
  add_groups(groups);
}

ScheduleFreeOptimizer::Averaging ScheduleFreeAdamW::averaging(
    const torch::optim::OptimizerOptions& options) const {
  const auto& own = static_cast<const ScheduleFreeAdamWOptions&>(options);
  return {
      own.lr(),
      std::get<0>(own.betas()),
      own.warmup_steps(),
      own.r(),
      own.weight_lr_power()};
}

void ScheduleFreeAdamW::step_by_operations(
    at::Tensor parameter,
    const at::Tensor& gradient,
    at::Tensor z,
    at::Tensor square,
    int64_t step,
    const ScheduleFreeAdamWOptions& options,
    const AveragedStep& averaged) {
  const double beta2 = std::get<1>(options.betas());
  const at::Tensor wide_gradient = gradient.to(z.scalar_type());
  square.mul_(beta2).addcmul_(wide_gradient, wide_gradient, 1.0 - beta2);
  const at::Tensor denominator =
      square.sqrt()
          .mul_(schedule_free_inverse_root(options, step))
          .add_(options.eps());
  at::Tensor y = parameter.to(z.scalar_type());
  const at::Tensor direction =
      (wide_gradient / denominator).add_(y, options.weight_decay());
  y.add_(z - y, averaged.pull).add_(direction, averaged.push);
  z.sub_(direction, averaged.lr);
  if (!y.is_same(parameter)) parameter.copy_(y);
}

void ScheduleFreeAdamW::update_all(
    const std::vector<ParameterUpdate>& updates,
    const std::vector<AveragedStep>& steps) {
  detail::FusedStep<detail::ScheduleFreeAdamNumbers> fused(
      kScheduleFreeAdamWSignature, updates);
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const ParameterUpdate& own = updates[k];
    const auto& options = static_cast<const ScheduleFreeAdamWOptions&>(
        param_groups()[own.group].options());
    const detail::ScheduleFreeAdamNumbers numbers = {
        steps[k].lr,
        options.weight_decay(),
        steps[k].pull,
        steps[k].push,
        std::get<1>(options.betas()),
        options.eps(),
        schedule_free_inverse_root(options, own.step)};
    if (!fused.add(k, detail::loops().schedule_free_adam, numbers)) {
      step_by_operations(
          own.parameter,
          own.gradient,
          own.state[0],
          own.state[1],
          own.step,
          options,
          steps[k]);
    }
  }
  fused.run();
}

}  // namespace stepsize
