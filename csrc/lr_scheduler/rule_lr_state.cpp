#include <c10/util/Exception.h>
#include <stepsize/lr_scheduler/rule_lr.h>

#include <cstddef>
#include <string>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/named_options.h"
#include "csrc/lr_scheduler/group_writes.h"
#include "csrc/lr_scheduler/rule_plan.h"
#include "csrc/lr_scheduler/rules.h"
#include "csrc/lr_scheduler/time_map.h"
#include "csrc/lr_scheduler/usage_watch.h"

namespace stepsize {

void RuleLR::save_state(torch::serialize::OutputArchive& archive) const {
  check_groups_kept();
  std::vector<double> momenta;
  if (const MomentumAccess* access = rule_.momentum_access()) {
    for (std::size_t i = 0; i < base_momenta_.size(); ++i) {
      momenta.push_back(momentum_of(*access, i));
    }
  }
  std::vector<double> knots;
  for (const Knot& knot : knots_) {
    knots.push_back(knot.t);
    knots.push_back(knot.u);
  }
  detail::write_int(archive, "started", started_ ? 1 : 0);
  detail::write_int(archive, "bound_groups", bound_groups_);
  detail::write_doubles(archive, "base_lrs", base_lrs_);
  detail::write_doubles(archive, "base_momenta", base_momenta_);
  detail::write_doubles(archive, "momenta", momenta);
  detail::write_doubles(archive, "knots", knots);
}

void RuleLR::load_state(
    torch::serialize::InputArchive& archive, const std::vector<double>& lrs) {
  const auto doubles = [&](const char* key) {
    auto values = detail::read_doubles(archive, kind(), key);
    detail::check_finite(kind(), key, values);
    return values;
  };
  const auto check_size = [&](const std::vector<double>& values,
                              const char* key,
                              std::size_t least,
                              std::size_t most) {
    TORCH_CHECK(
        values.size() >= least && values.size() <= most,
        kind(),
        ": '",
        key,
        "' of the archive has ",
        std::to_string(values.size()),
        " values, expected ",
        std::to_string(least),
        least == most ? "" : " to " + std::to_string(most));
  };

  const bool started = detail::read_int(archive, kind(), "started", 1) == 1;
  const int64_t bound = detail::read_int(
      archive, kind(), "bound_groups", static_cast<int64_t>(lrs.size()));
  auto base_lrs = doubles("base_lrs");
  auto base_momenta = doubles("base_momenta");
  const auto momenta = doubles("momenta");
  const auto flat_knots = doubles("knots");

  // A group that was added but has seen no step has no base rate yet.
  check_size(base_lrs, "base_lrs", static_cast<std::size_t>(bound), lrs.size());
  const MomentumAccess* access = rule_.momentum_access();
  const std::size_t cycled = access != nullptr ? base_lrs.size() : 0;
  check_size(base_momenta, "base_momenta", cycled, cycled);
  check_size(momenta, "momenta", cycled, cycled);
  std::vector<Knot> knots;
  for (std::size_t i = 0; i + 1 < flat_knots.size(); i += 2) {
    knots.push_back({flat_knots[i], flat_knots[i + 1]});
  }
  TORCH_CHECK(
      flat_knots.size() % 2 == 0 && detail::is_time_map(knots),
      kind(),
      ": 'knots' of the archive are no map of time");
  for (std::size_t i = 0; i < cycled; ++i) (void)momentum_of(*access, i);

  detail::GroupWrites writes(optimizer());
  for (std::size_t i = 0; i < cycled; ++i) {
    writes.set_momentum(*access, i, momenta[i]);
  }
  writes.set_lrs(lrs);
  writes.keep();
  started_ = started;
  bound_groups_ = bound;
  base_lrs_ = std::move(base_lrs);
  base_momenta_ = std::move(base_momenta);
  knots_ = std::move(knots);
  watch_->set(lrs, lrs_in_force(), has_ended());
  watch_->stop_counting();
}

void RuleLR::load_state_only(
    torch::serialize::InputArchive& archive,
    const detail::NamedOptions& /*saved*/,
    int64_t epoch,
    const std::vector<double>& lrs) {
  const bool started = detail::read_int(archive, kind(), "started", 1) == 1;
  const int64_t bound = detail::read_int(
      archive, kind(), "bound_groups", static_cast<int64_t>(lrs.size()));
  const auto base_lrs = detail::read_doubles(archive, kind(), "base_lrs");
  detail::check_finite(kind(), "base_lrs", base_lrs);
  TORCH_CHECK(
      base_lrs.size() >= static_cast<std::size_t>(bound) &&
          base_lrs.size() <= lrs.size(),
      kind(),
      ": 'base_lrs' of the archive has ",
      std::to_string(base_lrs.size()),
      " values for ",
      std::to_string(lrs.size()),
      " parameter groups");
  rule_.check_group_count(bound);
  // The program's schedule from its start on: nothing has bent its time.
  auto knots = std::exchange(knots_, {});
  const auto cooldowns = straighten();
  const bool was_started = std::exchange(started_, started);
  const int64_t bound_before = std::exchange(bound_groups_, bound);
  try {
    // Before the first step some take the rates in force for their base.
    take_over(epoch, plan(epoch, Purpose::kJump, base_lrs, lrs));
  } catch (...) {
    knots_ = std::move(knots);
    cooldowns();
    started_ = was_started;
    bound_groups_ = bound_before;
    throw;
  }
  watch_->stop_counting();
}

std::function<void()> RuleLR::straighten() {
  return [] {};
}

void RuleLR::take_options(const detail::NamedOptions& options) {
  rule_ = detail::rule_of(options, rule_);
  set_options(rule_.options());
}

std::function<void()> RuleLR::keep_options() {
  return [this, rule = rule_, options = StatefulLR::keep_options()] {
    rule_ = rule;
    options();
  };
}

}  // namespace stepsize
