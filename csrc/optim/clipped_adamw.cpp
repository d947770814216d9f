#include <stepsize/optim/clipped_adamw.h>

#include <stepsize/kernels/adam.h>

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <utility>
#include <vector>

#include "csrc/optim/common_options.h"
#include "csrc/optim/state_tensor.h"
#include "csrc/state/preconditioners.h"

namespace stepsize {
ClippedAdamWOptions::ClippedAdamWOptions(double lr) : lr_(lr) {}

const OptionList<ClippedAdamWOptions>& ClippedAdamWOptions::option_list() {
  static const auto list = [] {
    OptionList<ClippedAdamWOptions> own("ClippedAdamW");
    detail::add_betas(detail::add_rate(own))
        .option(STEPSIZE_OPTION(eps))
        .not_negative()
        .role(OptionRole::kEpsilon)
        .option(STEPSIZE_OPTION(weight_decay))
        .not_negative()
        .role(OptionRole::kDecoupledWeightDecay)
        .option(STEPSIZE_OPTION(amsgrad));
    detail::add_maximize(own);
    detail::add_clip_options(own);
    detail::add_state_type(own);
    own.option(STEPSIZE_OPTION(cautious))
        .may_be_missing()
        .option(STEPSIZE_OPTION(peak_lr))
        .not_negative()
        .may_be_missing();
    return own;
  }();
  return list;
}

namespace {

at::Tensor clipped_adamw_preconditioner(const ComingUpdate& update) {
  const auto& own = static_cast<const ClippedAdamWOptions&>(update.options);
  TORCH_CHECK(
      !own.cautious(),
      "ClippedAdamW: which coordinates a cautious update leaves out changes "
      "from step to step, so that no preconditioner tells its largest rate");
  // The mean of the gradient is not asked for.
  std::vector<at::Tensor> full = update.state;
  for (std::size_t i = 1; i < full.size(); ++i) {
    if (full[i].defined()) {
      full[i] = full_state(full[i], update.gradient, /*is_unsigned=*/true);
    }
  }
  return detail::adam_preconditioner<ClippedAdamWOptions>(
      {update.options, full, update.step, update.gradient});
}

}  // namespace

const OptimizerTraits& ClippedAdamWOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<ClippedAdamW>(option_list())
          .gradient(GradientUse::kScalesCoordinates)
          .preconditioner(clipped_adamw_preconditioner)
          .gradient_factor(detail::clip_factor<ClippedAdamWOptions>)
          .momentum_is_mean(true)
          .state({"exp_avg", "exp_avg_sq", "max_exp_avg_sq"})
          .skipped_steps(detail::skipped_by<ClippedAdamW>);
  return traits;
}

ClippedAdamW::ClippedAdamW(
    std::vector<at::Tensor> parameters, const ClippedAdamWOptions& options)
    : ClippedAdamW(
          std::vector<torch::optim::OptimizerParamGroup>{
              torch::optim::OptimizerParamGroup(std::move(parameters))},
          options) {}

ClippedAdamW::ClippedAdamW(
    const std::vector<torch::optim::OptimizerParamGroup>& groups,
    const ClippedAdamWOptions& defaults)
    : ClippedOptimizer(std::make_unique<ClippedAdamWOptions>(defaults)) {
  add_groups(groups);
}

StateType ClippedAdamW::state_type(std::size_t group) const {
  return static_cast<const ClippedAdamWOptions&>(
             param_groups()[group].options())
      .state_type();
}

ClipOptions ClippedAdamW::clip_options(
    const torch::optim::OptimizerOptions& options) const {
  const auto& own = static_cast<const ClippedAdamWOptions&>(options);
  return {own.max_norm(), own.norm_type(), own.non_finite()};
}

void ClippedAdamW::update_group(
    std::size_t group,
    const std::vector<at::Tensor>& parameters,
    const std::vector<at::Tensor>& gradients,
    const at::Tensor& grad_scale) {
  const auto& options =
      static_cast<const ClippedAdamWOptions&>(param_groups()[group].options());
  AdamHyperparameters numbers;
  numbers.lr = options.lr();
  std::tie(numbers.beta1, numbers.beta2) = options.betas();
  numbers.eps = options.eps();
  numbers.weight_decay = options.weight_decay();
  if (options.peak_lr() > 0) {
    numbers.weight_decay *= std::min(options.lr() / options.peak_lr(), 1.0);
  }
  numbers.amsgrad = options.amsgrad();
  numbers.maximize = options.maximize();
  numbers.decoupled_weight_decay = true;
  numbers.cautious = options.cautious();
  numbers.stochastic_rounding = options.state_type() == StateType::kBFloat16;
  numbers.rounding_seed = static_cast<int64_t>(group);

  auto& state = group_state(group);
  auto slots = state.slots;
  auto steps = state.steps;
  const std::size_t used = numbers.amsgrad ? 3 : 2;
  bool grown = false;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (!gradients[i].defined()) {
      continue;
    }
    ++steps[i];
    for (std::size_t slot = 0; slot < used; ++slot) {
      at::Tensor& own = slots[slot][i];
      if (detail::is_in_form(own, parameters[i], options.state_type()))
        continue;
      own =
          detail::state_in_form(own, parameters[i], options.state_type(), slot);
      grown = true;
    }
  }
  adam_step(
      parameters,
      gradients,
      slots[0],
      slots[1],
      numbers.amsgrad ? at::TensorList(slots[2]) : at::TensorList(),
      steps,
      numbers,
      grad_scale);
  // Only now: had the step been refused, there would be no state yet.
  state.steps = std::move(steps);
  if (grown) {
    state.slots = std::move(slots);
  }
}

}  // namespace stepsize
