#include "csrc/optim/rollback_options.h"

#include <torch/serialize/archive.h>

#include <cmath>
#include <limits>

#include "csrc/core/archive.h"
#include "csrc/core/check.h"

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

namespace detail {
namespace {

// Archives of version 0.1 have neither this nor a "slow_ratio".
constexpr char kTrendKey[] = "rollback_trend";

bool has(torch::serialize::InputArchive& archive, const std::string& key) {
  c10::IValue value;
  return archive.try_read(key, value);
}

}  // namespace

void check_rollback_options(
    const std::string& kind, const RollbackOptions& options) {
  const auto over_one = [&kind](const char* option, double value) {
    check_option(
        std::isfinite(value) && value > 1,
        kind,
        option,
        "finite and > 1",
        value);
  };
  const auto share = [&kind](const char* option, double value) {
    check_option(value > 0 && value < 1, kind, option, "in (0, 1)", value);
  };
  const auto at_least = [&kind](
                            const char* option, int64_t least, int64_t value) {
    check_option(
        value >= least, kind, option, ">= " + std::to_string(least), value);
  };
  over_one("ratio", options.ratio());
  share("factor", options.factor());
  at_least("window", 1, options.window());
  check_option(
      std::isfinite(options.z_score()) && options.z_score() >= 0,
      kind,
      "z_score",
      "finite and >= 0",
      options.z_score());
  share("gate_decay", options.gate_decay());
  at_least("gate_steps", 1, options.gate_steps());
  over_one("early_ratio", options.early_ratio());
  check_option(
      options.slow_ratio() > 1,
      kind,
      "slow_ratio",
      "> 1",
      options.slow_ratio());
  at_least("patience", 1, options.patience());
  at_least("max_in_a_row", 1, options.max_in_a_row());
  at_least("recovery_steps", 0, options.recovery_steps());
  check_option(
      options.floor() >= 0 && options.floor() <= 1,
      kind,
      "floor",
      "in [0, 1]",
      options.floor());
  for (std::size_t i = 0; i < options.buffers().size(); ++i) {
    TORCH_CHECK(
        options.buffers()[i].defined(),
        kind,
        ": buffers must be defined; number ",
        std::to_string(i),
        " is not");
  }
}

bool same_rollback_numbers(
    const RollbackOptions& left, const RollbackOptions& right) {
  return left.ratio() == right.ratio() && left.factor() == right.factor() &&
         left.window() == right.window() && left.z_score() == right.z_score() &&
         left.gate_decay() == right.gate_decay() &&
         left.gate_steps() == right.gate_steps() &&
         left.early_ratio() == right.early_ratio() &&
         left.slow_ratio() == right.slow_ratio() &&
         left.patience() == right.patience() &&
         left.confirm() == right.confirm() &&
         left.max_in_a_row() == right.max_in_a_row() &&
         left.recovery_steps() == right.recovery_steps() &&
         left.floor() == right.floor();
}

void write_rollback_options(
    torch::serialize::OutputArchive& archive, const RollbackOptions& options) {
  write_double(archive, "ratio", options.ratio());
  write_double(archive, "factor", options.factor());
  write_int(archive, "window", options.window());
  write_double(archive, "z_score", options.z_score());
  write_double(archive, "gate_decay", options.gate_decay());
  write_int(archive, "gate_steps", options.gate_steps());
  write_double(archive, "early_ratio", options.early_ratio());
  write_double(archive, "slow_ratio", options.slow_ratio());
  write_int(archive, "patience", options.patience());
  write_int(archive, "confirm", options.confirm() ? 1 : 0);
  write_int(archive, "max_in_a_row", options.max_in_a_row());
  write_int(archive, "recovery_steps", options.recovery_steps());
  write_double(archive, "floor", options.floor());
}

RollbackOptions read_rollback_options(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const RollbackOptions& present) {
  RollbackOptions options;
  options.ratio(read_double(archive, kind, "ratio"))
      .factor(read_double(archive, kind, "factor"))
      .window(read_int(archive, kind, "window"))
      .z_score(read_double(archive, kind, "z_score"))
      .gate_decay(read_double(archive, kind, "gate_decay"))
      .gate_steps(read_int(archive, kind, "gate_steps"))
      .early_ratio(read_double(archive, kind, "early_ratio"))
      .patience(read_int(archive, kind, "patience"))
      .confirm(read_int(archive, kind, "confirm", 1) == 1)
      .max_in_a_row(read_int(archive, kind, "max_in_a_row"))
      .recovery_steps(read_int(archive, kind, "recovery_steps"))
      .floor(read_double(archive, kind, "floor"))
      .slow_ratio(
          has(archive, "slow_ratio") ? read_double(archive, kind, "slow_ratio")
                                     : present.slow_ratio());
  check_rollback_options(kind, options);
  return options;
}

void write_rollback_state(
    torch::serialize::OutputArchive& archive,
    const RollbackRule::State& state) {
  write_double(archive, "rollback_scale", state.scale);
  write_int(archive, "rollback_has_point", state.has_point ? 1 : 0);
  write_double(archive, "rollback_point_norm", state.point_norm);
  write_int(archive, "rollback_age", state.age);
  write_int(archive, "rollback_samples", state.samples);
  write_double(archive, "rollback_mean", state.mean);
  write_double(archive, "rollback_variance", state.variance);
  write_int(archive, "rollback_unchecked", state.unchecked);
  write_int(archive, "rollback_watch", state.watch ? 1 : 0);
  write_int(archive, "rollback_suspicions", state.suspicions);
  write_int(archive, "rollback_in_a_row", state.in_a_row);
  write_int(archive, "rollback_good_steps", state.good_steps);
  write_int(archive, "rollback_recovered", state.recovered ? 1 : 0);
  write_int(archive, "rollback_failed", state.failed);
  write_double(archive, "rollback_mean_loss", state.mean_loss);
  write_int(archive, "rollback_losses", state.losses);
  write_double(archive, "rollback_point_loss", state.point_loss);
  write_doubles(archive, kTrendKey, state.trend.state());
  write_int(archive, "rollback_trend_span", state.trend_span);
  write_double(archive, "rollback_last_norm", state.last_norm);
  write_int(
      archive, "rollback_status", static_cast<int64_t>(state.last_status));
  write_int(archive, "rollbacks", state.rollbacks);
  write_int(archive, "rollback_checks", state.checks);
  write_int(archive, "rollback_gave_up", state.gave_up);
  write_int(archive, "rollback_non_finite", state.non_finite);
}

RollbackRule::State read_rollback_state(
    torch::serialize::InputArchive& archive, const std::string& kind) {
  const auto count = [&](const char* key) {
    return read_int(archive, kind, key);
  };
  const auto flag = [&](const char* key) {
    return read_int(archive, kind, key, 1) == 1;
  };
  RollbackRule::State state;
  state.scale = read_double(archive, kind, "rollback_scale");
  state.has_point = flag("rollback_has_point");
  state.point_norm = read_double(archive, kind, "rollback_point_norm");
  state.age = count("rollback_age");
  state.samples = count("rollback_samples");
  state.mean = read_double(archive, kind, "rollback_mean");
  state.variance = read_double(archive, kind, "rollback_variance");
  state.unchecked = count("rollback_unchecked");
  state.watch = flag("rollback_watch");
  state.suspicions = count("rollback_suspicions");
  state.in_a_row = count("rollback_in_a_row");
  state.good_steps = count("rollback_good_steps");
  state.recovered = flag("rollback_recovered");
  state.failed = count("rollback_failed");
  state.mean_loss = read_double(archive, kind, "rollback_mean_loss");
  state.losses = count("rollback_losses");
  state.point_loss = read_double(archive, kind, "rollback_point_loss");
  if (has(archive, kTrendKey)) {
    state.trend.restore(read_doubles(archive, kind, kTrendKey));
    state.trend_span = count("rollback_trend_span");
  }
  state.last_norm = read_double(archive, kind, "rollback_last_norm");
  state.last_status = static_cast<RollbackStatus>(read_int(
      archive,
      kind,
      "rollback_status",
      static_cast<int64_t>(RollbackStatus::kNonFinite)));
  state.rollbacks = count("rollbacks");
  state.checks = count("rollback_checks");
  state.gave_up = count("rollback_gave_up");
  state.non_finite = count("rollback_non_finite");
  // A trial, which throws where a number cannot be.
  RollbackRule().set_state(state);
  return state;
}

}  // namespace detail
}  // namespace stepsize
