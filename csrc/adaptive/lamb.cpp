#include <stepsize/adaptive/lamb.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>

#include "csrc/adaptive/layerwise_step.h"
#include "csrc/adaptive/tensor_norms.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/optim/common_options.h"
#include "csrc/optim/rank_evaluation.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

constexpr detail::Signature kLambSignature = {
    "LAMB", {"parameter", "gradient", "exp_avg", "exp_avg_sq"}};

detail::LambNumbers lamb_numbers(
    const LAMBOptions& options, const detail::LayerRule& rule, int64_t t) {
  const auto [beta1, beta2] = options.betas();
  const auto updates = static_cast<double>(t);
  const bool corrects = options.bias_correction();
  return {
      beta1,
      beta2,
      options.eps(),
      rule.weight_decay,
      corrects ? 1 / (1 - std::pow(beta1, updates)) : 1,
      corrects ? 1 / std::sqrt(1 - std::pow(beta2, updates)) : 1,
      options.lr()};
}

double lamb_ratio(const detail::LayerNorms& norms, const LAMBOptions& options) {
  const double ratio = detail::ratio_of_norms(norms.weights, norms.updates);
  return ratio > options.max_trust_ratio() ? options.max_trust_ratio() : ratio;
}

struct LambLayer {
  bool scaled;
  detail::LambMomentLoop moments;
  detail::StepLoop<detail::LambNumbers> loop;
  detail::LambNumbers numbers;
  const LAMBOptions* options;

  detail::LayerSums measure(
      void* const* arrays, int64_t begin, int64_t end) const {
    return moments(arrays, begin, end, numbers);
  }
  void take(const detail::LayerNorms& norms) {
    numbers.step_size *= lamb_ratio(norms, *options);
  }
  void step(void* const* arrays, int64_t begin, int64_t end) const {
    loop(arrays, begin, end, numbers);
  }
  static const at::Tensor* compared(const ParameterUpdate& /*update*/) {
    return nullptr;
  }
};

}  // namespace

LAMBOptions::LAMBOptions(double lr) : lr_(lr) {}

const OptionList<LAMBOptions>& LAMBOptions::option_list() {
  static const auto list = [] {
    OptionList<LAMBOptions> own("LAMB");
    return detail::add_betas(detail::add_rate(own))
        .option(STEPSIZE_OPTION(eps))
        .not_negative()
        .role(OptionRole::kEpsilon)
        .option(STEPSIZE_OPTION(weight_decay))
        .not_negative()
        .role(OptionRole::kDecoupledWeightDecay)
        .option(STEPSIZE_OPTION(bias_correction))
        .option(STEPSIZE_OPTION(max_trust_ratio))
        .must_be("> 0", [](double ratio) { return ratio > 0; })
        .option(STEPSIZE_OPTION(adapt))
        .option(STEPSIZE_OPTION(adapt_vectors));
  }();
  return list;
}

const OptimizerTraits& LAMBOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<LAMB>(option_list())
          .gradient(GradientUse::kScalesLayers)
          .momentum_is_mean(true)
          .state({"exp_avg", "exp_avg_sq"});
  return traits;
}

LAMB::LAMB(std::vector<at::Tensor> parameters, const LAMBOptions& options)
    : LAMB(
          std::vector<OptimizerParamGroup>{
              OptimizerParamGroup(std::move(parameters))},
          options) {}

LAMB::LAMB(
    const std::vector<OptimizerParamGroup>& groups, const LAMBOptions& defaults)
    : IndexedOptimizer(std::make_unique<LAMBOptions>(defaults)) {
  add_groups(groups);
}

at::Tensor LAMB::direction_by_operations(
    const at::Tensor& parameter,
    const at::Tensor& gradient,
    at::Tensor mean,
    at::Tensor square,
    const LAMBOptions& options,
    int64_t t) {
  const detail::LambNumbers numbers =
      lamb_numbers(options, detail::layer_rule(options, parameter), t);
  const at::Tensor wide_gradient = gradient.to(mean.scalar_type());
  mean.mul_(numbers.beta1).add_(wide_gradient, 1.0 - numbers.beta1);
  square.mul_(numbers.beta2)
      .addcmul_(wide_gradient, wide_gradient, 1.0 - numbers.beta2);
  const at::Tensor divisor =
      square.sqrt().mul_(numbers.inverse_root).add_(numbers.eps);
  at::Tensor direction = (mean * numbers.mean_scale).div_(divisor);
  if (numbers.decay != 0) {
    direction.add_(parameter.to(mean.scalar_type()), numbers.decay);
  }
  return direction;
}

void LAMB::step_by_operations(
    at::Tensor parameter, const at::Tensor& direction, double step_size) {
  at::Tensor wide = parameter.to(direction.scalar_type());
  wide.sub_(direction, step_size);
  if (!wide.is_same(parameter)) parameter.copy_(wide);
}

at::Tensor LAMB::step(LossClosure closure) {
  const at::Tensor loss = evaluate(closure);
  const c10::AutoGradMode no_grad(false);
  auto updates = coming_updates();
  detail::LayerwiseStep<LambLayer> fused(kLambSignature, updates);
  const auto options_of = [this](const ParameterUpdate& update) -> auto& {
    return static_cast<const LAMBOptions&>(
        param_groups()[update.group].options());
  };
  // On other devices: positions, directions, and the norms there.
  std::vector<std::size_t> others;
  std::vector<at::Tensor> directions;
  std::vector<at::Tensor> norms_there;
  for (std::size_t k = 0; k < updates.size(); ++k) {
    ParameterUpdate& own = updates[k];
    const auto& options = options_of(own);
    const auto rule = detail::layer_rule(options, own.parameter);
    if (const auto format = fused.format(k)) {
      const detail::LoopTable& loops = detail::loops();
      fused.add(
          k,
          LambLayer{
              rule.scaled,
              loops.lamb_moments[*format],
              loops.lamb[*format],
              lamb_numbers(options, rule, own.step),
              &options});
      continue;
    }
    const at::Tensor direction = direction_by_operations(
        own.parameter,
        own.gradient,
        own.state[0],
        own.state[1],
        options,
        own.step);
    if (!rule.scaled) {
      step_by_operations(own.parameter, direction, options.lr());
      continue;
    }
    others.push_back(k);
    directions.push_back(direction);
    norms_there.push_back(own.parameter);
    norms_there.push_back(direction);
  }
  fused.measure(/*at_once=*/reduction() == nullptr);
  std::vector<double> norms;
  fused.add_norms(norms);
  const std::vector<double> from_there = detail::tensor_norms(norms_there);
  norms.insert(norms.end(), from_there.begin(), from_there.end());
  detail::agree_on(norms, reduction().get());
  std::size_t at = fused.step(norms);
  for (std::size_t i = 0; i < others.size(); ++i, at += 2) {
    ParameterUpdate& own = updates[others[i]];
    const auto& options = options_of(own);
    step_by_operations(
        own.parameter,
        directions[i],
        options.lr() * lamb_ratio({norms[at], norms[at + 1]}, options));
  }
  take_over(std::move(updates));
  return loss;
}

}  // namespace stepsize
