#include <stepsize/adaptive/prodigy.h>

#include <ATen/Functions.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "csrc/adaptive/distance_estimate.h"
#include "csrc/core/archive.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/optim/fused_step.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

constexpr detail::Signature kProdigySignature = {
    "Prodigy", {"parameter", "gradient", "exp_avg", "exp_avg_sq", "s", "p0"}};
constexpr std::size_t kProdigyStart = 3;  // of the states

double prodigy_beta3(const ProdigyOptions& options) {
  return options.beta3() > 0 ? options.beta3()
                             : std::sqrt(std::get<1>(options.betas()));
}

// Relative to d0, as d^2 may be too small a number for float32.
double prodigy_square(const ProdigyOptions& options, double d) {
  return d / options.d0() * d;
}

// Of a gradient in the sums that the estimate is made of.
double prodigy_weight(
    const ProdigyOptions& options,
    double d,
    const detail::GroupRates& rates,
    int64_t step) {
  return prodigy_square(options, d) * rates.largest *
         detail::rate_correction(options, step);
}

}  // namespace

ProdigyOptions::ProdigyOptions(double lr) : lr_(lr) {}

const OptionList<ProdigyOptions>& ProdigyOptions::option_list() {
  static const auto list = [] {
    OptionList<ProdigyOptions> own("Prodigy");
    detail::add_distance_means(own)
        .option(STEPSIZE_OPTION(beta3))
        .share()
        .same_in_groups();
    detail::add_distance_decay(own)
        .option(STEPSIZE_OPTION(safeguard_warmup))
        .same_in_groups();
    detail::positive(own.option(STEPSIZE_OPTION(d0))).same_in_groups();
    detail::positive(own.option(STEPSIZE_OPTION(d_coef))).same_in_groups();
    return detail::add_growth_rate(own);
  }();
  return list;
}

const OptimizerTraits& ProdigyOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<Prodigy>(option_list())
          .gradient(GradientUse::kScalesCoordinates)
          .momentum_is_mean(true)
          .sets_own_rate(true)
          .state({"exp_avg", "exp_avg_sq", "s", "p0"});
  return traits;
}

Prodigy::Prodigy(
    std::vector<at::Tensor> parameters, const ProdigyOptions& options)
    : Prodigy(
          std::vector<OptimizerParamGroup>{
              OptimizerParamGroup(std::move(parameters))},
          options) {}

Prodigy::Prodigy(
    const std::vector<OptimizerParamGroup>& groups,
    const ProdigyOptions& defaults)
    : DistanceAdam(std::make_unique<ProdigyOptions>(defaults)) {
  add_groups(groups);
}

const ProdigyOptions& Prodigy::options_of(std::size_t group) const {
  return static_cast<const ProdigyOptions&>(param_groups()[group].options());
}

double Prodigy::d0(const torch::optim::OptimizerOptions& options) const {
  return static_cast<const ProdigyOptions&>(options).d0();
}

at::Tensor Prodigy::step_by_operations(
    at::Tensor parameter,
    const at::Tensor& gradient,
    const std::vector<at::Tensor>& state,
    const detail::ProdigyNumbers& numbers) {
  at::Tensor mean = state[0];
  at::Tensor square = state[1];
  at::Tensor weighted = state[2];
  const at::Tensor& start = state[kProdigyStart];
  at::Tensor wide = parameter.to(mean.scalar_type());
  at::Tensor grad = gradient.to(mean.scalar_type());
  if (numbers.decay != 0) grad = grad.add(wide, numbers.decay);
  const at::Tensor along =
      (grad.to(at::kDouble) * (start.to(at::kDouble) - wide.to(at::kDouble)))
          .sum();
  const at::Tensor scaled = grad * numbers.d;
  mean.mul_(numbers.beta1).add_(scaled, 1.0 - numbers.beta1);
  square.mul_(numbers.beta2).addcmul_(scaled, scaled, 1.0 - numbers.beta2);
  weighted.mul_(numbers.beta3).add_(grad, numbers.weight);
  wide.mul_(numbers.keep)
      .sub_((mean * numbers.step_size).div_(square.sqrt().add_(numbers.eps)));
  if (!wide.is_same(parameter)) parameter.copy_(wide);
  return at::stack({along, weighted.to(at::kDouble).abs().sum()});
}

std::vector<double> Prodigy::update_all(
    std::vector<ParameterUpdate>& updates, const detail::GroupRates& rates) {
  for (ParameterUpdate& update : updates) {
    const auto& starts = group_state(update.group).slots[kProdigyStart];
    if (starts[update.index].defined()) continue;
    update.state[kProdigyStart].copy_(update.parameter);
  }
  detail::FusedStep<detail::ProdigyNumbers, detail::kProdigySums> pass(
      kProdigySignature, updates);
  const double estimate = d();
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const ParameterUpdate& own = updates[k];
    const ProdigyOptions& options = options_of(own.group);
    const double step_size = estimate * options.lr() *
                             detail::rate_correction(options, coming_step());
    const detail::ProdigyNumbers numbers = {
        std::get<0>(options.betas()),
        std::get<1>(options.betas()),
        prodigy_beta3(options),
        options.decouple() ? 0 : options.weight_decay(),
        options.decouple() ? 1 - options.weight_decay() * step_size : 1,
        estimate,
        estimate * options.eps(),
        options.safeguard_warmup()
            ? prodigy_square(options, estimate)
            : prodigy_weight(options, estimate, rates, coming_step()),
        step_size};
    if (!pass.add(k, detail::loops().prodigy, numbers)) {
      pass.add_sums(
          k,
          step_by_operations(own.parameter, own.gradient, own.state, numbers));
    }
  }
  const auto sums = pass.run();
  std::vector<double> totals(2, 0.0);
  for (std::size_t k = 0; k < updates.size(); ++k) {
    totals[0] += sums[k][0];
    totals[1] += rates.factors[updates[k].group] * sums[k][1];
  }
  return totals;
}

DistanceAdam::Estimate Prodigy::renewed(
    const Estimate& last,
    const std::vector<double>& sums,
    const detail::GroupRates& rates) {
  const ProdigyOptions& options = options_of(0);
  const double weight = prodigy_weight(options, last.d, rates, coming_step());
  Estimate next = {
      last.d, prodigy_beta3(options) * last.numerator + weight * sums[0]};
  largest_ = std::max(largest_, last.d);
  const double found = options.d_coef() * next.numerator / sums[1];
  // Without a gradient so far the sums are 0.
  if (!std::isfinite(found)) return next;
  // The first growth is free: d0 says nothing of the distance.
  if (next.d == options.d0() && found > next.d) next.d = found;
  if (found > largest_) largest_ = found;
  next.d = std::min(largest_, next.d * options.growth_rate());
  return next;
}

void Prodigy::save_counters(torch::serialize::OutputArchive& archive) const {
  DistanceAdam::save_counters(archive);
  detail::write_double(archive, "d_max", std::max(largest_, d()));
}

std::function<void()> Prodigy::read_counters(
    torch::serialize::InputArchive& archive) {
  const auto take_common = DistanceAdam::read_counters(archive);
  const double largest = detail::read_estimate(archive, kind(), "d_max");
  return [this, take_common, largest] {
    take_common();
    largest_ = coming_step() > 1 ? largest : 0;
  };
}

}  // namespace stepsize
