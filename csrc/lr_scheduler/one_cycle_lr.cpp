#include <stepsize/lr_scheduler/one_cycle_lr.h>

#include <c10/util/Exception.h>

#include <cmath>
#include <limits>
#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {
namespace {

constexpr char kOneCycleLR[] = "OneCycleLR";

int64_t steps_of(const OneCycleLROptions& options) {
  using detail::check_option;
  if (options.total_steps()) {
    const int64_t steps = *options.total_steps();
    check_option(steps > 0, kOneCycleLR, "total_steps", "> 0", steps);
    return steps;
  }
  TORCH_CHECK(
      options.epochs() && options.steps_per_epoch(),
      kOneCycleLR,
      ": total_steps, or both epochs and steps_per_epoch, must be set");
  const int64_t epochs = *options.epochs();
  const int64_t steps = *options.steps_per_epoch();
  check_option(epochs > 0, kOneCycleLR, "epochs", "> 0", epochs);
  check_option(steps > 0, kOneCycleLR, "steps_per_epoch", "> 0", steps);
  check_option(
      steps <= std::numeric_limits<int64_t>::max() / epochs,
      kOneCycleLR,
      "steps_per_epoch",
      "such that its product with epochs fits 64 bits",
      steps);
  return epochs * steps;
}

/// Python's curve: the peak stands at t = pct_start steps - 1, and before the
/// first step where that is negative.
Schedule curve(const OneCycleOptions& shape, double steps) {
  const double last = steps - 1;
  const double peak = shape.pct_start() * steps - 1;
  OneCycleOptions placed = shape;
  if (last == 0) return one_cycle(0, placed.pct_start(0));
  if (peak < 0) {
    const double start = shape.three_phase() ? 2 * peak : peak;
    return one_cycle(last - start, placed.pct_start(0)).shift(start);
  }
  if (peak == last) {
    return one_cycle(2 * last, placed.pct_start(0.5)).limit(last);
  }
  return one_cycle(last, placed.pct_start(peak / last));
}

}  // namespace

LRRule OneCycleLROptions::rule() const {
  using detail::check_option;
  const int64_t steps = steps_of(*this);
  detail::check_rates(kOneCycleLR, "max_lr", max_lr_);
  check_option(
      pct_start_ >= 0 && pct_start_ <= 1,
      kOneCycleLR,
      "pct_start",
      "in [0, 1]",
      pct_start_);
  check_option(
      !three_phase_ || pct_start_ <= 0.5,
      kOneCycleLR,
      "pct_start",
      "at most 0.5 with three_phase",
      pct_start_);
  check_option(
      std::isfinite(div_factor_) && div_factor_ >= 1,
      kOneCycleLR,
      "div_factor",
      "finite and >= 1",
      div_factor_);
  check_option(
      final_div_factor_ > 0,
      kOneCycleLR,
      "final_div_factor",
      "> 0",
      final_div_factor_);
  check_option(
      std::isfinite(1 / div_factor_ / final_div_factor_),
      kOneCycleLR,
      "final_div_factor",
      "large enough for a last rate in the range of a double",
      final_div_factor_);

  const bool is_cosine = anneal_strategy_ == AnnealStrategy::kCosine;
  detail::OptionText text(kOneCycleLR);
  text.add("max_lr", max_lr_)
      .add("total_steps", steps)
      .add("pct_start", pct_start_, 0.3)
      .add("anneal_strategy", is_cosine ? "cos" : "linear", "cos")
      .add("div_factor", div_factor_, 25.0)
      .add("final_div_factor", final_div_factor_, 1e4)
      .add("three_phase", three_phase_, false)
      .add("cycle_momentum", cycle_momentum_, true);

  const auto length = static_cast<double>(steps);
  auto shape = OneCycleOptions()
                   .pct_start(pct_start_)
                   .div_factor(div_factor_)
                   .final_div_factor(final_div_factor_)
                   .anneal_strategy(anneal_strategy_)
                   .three_phase(three_phase_);
  const Schedule schedule = curve(shape, length);
  std::optional<detail::MomentumSpec> momentum;
  if (cycle_momentum_) {
    detail::check_momenta(kOneCycleLR, "base_momentum", base_momentum_);
    detail::check_momenta(kOneCycleLR, "max_momentum", max_momentum_);
    text.add("base_momentum", base_momentum_, 0.85)
        .add("max_momentum", max_momentum_, 0.95);
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    shape.div_factor(kInfinity).final_div_factor(1.0);
    momentum = detail::MomentumSpec{
        curve(shape, length),
        {"base_momentum", base_momentum_},
        {"max_momentum", max_momentum_},
        momentum_access_};
  }
  return detail::make_affine_rule(
      {text.list(),
       schedule,
       std::nullopt,
       detail::NamedPerGroup{"max_lr", max_lr_},
       detail::JoinLater::kRateIsHigh,
       momentum});
}

OneCycleLR::OneCycleLR(
    torch::optim::Optimizer& optimizer, const OneCycleLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

void OneCycleLR::extend(int64_t new_length) {
  TORCH_CHECK(
      new_length > last_epoch() + 1,
      kOneCycleLR,
      ": extend: new_length must be above ",
      std::to_string(last_epoch() + 1),
      ", the steps already in force, got ",
      std::to_string(new_length));
  RuleLR::extend(new_length - 1);
}

}  // namespace stepsize
