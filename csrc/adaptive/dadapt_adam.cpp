#include <stepsize/adaptive/dadapt_adam.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "csrc/adaptive/distance_estimate.h"
#include "csrc/adaptive/summing_step.h"
#include "csrc/core/archive.h"
#include "csrc/kernels/dispatch.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

constexpr detail::Signature kDAdaptAdamSignature = {
    "DAdaptAdam", {"parameter", "gradient", "exp_avg", "exp_avg_sq", "s"}};

}  // namespace

DAdaptAdamOptions::DAdaptAdamOptions(double lr) : lr_(lr) {}

const OptionList<DAdaptAdamOptions>& DAdaptAdamOptions::option_list() {
  // eps has no role, as in Prodigy's list.
  static const auto list =
      OptionList<DAdaptAdamOptions>("DAdaptAdam")
          .option(STEPSIZE_OPTION(lr))
          .not_negative()
          .role(OptionRole::kRate)
          .option(
              "beta1", [](auto& o) -> auto& { return std::get<0>(o.betas()); })
          .share()
          .role(OptionRole::kMomentum)
          .same_in_groups()
          .option(
              "beta2", [](auto& o) -> auto& { return std::get<1>(o.betas()); })
          .share()
          .role(OptionRole::kSecondBeta)
          .same_in_groups()
          .option(STEPSIZE_OPTION(eps))
          .must_be(
              "finite and > 0",
              [](double eps) { return std::isfinite(eps) && eps > 0; })
          .option(STEPSIZE_OPTION(weight_decay))
          .not_negative()
          .role(OptionRole::kWeightDecay)
          .option(STEPSIZE_OPTION(decouple))
          .role(OptionRole::kDecouples)
          .option(STEPSIZE_OPTION(use_bias_correction))
          .same_in_groups()
          .option(STEPSIZE_OPTION(d0))
          .must_be(
              "finite and > 0",
              [](double d0) { return std::isfinite(d0) && d0 > 0; })
          .same_in_groups()
          .option(STEPSIZE_OPTION(growth_rate))
          .must_be("a factor >= 1", [](double rate) { return rate >= 1; })
          .same_in_groups();
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
    : IndexedOptimizer(std::make_unique<DAdaptAdamOptions>(defaults)) {
  add_groups(groups);
}

const DAdaptAdamOptions& DAdaptAdam::options_of(std::size_t group) const {
  return static_cast<const DAdaptAdamOptions&>(param_groups()[group].options());
}

double DAdaptAdam::d() const {
  if (d_ > 0) return d_;
  return param_groups().empty()
             ? static_cast<const DAdaptAdamOptions&>(defaults()).d0()
             : options_of(0).d0();
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

at::Tensor DAdaptAdam::step(LossClosure closure) {
  const at::Tensor loss = evaluate(closure);
  const c10::AutoGradMode no_grad(false);
  auto updates = coming_updates();
  const detail::GroupRates rates(param_groups());
  detail::drop_resting(rates, updates);
  if (updates.empty()) return loss;
  detail::SummingStep<detail::DAdaptAdamNumbers, detail::kDAdaptAdamSums> pass(
      kDAdaptAdamSignature, updates);
  const DAdaptAdamOptions& common = options_of(updates.front().group);
  const double estimate = d();
  const double root_beta2 = std::sqrt(std::get<1>(common.betas()));
  double rate = 0;
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const ParameterUpdate& own = updates[k];
    const DAdaptAdamOptions& options = options_of(own.group);
    const auto& [beta1, beta2] = options.betas();
    const double correction =
        options.use_bias_correction()
            ? detail::bias_correction(beta1, beta2, updates_ + 1)
            : 1;
    rate = estimate * rates.largest * correction;
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
  double totals[2] = {};
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const double factor = rates.factors[updates[k].group];
    totals[0] += factor * rate * sums[k][0];
    totals[1] += factor * sums[k][1];
  }
  detail::agree(reduction().get(), totals, 2);
  take_over(std::move(updates));
  ++updates_;
  last_d_ = estimate;
  d_ = estimate;
  numerator_ = root_beta2 * numerator_ + (1 - root_beta2) * totals[0];
  const double found = numerator_ / ((1 - root_beta2) * totals[1]);
  // Without a gradient so far the sums are 0.
  if (std::isfinite(found)) {
    d_ = std::max(d_, std::min(found, d_ * common.growth_rate()));
  }
  return loss;
}

void DAdaptAdam::save_counters(torch::serialize::OutputArchive& archive) const {
  detail::write_double(archive, "d", d());
  detail::write_double(archive, "last_d", last_d_);
  detail::write_double(archive, "d_numerator", numerator_);
  detail::write_int(archive, "updates", updates_);
}

std::function<void()> DAdaptAdam::read_counters(
    torch::serialize::InputArchive& archive) {
  const double d = detail::read_estimate(archive, kind(), "d");
  const double last = detail::read_double(archive, kind(), "last_d");
  const double numerator = detail::read_double(archive, kind(), "d_numerator");
  const int64_t updates = detail::read_int(archive, kind(), "updates");
  return [this, d, last, numerator, updates] {
    d_ = updates > 0 ? d : 0;
    last_d_ = last;
    numerator_ = numerator;
    updates_ = updates;
  };
}

}  // namespace stepsize
