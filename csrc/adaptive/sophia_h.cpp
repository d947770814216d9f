#include <stepsize/adaptive/sophia_h.h>

#include <ATen/Functions.h>

#include <memory>
#include <utility>

#include "csrc/adaptive/diagonal_hessian_options.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/kernels/operands.h"
#include "csrc/optim/common_options.h"
#include "csrc/optim/fused_step.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

constexpr detail::Signature kSophiaSignature = {
    "SophiaH", {"parameter", "gradient", "exp_avg", "hessian"}};

detail::SophiaNumbers sophia_numbers(const SophiaHOptions& options) {
  return {
      std::get<0>(options.betas()),
      options.gamma(),
      options.eps(),
      1.0 - options.lr() * options.weight_decay(),
      options.lr()};
}

}  // namespace

SophiaHOptions::SophiaHOptions(double lr) : lr_(lr) {}

const OptionList<SophiaHOptions>& SophiaHOptions::option_list() {
  static const auto list = [] {
    OptionList<SophiaHOptions> own("SophiaH");
    detail::add_betas(detail::add_rate(own), OptionRole::kNone)
        .option(STEPSIZE_OPTION(gamma))
        .not_negative()
        .option(STEPSIZE_OPTION(eps))
        .not_negative()
        .option(STEPSIZE_OPTION(weight_decay))
        .not_negative()
        .role(OptionRole::kDecoupledWeightDecay);
    return detail::add_products(own);
  }();
  return list;
}

const OptimizerTraits& SophiaHOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      detail::diagonal_hessian_traits<SophiaH, SophiaHOptions>(
          {"exp_avg", "hessian"});
  return traits;
}

SophiaH::SophiaH(
    std::vector<at::Tensor> parameters, const SophiaHOptions& options)
    : SophiaH(
          std::vector<OptimizerParamGroup>{
              OptimizerParamGroup(std::move(parameters))},
          options) {}

SophiaH::SophiaH(
    const std::vector<OptimizerParamGroup>& groups,
    const SophiaHOptions& defaults)
    : DiagonalHessianOptimizer(std::make_unique<SophiaHOptions>(defaults)) {
  add_groups(groups);
}

const SophiaHOptions& SophiaH::options_of(std::size_t group) const {
  return static_cast<const SophiaHOptions&>(param_groups()[group].options());
}

int64_t SophiaH::interval() const { return options_of(0).interval(); }
int64_t SophiaH::seed() const { return options_of(0).seed(); }

void SophiaH::step_by_operations(
    at::Tensor parameter,
    const at::Tensor& gradient,
    at::Tensor mean,
    const at::Tensor& curvature,
    const SophiaHOptions& options) {
  const detail::SophiaNumbers numbers = sophia_numbers(options);
  mean.mul_(numbers.beta1)
      .add_(gradient.to(mean.scalar_type()), 1.0 - numbers.beta1);
  const at::Tensor divisor =
      (curvature * numbers.gamma).clamp_min_(numbers.eps);
  // LibTorch's sign of a NaN is 0, which would hide it.
  const at::Tensor sign = at::where(mean.isnan(), mean, mean.sign());
  const at::Tensor step =
      at::where(mean.abs().lt(divisor), mean / divisor, sign);
  at::Tensor wide = parameter.to(mean.scalar_type());
  wide.mul_(numbers.keep).sub_(step, numbers.lr);
  if (!wide.is_same(parameter)) parameter.copy_(wide);
}

void SophiaH::apply(
    std::vector<ParameterUpdate>& updates,
    const std::vector<at::Tensor>& diagonals) {
  detail::FusedStep<detail::SophiaNumbers> fused(kSophiaSignature, updates);
  for (std::size_t k = 0; k < updates.size(); ++k) {
    ParameterUpdate& own = updates[k];
    const auto& options = options_of(own.group);
    if (diagonals[k].defined()) {
      const double beta2 = std::get<1>(options.betas());
      own.state[1].mul_(beta2).add_(diagonals[k], 1.0 - beta2);
    }
    if (!fused.add(k, detail::loops().sophia, sophia_numbers(options))) {
      step_by_operations(
          own.parameter, own.gradient, own.state[0], own.state[1], options);
    }
  }
  fused.run();
}

}  // namespace stepsize
