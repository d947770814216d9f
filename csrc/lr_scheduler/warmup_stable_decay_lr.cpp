#include <stepsize/lr_scheduler/warmup_stable_decay_lr.h>

#include <c10/util/Exception.h>
#include <stepsize/schedule/recipe.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/options_of_list.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {
namespace {

constexpr char kWarmupStableDecayLR[] = "WarmupStableDecayLR";
constexpr char kCooldownsKey[] = "cooldowns";

const char* shape_text(CooldownShape shape) {
  switch (shape) {
    case CooldownShape::kCosine:
      return "cosine";
    case CooldownShape::kSqrt:
      return "sqrt";
    case CooldownShape::kSquare:
      return "square";
    case CooldownShape::kExponential:
      return "exponential";
    case CooldownShape::kHalfLife:
      return "half_life";
    case CooldownShape::kLinear:
      break;
  }
  return "linear";
}

Schedule schedule_of(const WarmupStableDecayLROptions& options) {
  using detail::check_option;
  const auto check_steps = [](const char* name, int64_t steps) {
    check_option(steps >= 0, kWarmupStableDecayLR, name, ">= 0", steps);
    return static_cast<double>(steps);
  };
  const double up = check_steps("warmup_steps", options.warmup_steps());
  const double stable = check_steps("stable_steps", options.stable_steps());
  const double down = check_steps("decay_steps", options.decay_steps());
  const double floor = options.floor();
  check_option(
      floor >= 0 && floor <= 1,
      kWarmupStableDecayLR,
      "floor",
      "in [0, 1]",
      floor);
  check_option(
      options.cooldown_shape() != CooldownShape::kExponential || floor > 0,
      kWarmupStableDecayLR,
      "floor",
      "> 0 with the exponential cooldown_shape",
      floor);
  return warmup_stable_decay(up, stable, down, options.cooldown_shape(), floor);
}

}  // namespace

LRRule WarmupStableDecayLROptions::rule() const {
  const Schedule schedule = schedule_of(*this);
  return detail::make_affine_rule(
      {detail::OptionText(kWarmupStableDecayLR)
           .add("warmup_steps", warmup_steps_)
           .add("stable_steps", stable_steps_)
           .add("decay_steps", decay_steps_)
           .add("cooldown_shape", shape_text(cooldown_shape_), "linear")
           .add("floor", floor_, 0.0)
           .list(),
       schedule});
}

WarmupStableDecayLR::WarmupStableDecayLR(
    torch::optim::Optimizer& optimizer,
    const WarmupStableDecayLROptions& options)
    : RuleLR(optimizer, options.rule()),
      shape_(options.cooldown_shape()),
      floor_(options.floor()),
      schedule_(schedule_of(options)) {}

void WarmupStableDecayLR::begin_cooldown(int64_t steps) {
  detail::check_option(
      steps > 0,
      kWarmupStableDecayLR,
      "the steps of begin_cooldown",
      "> 0",
      steps);
  const double start = rule_time(last_epoch());
  const Cooldown cooldown =
      make_cooldown(start, static_cast<double>(steps), factor_at(start));
  run_at_clock_pace();
  while (!cooldowns_.empty() && cooldowns_.back().start >= start) {
    cooldowns_.pop_back();
  }
  cooldowns_.push_back(cooldown);
}

WarmupStableDecayLR::Cooldown WarmupStableDecayLR::make_cooldown(
    double start, double length, double from) const {
  const double floor = std::min(floor_, from);
  // The curve ends at a ratio, which may miss the floor by a rounding.
  const Schedule factor =
      from == 0 ? constant(0.0)
                : (constant(from) * cooldown(length, shape_, floor / from))
                      .then(constant(floor));
  return {start, length, from, factor};
}

double WarmupStableDecayLR::factor_at(double u) const {
  for (auto it = cooldowns_.rbegin(); it != cooldowns_.rend(); ++it) {
    if (u >= it->start) return it->factor(u - it->start);
  }
  return schedule_(u);
}

GroupRate WarmupStableDecayLR::rate_at(const LRGroup& group, double u) const {
  return {group.base_lr * factor_at(u), std::nullopt};
}

double WarmupStableDecayLR::end() const {
  if (cooldowns_.empty()) return RuleLR::end();
  return cooldowns_.back().start + cooldowns_.back().length;
}

void WarmupStableDecayLR::save_state(
    torch::serialize::OutputArchive& archive) const {
  RuleLR::save_state(archive);
  std::vector<double> flat;
  for (const Cooldown& cooldown : cooldowns_) {
    flat.insert(flat.end(), {cooldown.start, cooldown.length, cooldown.from});
  }
  detail::write_doubles(archive, kCooldownsKey, flat);
}

void WarmupStableDecayLR::load_state(
    torch::serialize::InputArchive& archive, const std::vector<double>& lrs) {
  const auto flat =
      detail::read_doubles(archive, kWarmupStableDecayLR, kCooldownsKey);
  detail::check_finite(kWarmupStableDecayLR, kCooldownsKey, flat);
  std::vector<Cooldown> cooldowns;
  bool valid = flat.size() % 3 == 0;
  for (std::size_t i = 0; valid && i < flat.size(); i += 3) {
    valid = flat[i] >= 0 && flat[i + 1] > 0 && flat[i + 2] >= 0 &&
            (i == 0 || flat[i] > flat[i - 3]);
    if (!valid) break;
    cooldowns.push_back(make_cooldown(flat[i], flat[i + 1], flat[i + 2]));
  }
  TORCH_CHECK(
      valid,
      kWarmupStableDecayLR,
      ": 'cooldowns' of the archive are no list of cooldowns");
  RuleLR::load_state(archive, lrs);
  cooldowns_ = std::move(cooldowns);
}

std::function<void()> WarmupStableDecayLR::straighten() {
  return [this, cooldowns = std::exchange(cooldowns_, {})] {
    cooldowns_ = cooldowns;
  };
}

void WarmupStableDecayLR::take_options(const detail::NamedOptions& options) {
  const auto taken = detail::warmup_stable_decay_of(options);
  RuleLR::take_options(options);
  shape_ = taken.cooldown_shape();
  floor_ = taken.floor();
  schedule_ = schedule_of(taken);
}

std::function<void()> WarmupStableDecayLR::keep_options() {
  return [this,
          shape = shape_,
          floor = floor_,
          schedule = schedule_,
          rule = RuleLR::keep_options()] {
    shape_ = shape;
    floor_ = floor;
    schedule_ = schedule;
    rule();
  };
}

}  // namespace stepsize
