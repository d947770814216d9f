#include <stepsize/lr_scheduler/cyclic_lr.h>

#include <c10/util/Exception.h>
#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/decay.h>

#include <cmath>
#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"
#include "csrc/text/number.h"

namespace stepsize {
namespace {

constexpr char kCyclicLR[] = "CyclicLR";

Schedule scale_schedule(
    const std::function<double(double)>& scale_fn,
    CyclicScaleMode scale_mode,
    double cycle_length) {
  return callable([scale_fn, scale_mode, cycle_length](double t) {
    const double x = scale_mode == CyclicScaleMode::kCycle
                         ? std::floor(t / cycle_length) + 1
                         : t;
    const double scale = scale_fn(x);
    TORCH_CHECK(
        std::isfinite(scale) && scale >= 0,
        kCyclicLR,
        ": scale_fn must return a finite number >= 0, got ",
        detail::number_text(scale),
        " for ",
        detail::number_text(x));
    return scale;
  });
}

const char* mode_text(CyclicMode mode) {
  switch (mode) {
    case CyclicMode::kTriangular2:
      return "triangular2";
    case CyclicMode::kExpRange:
      return "exp_range";
    case CyclicMode::kTriangular:
      break;
  }
  return "triangular";
}

}  // namespace

LRRule CyclicLROptions::rule() const {
  using detail::check_option;
  detail::check_rates(kCyclicLR, "base_lr", base_lr_);
  detail::check_rates(kCyclicLR, "max_lr", max_lr_);
  check_option(
      step_size_up_ > 0, kCyclicLR, "step_size_up", "> 0", step_size_up_);
  const int64_t step_down = step_size_down_.value_or(step_size_up_);
  check_option(step_down > 0, kCyclicLR, "step_size_down", "> 0", step_down);
  check_option(
      gamma_ > 0 && gamma_ <= 1, kCyclicLR, "gamma", "in (0, 1]", gamma_);

  const auto up = static_cast<double>(step_size_up_);
  const auto down = static_cast<double>(step_down);
  const auto triangle = TriangularOptions().down(down).floor(0.0);
  Schedule schedule;
  detail::OptionText text(kCyclicLR);
  text.add("base_lr", base_lr_)
      .add("max_lr", max_lr_)
      .add("step_size_up", step_size_up_, 2000)
      .add("step_size_down", step_down);
  if (scale_fn_) {
    const bool by_cycle = scale_mode_ == CyclicScaleMode::kCycle;
    text.add("scale_fn", "callable")
        .add("scale_mode", by_cycle ? "cycle" : "iterations");
    schedule = triangular(up, triangle) *
               scale_schedule(scale_fn_, scale_mode_, up + down);
  } else {
    text.add("mode", mode_text(mode_), "triangular");
    if (mode_ == CyclicMode::kExpRange) text.add("gamma", gamma_, 1.0);
    switch (mode_) {
      case CyclicMode::kTriangular:
        schedule = triangular(up, triangle);
        break;
      case CyclicMode::kTriangular2:
        schedule = triangular2(up, triangle);
        break;
      case CyclicMode::kExpRange:
        schedule = exp_range(up, gamma_, triangle);
        break;
    }
  }
  std::optional<detail::MomentumSpec> momentum;
  text.add("cycle_momentum", cycle_momentum_, true);
  if (cycle_momentum_) {
    detail::check_momenta(kCyclicLR, "base_momentum", base_momentum_);
    detail::check_momenta(kCyclicLR, "max_momentum", max_momentum_);
    text.add("base_momentum", base_momentum_, 0.8)
        .add("max_momentum", max_momentum_, 0.9);
    momentum = detail::MomentumSpec{
        schedule,
        {"base_momentum", base_momentum_},
        {"max_momentum", max_momentum_},
        momentum_access_};
  }
  return detail::make_affine_rule(
      {text.list(),
       schedule,
       detail::NamedPerGroup{"base_lr", base_lr_},
       detail::NamedPerGroup{"max_lr", max_lr_},
       detail::JoinLater::kRateIsLow,
       momentum});
}

CyclicLR::CyclicLR(
    torch::optim::Optimizer& optimizer, const CyclicLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
