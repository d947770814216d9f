#include <stepsize/adaptive/prodigy.h>

#include <ATen/Functions.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <utility>

#include "csrc/adaptive/distance_estimate.h"
#include "csrc/core/archive.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/optim/fused_step.h"
#include "csrc/optim/operand_checks.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

constexpr detail::Signature kProdigySignature = {
    "Prodigy", {"parameter", "gradient", "exp_avg", "exp_avg_sq", "s", "p0"}};
constexpr std::size_t kProdigyWeighted = 2;  // of the states
constexpr std::size_t kProdigyStart = 3;
// A parameter's extras, where it is sliced.
enum ProdigySlice : std::size_t { kSliceWeighted, kSliceStart, kSliceParts };
constexpr char kProdigyKeepsSlices[] =
    "Prodigy: slice_p must stay what it was in the first step, got ";
// Where s and p0 are sliced: the rest is a step of Adam.
constexpr detail::Signature kProdigyWholeSignature = {
    "Prodigy", {"parameter", "gradient", "exp_avg", "exp_avg_sq"}};

// Every p-th element, as the authors' code counts them.
at::Tensor prodigy_slice(const at::Tensor& tensor, int64_t p) {
  const at::Tensor flat = tensor.detach().flatten();
  const int64_t count = flat.numel();
  // slice() adds to its step, which may be as large as can be.
  return flat.slice(0, 0, count, std::min(p, std::max<int64_t>(count, 1)))
      .clone(at::MemoryFormat::Contiguous);
}

int64_t prodigy_slice_size(int64_t count, int64_t p) {
  return count == 0 ? 0 : (count - 1) / p + 1;
}

// Adam's part of a step by tensor operations; `wide` is the parameter in the
// type of its state.
void prodigy_move(
    at::Tensor parameter,
    at::Tensor wide,
    const at::Tensor& grad,
    at::Tensor mean,
    at::Tensor square,
    const detail::ProdigyNumbers& numbers) {
  const at::Tensor scaled = grad * numbers.d;
  mean.mul_(numbers.beta1).add_(scaled, 1.0 - numbers.beta1);
  square.mul_(numbers.beta2).addcmul_(scaled, scaled, 1.0 - numbers.beta2);
  wide.mul_(numbers.keep)
      .sub_((mean * numbers.step_size).div_(square.sqrt().add_(numbers.eps)));
  if (!wide.is_same(parameter)) parameter.copy_(wide);
}

detail::AdamNumbers prodigy_whole_numbers(
    const detail::ProdigyNumbers& numbers) {
  return {
      numbers.beta1,
      numbers.beta2,
      numbers.eps,
      numbers.d * numbers.decay,
      numbers.keep,
      /*coarse=*/1,
      /*scale=*/numbers.d,
      numbers.step_size,
      /*inverse_root=*/1,
      /*mask=*/1};
}

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
    return detail::add_growth_rate(own)
        .option(STEPSIZE_OPTION(slice_p))
        .at_least(1)
        .same_in_groups();
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
  weighted.mul_(numbers.beta3).add_(grad, numbers.weight);
  prodigy_move(parameter, wide, grad, mean, square, numbers);
  return at::stack({along, weighted.to(at::kDouble).abs().sum()});
}

void Prodigy::step_whole_by_operations(
    at::Tensor parameter,
    const at::Tensor& gradient,
    const std::vector<at::Tensor>& state,
    const detail::ProdigyNumbers& numbers) {
  at::Tensor wide = parameter.to(state[0].scalar_type());
  at::Tensor grad = gradient.to(state[0].scalar_type());
  if (numbers.decay != 0) grad = grad.add(wide, numbers.decay);
  prodigy_move(parameter, wide, grad, state[0], state[1], numbers);
}

bool Prodigy::has_state(std::size_t group, std::size_t slot) const {
  return slot < kProdigyWeighted || options_of(group).slice_p() == 1;
}

void Prodigy::check_slicing(const std::vector<ParameterUpdate>& updates) {
  const int64_t p = options_of(0).slice_p();
  TORCH_CHECK(slice_p_ == 0 || slice_p_ == p, kProdigyKeepsSlices, p);
  for (const ParameterUpdate& own : updates) {
    const auto& slots = group_state(own.group).slots;
    if (!slots[0][own.index].defined()) continue;
    const bool is_sliced =
        !group_state(own.group).extras[own.index].tensors.empty();
    TORCH_CHECK(
        is_sliced == (p > 1) &&
            slots[kProdigyStart][own.index].defined() == (p == 1),
        kProdigyKeepsSlices,
        p);
  }
}

// The elements that the estimate goes by, as parameters of their own: the loop
// makes their s and their sums, and what it writes to these copies else is
// thrown away.
std::vector<ParameterUpdate> Prodigy::sampled(
    const std::vector<ParameterUpdate>& updates) {
  std::vector<ParameterUpdate> samples;
  for (const ParameterUpdate& own : updates) {
    const int64_t p = options_of(own.group).slice_p();
    const at::Tensor part = prodigy_slice(own.parameter, p);
    const at::Tensor start = part.to(own.state[0].scalar_type(), false, true);
    std::vector<at::Tensor> slice = {at::zeros_like(start), start};
    // Without Adam's state it is the parameter's first step, whatever else a
    // file had of it.
    const auto& state = group_state(own.group);
    if (state.slots[0][own.index].defined()) {
      slice = state.extras[own.index].tensors;
    }
    samples.push_back(
        {own.group,
         own.index,
         part,
         prodigy_slice(own.gradient, p),
         {at::zeros_like(start),
          at::zeros_like(start),
          slice[kSliceWeighted],
          slice[kSliceStart]},
         own.step});
  }
  return samples;
}

void Prodigy::keep_slices(
    const std::vector<ParameterUpdate>& updates,
    const std::vector<ParameterUpdate>& samples) {
  slice_p_ = options_of(0).slice_p();
  for (std::size_t k = 0; k < samples.size(); ++k) {
    group_state(updates[k].group).extras[updates[k].index].tensors = {
        samples[k].state[kProdigyWeighted], samples[k].state[kProdigyStart]};
  }
}

std::vector<double> Prodigy::update_all(
    std::vector<ParameterUpdate>& updates, const detail::GroupRates& rates) {
  const bool is_sliced = options_of(0).slice_p() > 1;
  check_slicing(updates);
  for (ParameterUpdate& update : updates) {
    if (is_sliced) {
      update.state.resize(kProdigyWeighted);
      continue;
    }
    const auto& starts = group_state(update.group).slots[kProdigyStart];
    if (starts[update.index].defined()) continue;
    update.state[kProdigyStart].copy_(update.parameter);
  }
  std::vector<ParameterUpdate> samples;
  std::optional<detail::FusedStep<detail::AdamNumbers>> whole;
  if (is_sliced) {
    samples = sampled(updates);
    whole.emplace(kProdigyWholeSignature, updates);
  }
  const auto& summed = is_sliced ? samples : updates;
  detail::FusedStep<detail::ProdigyNumbers, detail::kProdigySums> pass(
      kProdigySignature, summed);
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
      const ParameterUpdate& part = summed[k];
      pass.add_sums(
          k,
          step_by_operations(
              part.parameter, part.gradient, part.state, numbers));
    }
    if (whole &&
        !whole->add(
            k, detail::loops().plain_adam, prodigy_whole_numbers(numbers))) {
      step_whole_by_operations(own.parameter, own.gradient, own.state, numbers);
    }
  }
  const auto sums = pass.run();
  if (whole) whole->run();
  keep_slices(updates, samples);
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
  detail::write_int(archive, "slice_p", slice_p_);
  // s and p0 of each parameter, undefined where it has had no step.
  std::vector<at::Tensor> slices;
  for (std::size_t g = 0; g < param_groups().size() && slice_p_ > 1; ++g) {
    for (std::size_t i = 0; i < param_groups()[g].params().size(); ++i) {
      const Extra* const own = find_extra(g, i);
      const bool is_sliced = own != nullptr && !own->tensors.empty();
      slices.push_back(is_sliced ? own->tensors[kSliceWeighted] : at::Tensor());
      slices.push_back(is_sliced ? own->tensors[kSliceStart] : at::Tensor());
    }
  }
  detail::write_tensors(archive, "slices", slices);
}

std::function<void()> Prodigy::read_counters(
    torch::serialize::InputArchive& archive) {
  const auto take_common = DistanceAdam::read_counters(archive);
  const double largest = detail::read_estimate(archive, kind(), "d_max");
  // An archive from before there were slices has neither.
  c10::IValue there;
  const int64_t p = archive.try_read("slice_p", there)
                        ? detail::read_int(archive, kind(), "slice_p")
                        : 1;
  const auto kept = archive.try_read("slices_defined", there)
                        ? detail::read_tensors(archive, kind(), "slices")
                        : std::vector<at::Tensor>();
  std::vector<std::vector<Extra>> extras;
  std::size_t parameters = 0;
  for (const auto& group : param_groups()) {
    auto& own = extras.emplace_back(group.params().size());
    for (std::size_t i = 0; i < group.params().size(); ++i) {
      const at::Tensor& parameter = group.params()[i];
      const std::size_t at = kSliceParts * parameters++;
      if (at + 1 >= kept.size()) continue;
      const auto fits = [&](const at::Tensor& slice) {
        return slice.defined() && slice.dim() == 1 && p > 1 &&
               slice.numel() == prodigy_slice_size(parameter.numel(), p) &&
               slice.scalar_type() == detail::state_type(parameter);
      };
      if (!kept[at].defined() && !kept[at + 1].defined()) continue;
      TORCH_CHECK(
          fits(kept[at]) && fits(kept[at + 1]),
          kind(),
          ": 'slices' of the archive do not fit the parameters");
      const auto copy = [&](const at::Tensor& slice) {
        return slice.to(parameter.device(), slice.scalar_type(), false, true);
      };
      own[i].tensors = {copy(kept[at]), copy(kept[at + 1])};
    }
  }
  TORCH_CHECK(
      kept.empty() || kept.size() == kSliceParts * parameters,
      kind(),
      ": 'slices' of the archive must be two a parameter, got ",
      kept.size());
  return [this, take_common, largest, extras, p] {
    take_common();
    for (std::size_t g = 0; g < extras.size(); ++g) {
      group_state(g).extras = extras[g];
    }
    largest_ = coming_step() > 1 ? largest : 0;
    slice_p_ = coming_step() > 1 ? p : 0;
  };
}

}  // namespace stepsize
