#include <stepsize/adaptive/dadapt_adam.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "csrc/adaptive/distance_estimate.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/optim/fused_step.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

constexpr detail::Signature kDAdaptAdamSignature = {
    "DAdaptAdam", {"parameter", "gradient", "exp_avg", "exp_avg_sq", "s"}};

double dadapt_root_beta2(const DAdaptAdamOptions& options) {
  return std::sqrt(std::get<1>(options.betas()));
}

}  // namespace

DAdaptAdamOptions::DAdaptAdamOptions(double lr) : lr_(lr) {}

const OptionList<DAdaptAdamOptions>& DAdaptAdamOptions::option_list() {
  static const auto list = [] {
    OptionList<DAdaptAdamOptions> own("DAdaptAdam");
    detail::add_distance_decay(detail::add_distance_means(own));
    detail::positive(own.option(STEPSIZE_OPTION(d0))).same_in_groups();
    return detail::add_growth_rate(own);
  }();
  return list;
}

const OptimizerTraits& DAdaptAdamOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<DAdaptAdam>(option_list())
          .gradient(GradientUse::kScalesCoordinates)
          .momentum_is_mean(true)
          .sets_own_rate(true)
          .state({"exp_avg", "exp_avg_sq", "s"});
  return traits;
}

DAdaptAdam::DAdaptAdam(
    std::vector<at::Tensor> parameters, const DAdaptAdamOptions& options)
    : DAdaptAdam(
          std::vector<OptimizerParamGroup>{
              OptimizerParamGroup(std::move(parameters))},
          options) {}

DAdaptAdam::DAdaptAdam(
    const std::vector<OptimizerParamGroup>& groups,
    const DAdaptAdamOptions& defaults)
    : DistanceAdam(std::make_unique<DAdaptAdamOptions>(defaults)) {
  add_groups(groups);
}

const DAdaptAdamOptions& DAdaptAdam::options_of(std::size_t group) const {
  return static_cast<const DAdaptAdamOptions&>(param_groups()[group].options());
}

double DAdaptAdam::d0(const torch::optim::OptimizerOptions& options) const {
  return static_cast<const DAdaptAdamOptions&>(options).d0();
}

at::Tensor DAdaptAdam::step_by_operations(
    at::Tensor parameter,
    const at::Tensor& gradient,
    const std::vector<at::Tensor>& state,
    const detail::DAdaptAdamNumbers& numbers) {
  at::Tensor mean = state[0];
  at::Tensor square = state[1];
  at::Tensor weighted = state[2];
  at::Tensor wide = parameter.to(mean.scalar_type());
  at::Tensor grad = gradient.to(mean.scalar_type());
  if (numbers.decay != 0) grad = grad.add(wide, numbers.decay);
  const at::Tensor along =
      (grad.to(at::kDouble) *
       (weighted / square.sqrt().add_(numbers.eps)).to(at::kDouble))
          .sum();
  mean.mul_(numbers.beta1).add_(grad, numbers.rate);
  square.mul_(numbers.beta2).addcmul_(grad, grad, 1.0 - numbers.beta2);
  weighted.mul_(numbers.root_beta2).add_(grad, numbers.weight);
  wide.mul_(numbers.keep).sub_(mean / square.sqrt().add_(numbers.eps));
  if (!wide.is_same(parameter)) parameter.copy_(wide);
  return at::stack({along, weighted.to(at::kDouble).abs().sum()});
}

std::vector<double> DAdaptAdam::update_all(
    std::vector<ParameterUpdate>& updates, const detail::GroupRates& rates) {
  detail::FusedStep<detail::DAdaptAdamNumbers, detail::kDAdaptAdamSums> pass(
      kDAdaptAdamSignature, updates);
  const double root_beta2 = dadapt_root_beta2(options_of(0));
  const double estimate = d();
  const double correction =
      detail::rate_correction(options_of(0), coming_step());
  const double rate = estimate * rates.largest * correction;
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const ParameterUpdate& own = updates[k];
    const DAdaptAdamOptions& options = options_of(own.group);
    const auto& [beta1, beta2] = options.betas();
    const double own_rate = estimate * options.lr() * correction;
    const detail::DAdaptAdamNumbers numbers = {
        beta1,
        beta2,
        root_beta2,
        options.eps(),
        options.decouple() ? 0 : options.weight_decay(),
        options.decouple() ? 1 - options.weight_decay() * own_rate : 1,
        own_rate * (1 - beta1),
        rate * (1 - root_beta2)};
    if (!pass.add(k, detail::loops().dadapt_adam, numbers)) {
      pass.add_sums(
          k,
          step_by_operations(own.parameter, own.gradient, own.state, numbers));
    }
  }
  const auto sums = pass.run();
  std::vector<double> totals(2, 0.0);
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const double factor = rates.factors[updates[k].group];
    totals[0] += factor * rate * sums[k][0];
    totals[1] += factor * sums[k][1];
  }
  return totals;
}

DistanceAdam::Estimate DAdaptAdam::renewed(
    const Estimate& last,
    const std::vector<double>& sums,
    const detail::GroupRates& /*rates*/) {
  const double root_beta2 = dadapt_root_beta2(options_of(0));
  Estimate next = {
      last.d, root_beta2 * last.numerator + (1 - root_beta2) * sums[0]};
  const double found = next.numerator / ((1 - root_beta2) * sums[1]);
  // Without a gradient so far the sums are 0.
  if (std::isfinite(found)) {
    next.d =
        std::max(last.d, std::min(found, last.d * options_of(0).growth_rate()));
  }
  return next;
}

}  // namespace stepsize
