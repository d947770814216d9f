#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/ramp.h>

#include <algorithm>
#include <cmath>

#include "csrc/schedule/config.h"
#include "csrc/text/number.h"

namespace stepsize::detail {
namespace {

struct DeepSpeedType {
  const char* name;
  ConfigNames params;
};

const std::vector<DeepSpeedType>& deepspeed_types() {
  static const std::vector<DeepSpeedType> types = {
      {"WarmupLR",
       {"warmup_min_lr", "warmup_max_lr", "warmup_num_steps", "warmup_type"}},
      {"WarmupDecayLR",
       {"total_num_steps",
        "warmup_min_lr",
        "warmup_max_lr",
        "warmup_num_steps",
        "warmup_type"}},
      {"WarmupCosineLR",
       {"total_num_steps",
        "warmup_min_ratio",
        "warmup_num_steps",
        "cos_min_ratio",
        "warmup_type"}},
      {"OneCycle",
       {"cycle_min_lr",
        "cycle_max_lr",
        "decay_lr_rate",
        "cycle_first_step_size",
        "cycle_second_step_size",
        "cycle_first_stair_count",
        "cycle_second_stair_count",
        "decay_step_size",
        "cycle_momentum",
        "cycle_min_mom",
        "cycle_max_mom",
        "decay_mom_rate"}},
      {"LRRangeTest",
       {"lr_range_test_min_lr",
        "lr_range_test_step_size",
        "lr_range_test_step_rate",
        "lr_range_test_staircase"}},
  };
  return types;
}

const ConfigValue& member_or(
    const ConfigValue& object, const char* name, const ConfigValue& none) {
  const ConfigValue* value = object.find(name);
  return value == nullptr || value->kind == ConfigKind::kNull ? none : *value;
}

const ConfigValue& empty_object() {
  static const ConfigValue object = [] {
    ConfigValue made;
    made.kind = ConfigKind::kObject;
    return made;
  }();
  return object;
}

// It stands alone, or in a whole configuration.
const ConfigValue& scheduler_of(const ConfigValue& config) {
  const ConfigValue* scheduler = config.find("scheduler");
  return scheduler == nullptr ? config : *scheduler;
}

// The rate in the `optimizer` of a whole configuration.
std::optional<double> optimizer_lr(const ConfigValue& config) {
  const ConfigValue& optimizer = member_or(config, "optimizer", empty_object());
  const ConfigValue& params = member_or(optimizer, "params", empty_object());
  const ConfigValue* lr = params.find("lr");
  if (lr == nullptr) return std::nullopt;
  ConfigValue alone = empty_object();
  alone.members.emplace_back("lr", *lr);
  return ConfigFields(alone, "params of the optimizer", {"lr"}).positive("lr");
}

// In stairs that hold what each begins with: `count` of them over a ramp up, so
// that the last step of it is at its end.
Schedule stairs_up(const Schedule& ramp, double count) {
  const double length = ramp.length();
  const double period = length / count;
  if (period == std::floor(period)) return ramp.stairs(period);
  // The corners lie between whole steps: moved by half of the least distance
  // to one, no rounding puts a step on the wrong side.
  return ramp.stairs(period).shift(-0.5 / count).limit(length);
}

// A ramp down in stairs that hold what each ends with: the first step after
// the peak is a stair lower.
Schedule stairs_down(const Schedule& ramp, double count) {
  const double length = ramp.length();
  const double period = length / count;
  const double shift =
      period == std::floor(period) ? period - 1 : period - 0.5 / count;
  return ramp.stairs(period).shift(-shift).limit(length);
}

class DeepSpeedConfig {
 public:
  DeepSpeedConfig(const ConfigValue& config, const ParseContext& context)
      : context_(context),
        scheduler_(
            scheduler_of(config),
            config.find("scheduler") == nullptr
                ? "the configuration of DeepSpeed"
                : "scheduler",
            {"type", "params"}),
        type_(find_type()),
        params_(
            member_or(scheduler_of(config), "params", empty_object()),
            "params of " + std::string(type_.name),
            type_.params),
        optimizer_lr_(optimizer_lr(config)) {}

  ConfiguredSchedule schedule() {
    const std::string type = type_.name;
    if (type == "OneCycle") return one_cycle();
    if (type == "LRRangeTest") return range_test();
    if (type == "WarmupLR") return warmup_lr();
    return type == "WarmupDecayLR" ? warmup_decay() : warmup_cosine();
  }

 private:
  const DeepSpeedType& find_type() const {
    const auto name = scheduler_.text("type");
    if (!name) scheduler_.refuse("type", "be a text");
    ConfigNames names;
    for (const DeepSpeedType& type : deepspeed_types()) {
      if (*name == type.name) return type;
      names.emplace_back(type.name);
    }
    refuse_config(
        "type " + in_quotes(*name) + " is unknown; " +
        nearest_name(*name, names) + "known are: " + name_list(names) +
        " (a scheduler of PyTorch goes by the class of its name)");
  }

  double total() const {
    if (const auto total = params_.steps("total_num_steps", 1)) return *total;
    if (context_.run_length > 0) return context_.run_length;
    refuse_config(
        params_.place() +
        ": total_num_steps is missing; give it, or ParseContext::run_length");
  }

  // Two at least, as there.
  double warmup_steps() const {
    return std::max(2.0, params_.steps("warmup_num_steps", 1).value_or(1000));
  }

  bool is_logarithmic() const {
    return params_.choice("warmup_type", {"log", "linear"}).value_or("log") ==
           "log";
  }

  // What the scheduler has at its steps 0, 1, 2, ..., which come an update
  // later than one would think: its constructor is at step -1. By the
  // logarithm it is at the whole rate a step sooner.
  Schedule climb(double from) const {
    return is_logarithmic()
               ? warmup(warmup_steps() - 1, WarmupShape::kLogarithmic, from)
               : warmup(warmup_steps(), WarmupShape::kLinear, from);
  }

  double min_factor(std::optional<double> max) const {
    return config_factor(
        params_,
        "warmup_min_lr",
        params_.number("warmup_min_lr").value_or(0),
        max,
        "warmup_max_lr");
  }

  ConfiguredSchedule warmup_lr() const {
    auto max = params_.positive("warmup_max_lr");
    if (!max) max = optimizer_lr_;
    const double from = min_factor(max);
    return {constant(from).limit(1).then(climb(from)), max, {}};
  }

  ConfiguredSchedule warmup_decay() const {
    const double max = params_.positive("warmup_max_lr").value_or(0.001);
    const double from = min_factor(max);
    const double rest = std::max(0.0, total() - warmup_steps());
    std::vector<Schedule> parts = {constant(from).limit(1), climb(from)};
    if (is_logarithmic()) parts.push_back(constant().limit(1));
    parts.push_back(linear(rest, 1, from));
    return {config_sequence(parts), max, {}};
  }

  ConfiguredSchedule warmup_cosine() const {
    const double from = params_.share("warmup_min_ratio").value_or(0);
    const double to = params_.share("cos_min_ratio").value_or(0.0001);
    const Schedule fall = cosine(std::max(1.0, total() - warmup_steps()), to);
    // The cosine is a step further on than the line before it.
    return {
        config_sequence(
            {constant(0).limit(1),
             climb(from),
             is_logarithmic() ? fall : fall.shift(-1)}),
        optimizer_lr_,
        {}};
  }

  double needed(const char* name) const {
    const auto rate = params_.positive(name);
    if (!rate) params_.refuse(name, "be given");
    return *rate;
  }

  ConfiguredSchedule one_cycle() const {
    const double max = needed("cycle_max_lr");
    const double from = config_factor(
        params_, "cycle_min_lr", needed("cycle_min_lr"), max, "cycle_max_lr");
    const double up = params_.steps("cycle_first_step_size", 1).value_or(2000);
    const double down = params_.steps("cycle_second_step_size").value_or(up);
    // -1 stands for none.
    const double up_stairs =
        params_.steps("cycle_first_stair_count", -1).value_or(0);
    const double down_stairs =
        params_.steps("cycle_second_stair_count", -1).value_or(up_stairs);
    const double rate = params_.number("decay_lr_rate").value_or(0);
    const double period = params_.number("decay_step_size").value_or(0);
    const Schedule rise = warmup(up, WarmupShape::kLinear, from);
    const Schedule fall = linear(down, 1, from);
    const Schedule rest = rate > 0 && period > 0
                              ? constant(from) * inverse_time(rate, period)
                              : constant(from);
    return {
        config_sequence(
            {up_stairs > 0 ? stairs_up(rise, up_stairs) : rise,
             down_stairs > 0 && down > 0 ? stairs_down(fall, down_stairs)
                                         : fall,
             rest}),
        max,
        momentum_notes()};
  }

  std::vector<std::string> momentum_notes() const {
    const double low = params_.number("cycle_min_mom").value_or(0.8);
    const double high = params_.number("cycle_max_mom").value_or(0.9);
    const double rate = params_.number("decay_mom_rate").value_or(0);
    if (!params_.flag("cycle_momentum").value_or(true)) return {};
    return {
        "OneCycle also moves beta1 of Adam, from " + number_text(high) +
        " to " + number_text(low) + " while the rate climbs and back" +
        (rate > 0 ? ", and raises it after the cycle" : "") +
        ": a schedule is of the rate alone; CyclicLR moves the momentum too"};
  }

  ConfiguredSchedule range_test() const {
    const double min = params_.positive("lr_range_test_min_lr").value_or(1e-3);
    const double size =
        params_.steps("lr_range_test_step_size", 1).value_or(2000);
    const double rate = params_.number("lr_range_test_step_rate").value_or(1);
    const bool staircase =
        params_.flag("lr_range_test_staircase").value_or(false);
    const double length = context_.run_length;
    if (!(length > 0)) {
      refuse_config(
          params_.place() +
          ": the rate grows without end, so that the length of the run is "
          "wanted: give ParseContext::run_length");
    }
    const Schedule rise = linear(length, 1, 1 + rate * (length / size));
    return {
        staircase ? rise.stairs(size) : rise,
        min,
        {"LRRangeTest leaves it to you to look where the loss falls fastest; "
         "lr_range_test() does that, and gives the weights back"}};
  }

  const ParseContext& context_;
  ConfigFields scheduler_;
  const DeepSpeedType& type_;
  ConfigFields params_;
  std::optional<double> optimizer_lr_;
};

}  // namespace

ConfiguredSchedule deepspeed_schedule(
    const ConfigValue& config, const ParseContext& context) {
  return DeepSpeedConfig(config, context).schedule();
}

}  // namespace stepsize::detail
