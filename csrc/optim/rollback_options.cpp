#include "csrc/optim/rollback_options.h"

#include <c10/util/Exception.h>
#include <torch/serialize/archive.h>

#include <cmath>
#include <limits>
#include <string>

#include "csrc/core/archive.h"

namespace stepsize {

RollbackOptions RollbackOptions::seed_rule() {
  return RollbackOptions()
      .window(1)
      .z_score(0)
      .patience(1)
      .confirm(false)
      .max_in_a_row(std::numeric_limits<int64_t>::max())
      .recovery_steps(0)
      .floor(0)
      .slow_ratio(std::numeric_limits<double>::infinity());
}

const OptionList<RollbackOptions>& RollbackOptions::option_list() {
  const auto over_one = [](double value) {
    return std::isfinite(value) && value > 1;
  };
  const auto inside = [](double value) { return value > 0 && value < 1; };
  static const auto list =
      OptionList<RollbackOptions>("RollbackOptions")
          .option(STEPSIZE_OPTION(ratio))
          .must_be("finite and > 1", over_one)
          .option(STEPSIZE_OPTION(factor))
          .must_be("in (0, 1)", inside)
          .option(STEPSIZE_OPTION(window))
          .at_least(1)
          .option(STEPSIZE_OPTION(z_score))
          .not_negative()
          .option(STEPSIZE_OPTION(gate_decay))
          .must_be("in (0, 1)", inside)
          .option(STEPSIZE_OPTION(gate_steps))
          .at_least(1)
          .option(STEPSIZE_OPTION(early_ratio))
          .must_be("finite and > 1", over_one)
          .option(STEPSIZE_OPTION(slow_ratio))
          .must_be("> 1", [](double value) { return value > 1; })
          .may_be_missing()  // in archives of version 0.1
          .option(STEPSIZE_OPTION(patience))
          .at_least(1)
          .option(STEPSIZE_OPTION(confirm))
          .option(STEPSIZE_OPTION(max_in_a_row))
          .at_least(1)
          .option(STEPSIZE_OPTION(recovery_steps))
          .at_least(0)
          .option(STEPSIZE_OPTION(floor))
          .must_be(
              "in [0, 1]",
              [](double value) { return value >= 0 && value <= 1; })
          .all_same_in_groups()
          .rule([](const RollbackOptions& own, const std::string& kind) {
            for (std::size_t i = 0; i < own.buffers().size(); ++i) {
              TORCH_CHECK(
                  own.buffers()[i].defined(),
                  kind,
                  ": buffers must be defined; number ",
                  std::to_string(i),
                  " is not");
            }
          });
  return list;
}

namespace detail {
namespace {

using State = RollbackRule::State;

constexpr char kTrendKey[] = "rollback_trend";

}  // namespace

const OptionList<State>& rollback_state_list() {
  static const auto list =
      OptionList<State>("RollbackRule")
          .option("rollback_scale", &State::scale)
          .must_be("in (0, 1]", [](double v) { return v > 0 && v <= 1; })
          .option("rollback_has_point", &State::has_point)
          .option("rollback_point_norm", &State::point_norm)
          .not_negative()
          .option("rollback_age", &State::age)
          .option("rollback_samples", &State::samples)
          .option("rollback_mean", &State::mean)
          .finite()
          .option("rollback_variance", &State::variance)
          .not_negative()
          .option("rollback_unchecked", &State::unchecked)
          .option("rollback_watch", &State::watch)
          .option("rollback_suspicions", &State::suspicions)
          .option("rollback_in_a_row", &State::in_a_row)
          .option("rollback_good_steps", &State::good_steps)
          .option("rollback_recovered", &State::recovered)
          .option("rollback_failed", &State::failed)
          .count_must_be(
              "in [0, 16]",
              [](int64_t v) { return v >= 0 && v <= kMostFailedRecoveries; })
          .option("rollback_mean_loss", &State::mean_loss)
          .finite()
          .option("rollback_losses", &State::losses)
          .option("rollback_point_loss", &State::point_loss)
          .finite()
          .option("rollback_trend_span", &State::trend_span)
          .at_least(0)
          .may_be_missing()
          .option("rollback_last_norm", &State::last_norm)
          .choice(
              "rollback_status",
              &State::last_status,
              {"kAccepted", "kRolledBack", "kGaveUp", "kNonFinite"})
          .option("rollbacks", &State::rollbacks)
          .option("rollback_checks", &State::checks)
          .option("rollback_gave_up", &State::gave_up)
          .option("rollback_non_finite", &State::non_finite);
  return list;
}

void write_rollback_state(
    torch::serialize::OutputArchive& archive,
    const RollbackRule::State& state) {
  rollback_state_list().write(archive, state);
  write_doubles(archive, kTrendKey, state.trend.state());
}

RollbackRule::State read_rollback_state(
    torch::serialize::InputArchive& archive, const std::string& kind) {
  RollbackRule::State state;
  c10::IValue trend;
  if (archive.try_read(kTrendKey, trend)) {
    state.trend.restore(read_doubles(archive, kind, kTrendKey));
  }
  rollback_state_list().read(archive, state, kind);
  return state;
}

}  // namespace detail
}  // namespace stepsize
