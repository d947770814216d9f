#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/ramp.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "csrc/schedule/config.h"
#include "csrc/schedule/ramp_node.h"
#include "csrc/text/number.h"

namespace stepsize::detail {
namespace {

// The fields of lr_scheduler_kwargs.
struct HuggingFaceType {
  const char* name;
  ConfigNames kwargs;
};

const std::vector<HuggingFaceType>& hugging_face_types() {
  static const std::vector<HuggingFaceType> types = {
      {"linear", {}},
      {"cosine", {"num_cycles"}},
      {"cosine_with_restarts", {"num_cycles"}},
      {"polynomial", {"lr_end", "power"}},
      {"constant", {}},
      {"constant_with_warmup", {}},
      {"inverse_sqrt", {}},
      {"cosine_with_min_lr", {"num_cycles", "min_lr", "min_lr_rate"}},
      {"cosine_warmup_with_min_lr",
       {"num_cycles", "min_lr", "min_lr_rate", "warmup_lr_rate"}},
      {"warmup_stable_decay",
       {"num_decay_steps",
        "num_stable_steps",
        "warmup_type",
        "decay_type",
        "min_lr_ratio",
        "num_cycles"}},
  };
  return types;
}

// cos(2 pi cycles x) over `length`, from 1 to the floor and back. Their curve
// goes on past its end; this one holds.
Schedule cosine_waves(double length, double cycles, double floor) {
  const double half = length / (2 * cycles);
  if (cycles == 0.5 || length == 0) return cosine(length, floor);
  if (cycles < 0.5) return cosine(half, floor).limit(length);
  const Schedule rise = make_ramp("cosine", RampShape::kCosine, half, floor, 1);
  return cosine(half, floor).then(rise).repeat().limit(length);
}

class HuggingFaceConfig {
 public:
  HuggingFaceConfig(const ConfigValue& config, const ParseContext& context)
      : fields_(
            config,
            "the configuration of Hugging Face",
            {"lr_scheduler_type",
             "lr_scheduler_kwargs",
             "learning_rate",
             "warmup_steps",
             "warmup_ratio",
             "max_steps",
             "num_warmup_steps",
             "num_training_steps"}),
        context_(context),
        type_(find_type()),
        kwargs_(
            kwargs_of(config),
            "lr_scheduler_kwargs of " + std::string(type_.name),
            type_.kwargs),
        lr_(fields_.positive("learning_rate")),
        total_(total_steps()),
        warmup_(warmup_steps()) {}

  ConfiguredSchedule schedule() { return {curve(), lr_, std::move(notes_)}; }

 private:
  const HuggingFaceType& find_type() const {
    const auto name = fields_.text("lr_scheduler_type");
    if (!name) fields_.refuse("lr_scheduler_type", "be a text");
    ConfigNames names;
    for (const HuggingFaceType& type : hugging_face_types()) {
      if (*name == type.name) return type;
      names.emplace_back(type.name);
    }
    if (*name == "reduce_lr_on_plateau") {
      refuse_config(
          "lr_scheduler_type reduce_lr_on_plateau goes by a metric and is no "
          "schedule; take ReduceLROnPlateau, whose ReduceLROnPlateauOptions "
          "have mode, factor, patience, threshold, threshold_mode, cooldown, "
          "min_lr and eps of the same names");
    }
    if (*name == "greedy") {
      refuse_config(
          "lr_scheduler_type greedy goes by a metric and is no schedule; take "
          "GreedyLR, whose GreedyLROptions have mode, factor, patience, "
          "threshold, threshold_mode, cooldown, warmup, min_lr, max_lr and eps "
          "of the same names, and window for smooth and window_size");
    }
    names.insert(names.end(), {"reduce_lr_on_plateau", "greedy"});
    refuse_config(
        "lr_scheduler_type " + in_quotes(*name) + " is unknown; " +
        nearest_name(*name, names) + "known are: " + name_list(names));
  }

  // The command line takes them as a text, which is JSON again.
  const ConfigValue& kwargs_of(const ConfigValue& config) {
    const ConfigValue* value = config.find("lr_scheduler_kwargs");
    if (value == nullptr || value->kind == ConfigKind::kNull) {
      own_kwargs_.kind = ConfigKind::kObject;
      return own_kwargs_;
    }
    if (value->kind == ConfigKind::kText) {
      own_kwargs_ = read_config(value->text);
      return own_kwargs_;
    }
    return *value;
  }

  std::optional<double> total_steps() const {
    fields_.one_of("max_steps", "num_training_steps");
    auto total = fields_.steps("num_training_steps", 1);
    // -1 stands for none.
    if (!total) total = fields_.steps("max_steps", -1);
    if (total && *total == 0) fields_.refuse("max_steps", "be > 0, or -1");
    if (total && *total > 0) return total;
    if (context_.run_length > 0) return context_.run_length;
    return std::nullopt;
  }

  double total(const std::string& what) const {
    if (!total_) {
      refuse_config(
          fields_.place() + ": " + what +
          " needs the length of the run: give max_steps, num_training_steps "
          "or ParseContext::run_length");
    }
    return *total_;
  }

  // Trainer: below 1 the steps are a share of the run, rounded up.
  double warmup_steps() const {
    fields_.one_of("warmup_steps", "num_warmup_steps");
    const char* name =
        fields_.has("warmup_steps") ? "warmup_steps" : "num_warmup_steps";
    const double steps = fields_.number(name).value_or(0);
    const double ratio = fields_.share("warmup_ratio").value_or(0);
    if (steps > 0 && ratio > 0) fields_.one_of(name, "warmup_ratio");
    if (steps >= 1) return *fields_.steps(name);
    const double share = steps > 0 ? steps : ratio;
    if (share == 0) return 0;
    // It is passed over.
    if (std::string_view(type_.name) == "constant") return 1;
    return std::ceil(total("a warm-up by share") * share);
  }

  // From 0, so that the first update changes nothing.
  Schedule after_warmup(const Schedule& next) const {
    return config_sequence({warmup(warmup_, WarmupShape::kLinear, 0), next});
  }

  // What is left after the warm-up; none where it outlasts the run.
  double rest() const { return std::max(0.0, total(type_.name) - warmup_); }

  double cycles() const { return kwargs_.positive("num_cycles").value_or(0.5); }

  double floor() const {
    if (kwargs_.has("min_lr") == kwargs_.has("min_lr_rate")) {
      refuse_config(
          kwargs_.place() +
          ": exactly one of min_lr and min_lr_rate must be "
          "given");
    }
    if (const auto share = kwargs_.share("min_lr_rate")) return *share;
    return config_factor(
        kwargs_, "min_lr", *kwargs_.number("min_lr"), lr_, "learning_rate");
  }

  Schedule curve() {
    const std::string type = type_.name;
    if (type == "constant") {
      if (warmup_ > 0) {
        notes_.push_back(
            "lr_scheduler_type constant has no warm-up: the one given is "
            "passed over, as Hugging Face does; constant_with_warmup has one");
      }
      return constant();
    }
    if (type == "constant_with_warmup") {
      return warmup_ > 0 ? warmup(warmup_, WarmupShape::kLinear, 0)
                         : constant();
    }
    if (type == "inverse_sqrt") {
      return after_warmup(inverse_sqrt(warmup_ > 0 ? warmup_ : 10000));
    }
    if (type == "linear") return after_warmup(linear(rest()));
    if (type == "cosine") {
      return after_warmup(cosine_waves(rest(), cycles(), 0));
    }
    if (type == "cosine_with_restarts") return after_warmup(restarts());
    if (type == "polynomial") return after_warmup(polynomial_fall());
    if (type == "cosine_with_min_lr") {
      return after_warmup(cosine_waves(rest(), cycles(), floor()));
    }
    return type == "cosine_warmup_with_min_lr" ? early_cosine() : stable();
  }

  Schedule restarts() const {
    const double cycles = kwargs_.steps("num_cycles", 1).value_or(1);
    const double length = rest();
    if (cycles == 1 || length == 0) return cosine(length);
    return cosine_restarts(
        length / cycles,
        CosineRestartsOptions().cycles(static_cast<int64_t>(cycles)));
  }

  Schedule polynomial_fall() const {
    const double end = kwargs_.number("lr_end").value_or(1e-7);
    const double power = kwargs_.positive("power").value_or(1);
    const double factor =
        config_factor(kwargs_, "lr_end", end, lr_, "learning_rate");
    if (factor == 1) kwargs_.refuse("lr_end", "be < learning_rate");
    return polynomial(rest(), power, factor);
  }

  // One step further on than the others: its first update is at 1 / warm-up,
  // and its cosine begins in the last of the warm-up.
  Schedule early_cosine() const {
    const Schedule fall = cosine_waves(rest(), cycles(), floor());
    const auto start = kwargs_.share("warmup_lr_rate");
    if (warmup_ == 0) return fall.shift(-1);
    if (warmup_ == 1 && start) {
      return constant(*start).limit(1).then(fall.shift(-1));
    }
    const double length = warmup_ - 1;
    return config_sequence(
        {start ? warmup(length, WarmupShape::kLinear, *start) : warmup(length),
         fall});
  }

  Schedule stable() const {
    const ConfigNames shapes = {"linear", "cosine", "1-sqrt"};
    const std::string up =
        kwargs_.choice("warmup_type", shapes).value_or("linear");
    const std::string down =
        kwargs_.choice("decay_type", shapes).value_or("cosine");
    const double floor = kwargs_.share("min_lr_ratio").value_or(0);
    const double waves = cycles();
    const auto decay = kwargs_.steps("num_decay_steps");
    if (!decay) kwargs_.refuse("num_decay_steps", "be given");
    auto held = kwargs_.steps("num_stable_steps");
    if (!held) {
      held = total("warmup_stable_decay without num_stable_steps") - warmup_ -
             *decay;
      if (*held < 0) {
        kwargs_.refuse(
            "num_decay_steps",
            "leave room for a warm-up of " + number_text(warmup_) +
                " steps in a run of " + number_text(*total_));
      }
    }
    const WarmupShape rise = up == "cosine"   ? WarmupShape::kCosine
                             : up == "1-sqrt" ? WarmupShape::kSqrt
                                              : WarmupShape::kLinear;
    std::vector<Schedule> parts = {
        warmup(warmup_, rise, floor), constant().limit(*held)};
    if (down == "cosine") {
      parts.push_back(cosine_waves(*decay, waves, floor));
      // Other waves do not end at the floor.
      if (waves != 0.5) parts.push_back(constant(floor));
    } else {
      parts.push_back(cooldown(
          *decay,
          down == "linear" ? CooldownShape::kLinear : CooldownShape::kSqrt,
          floor));
    }
    return config_sequence(parts);
  }

  ConfigFields fields_;
  const ParseContext& context_;
  const HuggingFaceType& type_;
  ConfigValue own_kwargs_;
  ConfigFields kwargs_;
  std::optional<double> lr_;
  std::optional<double> total_;
  double warmup_;
  std::vector<std::string> notes_;
};

}  // namespace

ConfiguredSchedule hugging_face_schedule(
    const ConfigValue& config, const ParseContext& context) {
  return HuggingFaceConfig(config, context).schedule();
}

}  // namespace stepsize::detail
