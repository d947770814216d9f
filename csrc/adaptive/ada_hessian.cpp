#include <stepsize/adaptive/ada_hessian.h>

#include <ATen/Functions.h>

#include <cmath>
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

constexpr detail::Signature kAdaHessianSignature = {
    "AdaHessian", {"parameter", "gradient", "exp_avg", "exp_hessian_diag_sq"}};

detail::AdaHessianNumbers ada_hessian_numbers(
    const AdaHessianOptions& options, int64_t t) {
  const auto [beta1, beta2] = options.betas();
  // The first of every `interval` updates is measured.
  const int64_t measured = 1 + (t - 1) / options.interval();
  return {
      beta1,
      options.eps(),
      1.0 - options.lr() * options.weight_decay(),
      options.lr() / (1 - std::pow(beta1, static_cast<double>(t))),
      1 / std::sqrt(1 - std::pow(beta2, static_cast<double>(measured)))};
}

at::Tensor mean_over_kernels(const at::Tensor& diagonal) {
  std::vector<int64_t> dims;
  for (int64_t dim = 2; dim < diagonal.dim(); ++dim) dims.push_back(dim);
  return dims.empty() ? diagonal : diagonal.mean(dims, /*keepdim=*/true);
}

}  // namespace

AdaHessianOptions::AdaHessianOptions(double lr) : lr_(lr) {}

const OptionList<AdaHessianOptions>& AdaHessianOptions::option_list() {
  // Not with the roles of Adam's second beta and eps: what is known of the
  // noise in Adam's steps goes by those.
  static const auto list = [] {
    OptionList<AdaHessianOptions> own("AdaHessian");
    detail::add_betas(detail::add_rate(own), OptionRole::kNone)
        .option(STEPSIZE_OPTION(eps))
        .not_negative()
        .option(STEPSIZE_OPTION(weight_decay))
        .not_negative()
        .role(OptionRole::kDecoupledWeightDecay)
        .option(STEPSIZE_OPTION(hessian_power))
        .must_be(
            "in [0, 1]", [](double power) { return power >= 0 && power <= 1; })
        .option(STEPSIZE_OPTION(spatial_averaging));
    return detail::add_products(own);
  }();
  return list;
}

const OptimizerTraits& AdaHessianOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      detail::diagonal_hessian_traits<AdaHessian, AdaHessianOptions>(
          {"exp_avg", "exp_hessian_diag_sq"});
  return traits;
}

AdaHessian::AdaHessian(
    std::vector<at::Tensor> parameters, const AdaHessianOptions& options)
    : AdaHessian(
          std::vector<OptimizerParamGroup>{
              OptimizerParamGroup(std::move(parameters))},
          options) {}

AdaHessian::AdaHessian(
    const std::vector<OptimizerParamGroup>& groups,
    const AdaHessianOptions& defaults)
    : DiagonalHessianOptimizer(std::make_unique<AdaHessianOptions>(defaults)) {
  add_groups(groups);
}

const AdaHessianOptions& AdaHessian::options_of(std::size_t group) const {
  return static_cast<const AdaHessianOptions&>(param_groups()[group].options());
}

int64_t AdaHessian::interval() const { return options_of(0).interval(); }
int64_t AdaHessian::seed() const { return options_of(0).seed(); }

void AdaHessian::step_by_operations(
    at::Tensor parameter,
    const at::Tensor& gradient,
    at::Tensor mean,
    const at::Tensor& square,
    const AdaHessianOptions& options,
    int64_t t) {
  const detail::AdaHessianNumbers numbers = ada_hessian_numbers(options, t);
  mean.mul_(numbers.beta1)
      .add_(gradient.to(mean.scalar_type()), 1.0 - numbers.beta1);
  at::Tensor divisor = square.sqrt().mul_(numbers.inverse_root);
  if (options.hessian_power() != 1) divisor.pow_(options.hessian_power());
  divisor.add_(numbers.eps);
  at::Tensor wide = parameter.to(mean.scalar_type());
  wide.mul_(numbers.keep).addcdiv_(mean, divisor, -numbers.step_size);
  if (!wide.is_same(parameter)) parameter.copy_(wide);
}

void AdaHessian::apply(
    std::vector<ParameterUpdate>& updates,
    const std::vector<at::Tensor>& diagonals) {
  detail::FusedStep<detail::AdaHessianNumbers> fused(
      kAdaHessianSignature, updates);
  for (std::size_t k = 0; k < updates.size(); ++k) {
    ParameterUpdate& own = updates[k];
    const auto& options = options_of(own.group);
    if (diagonals[k].defined()) {
      const at::Tensor diagonal = options.spatial_averaging()
                                      ? mean_over_kernels(diagonals[k])
                                      : diagonals[k];
      const double beta2 = std::get<1>(options.betas());
      own.state[1].mul_(beta2).addcmul_(diagonal, diagonal, 1.0 - beta2);
    }
    if (options.hessian_power() == 1 &&
        fused.add(
            k,
            detail::loops().ada_hessian,
            ada_hessian_numbers(options, own.step))) {
      continue;
    }
    step_by_operations(
        own.parameter,
        own.gradient,
        own.state[0],
        own.state[1],
        options,
        own.step);
  }
  fused.run();
}

}  // namespace stepsize
