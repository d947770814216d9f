#include <stepsize/adaptive/schedule_free_sgd.h>

#include <ATen/Functions.h>

#include <cstddef>
#include <utility>

#include "csrc/adaptive/schedule_free_options.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/kernels/operands.h"
#include "csrc/optim/fused_step.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

constexpr detail::Signature kScheduleFreeSGDSignature = {
    "ScheduleFreeSGD", {"parameter", "gradient", "z"}};

}  // namespace

ScheduleFreeSGDOptions::ScheduleFreeSGDOptions(double lr) : lr_(lr) {}

const OptionList<ScheduleFreeSGDOptions>&
ScheduleFreeSGDOptions::option_list() {
  static const auto list = [] {
    OptionList<ScheduleFreeSGDOptions> own("ScheduleFreeSGD");
    own.option(STEPSIZE_OPTION(lr)).not_negative().role(OptionRole::kRate);
    detail::share_of_average(own.option(STEPSIZE_OPTION(momentum)));
    own.option(STEPSIZE_OPTION(weight_decay))
        .not_negative()
        .role(OptionRole::kWeightDecay);
    return detail::add_weights_of_average(own);
  }();
  return list;
}

const OptimizerTraits& ScheduleFreeSGDOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<ScheduleFreeSGD>(option_list())
          .gradient(GradientUse::kAverages)
          .state({"z"});
  return traits;
}

ScheduleFreeSGD::ScheduleFreeSGD(
    std::vector<at::Tensor> parameters, const ScheduleFreeSGDOptions& options)
    : ScheduleFreeSGD(
          std::vector<OptimizerParamGroup>{
              OptimizerParamGroup(std::move(parameters))},
          options) {}

ScheduleFreeSGD::ScheduleFreeSGD(
    const std::vector<OptimizerParamGroup>& groups,
    const ScheduleFreeSGDOptions& defaults)
    : ScheduleFreeOptimizer(
          std::make_unique<ScheduleFreeSGDOptions>(defaults)) {
  add_groups(groups);
}

ScheduleFreeOptimizer::Averaging ScheduleFreeSGD::averaging(
    const torch::optim::OptimizerOptions& options) const {
  const auto& own = static_cast<const ScheduleFreeSGDOptions&>(options);
  return {
      own.lr(),
      own.momentum(),
      own.warmup_steps(),
      own.r(),
      own.weight_lr_power()};
}

void ScheduleFreeSGD::step_by_operations(
    at::Tensor parameter,
    const at::Tensor& gradient,
    at::Tensor z,
    const ScheduleFreeSGDOptions& options,
    const AveragedStep& averaged) {
  at::Tensor y = parameter.to(z.scalar_type());
  const at::Tensor direction =
      at::add(gradient.to(z.scalar_type()), y, options.weight_decay());
  y.add_(z - y, averaged.pull).add_(direction, averaged.push);
  z.sub_(direction, averaged.lr);
  if (!y.is_same(parameter)) parameter.copy_(y);
}

void ScheduleFreeSGD::update_all(
    const std::vector<ParameterUpdate>& updates,
    const std::vector<AveragedStep>& steps) {
  detail::FusedStep<detail::ScheduleFreeSGDNumbers> fused(
      kScheduleFreeSGDSignature, updates);
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const ParameterUpdate& own = updates[k];
    const auto& options = static_cast<const ScheduleFreeSGDOptions&>(
        param_groups()[own.group].options());
    const detail::ScheduleFreeSGDNumbers numbers = {
        steps[k].lr, options.weight_decay(), steps[k].pull, steps[k].push};
    if (!fused.add(k, detail::loops().schedule_free_sgd, numbers)) {
      step_by_operations(
          own.parameter, own.gradient, own.state[0], options, steps[k]);
    }
  }
  fused.run();
}

}  // namespace stepsize
