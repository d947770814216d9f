#include <stepsize/optim/clipped_sgd.h>

#include <ATen/ops/zeros_like.h>
#include <stepsize/kernels/sgd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "csrc/optim/common_options.h"
#include "csrc/optim/sgd_group_step.h"

namespace stepsize {
ClippedSGDOptions::ClippedSGDOptions(double lr) : lr_(lr) {}

const OptionList<ClippedSGDOptions>& ClippedSGDOptions::option_list() {
  static const auto list = [] {
    auto own = detail::sgd_options<ClippedSGDOptions>("ClippedSGD");
    detail::add_maximize(own);
    detail::add_decoupled_weight_decay(own);
    detail::add_clip_options(own);
    detail::add_state_type(own);
    return own;
  }();
  return list;
}

const OptimizerTraits& ClippedSGDOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<ClippedSGD>(option_list())
          .gradient(GradientUse::kDescends)
          .gradient_factor(detail::clip_factor<ClippedSGDOptions>)
          .state({"momentum_buffer"})
          .skipped_steps(detail::skipped_by<ClippedSGD>);
  return traits;
}

ClippedSGD::ClippedSGD(
    std::vector<at::Tensor> parameters, const ClippedSGDOptions& options)
    : ClippedSGD(
          std::vector<torch::optim::OptimizerParamGroup>{
              torch::optim::OptimizerParamGroup(std::move(parameters))},
          options) {}

ClippedSGD::ClippedSGD(
    const std::vector<torch::optim::OptimizerParamGroup>& groups,
    const ClippedSGDOptions& defaults)
    : ClippedOptimizer(std::make_unique<ClippedSGDOptions>(defaults)) {
  add_groups(groups);
}

StateType ClippedSGD::state_type(std::size_t group) const {
  return static_cast<const ClippedSGDOptions&>(param_groups()[group].options())
      .state_type();
}

ClipOptions ClippedSGD::clip_options(
    const torch::optim::OptimizerOptions& options) const {
  const auto& own = static_cast<const ClippedSGDOptions&>(options);
  return {own.max_norm(), own.norm_type(), own.non_finite()};
}

void ClippedSGD::update_group(
    std::size_t group,
    const std::vector<at::Tensor>& parameters,
    const std::vector<at::Tensor>& gradients,
    const at::Tensor& grad_scale) {
  const auto& options =
      static_cast<const ClippedSGDOptions&>(param_groups()[group].options());
  SGDHyperparameters numbers = detail::sgd_numbers(options);
  numbers.maximize = options.maximize();
  auto& state = group_state(group);
  const StateType type = options.state_type();
  if (type == StateType::kFloat32) {
    detail::sgd_group_step(
        parameters, gradients, state.slots[0], numbers, grad_scale);
    return;
  }
  // Steps are counted for the rounding alone.
  auto steps = state.steps;
  int64_t latest = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (gradients[i].defined()) latest = std::max(latest, ++steps[i]);
  }
  // Without a sign, as it may wrap.
  constexpr uint64_t kMostGroups = 1 << 16;
  numbers.stochastic_rounding = true;
  numbers.rounding_seed =
      static_cast<int64_t>(static_cast<uint64_t>(latest) * kMostGroups + group);
  detail::sgd_group_step(
      parameters, gradients, state.slots[0], numbers, grad_scale, type);
  state.steps = std::move(steps);
}

}  // namespace stepsize
