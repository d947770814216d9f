#include "csrc/lr_scheduler/options_of_list.h"

#include <c10/util/Exception.h>
#include <stepsize/lr_scheduler/chained_scheduler.h>
#include <stepsize/lr_scheduler/constant_lr.h>
#include <stepsize/lr_scheduler/cosine_annealing_lr.h>
#include <stepsize/lr_scheduler/cosine_annealing_warm_restarts.h>
#include <stepsize/lr_scheduler/cyclic_lr.h>
#include <stepsize/lr_scheduler/exponential_lr.h>
#include <stepsize/lr_scheduler/inverse_sqrt_lr.h>
#include <stepsize/lr_scheduler/inverse_time_lr.h>
#include <stepsize/lr_scheduler/linear_lr.h>
#include <stepsize/lr_scheduler/linear_warmup_lr.h>
#include <stepsize/lr_scheduler/multi_step_lr.h>
#include <stepsize/lr_scheduler/one_cycle_lr.h>
#include <stepsize/lr_scheduler/polynomial_lr.h>
#include <stepsize/lr_scheduler/sequential_lr.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/lr_scheduler/swa_lr.h>
#include <stepsize/lr_scheduler/warmup_cosine_lr.h>
#include <stepsize/schedule/parse.h>

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "csrc/lr_scheduler/rules.h"
#include "csrc/text/number.h"

namespace stepsize::detail {
namespace {

template <typename Value>
using Choices = std::map<std::string, Value>;

const Choices<AnnealStrategy>& anneal_strategies() {
  static const Choices<AnnealStrategy> all = {
      {"cos", AnnealStrategy::kCosine}, {"linear", AnnealStrategy::kLinear}};
  return all;
}

// Reads a list's options into the fields of an options class.
class Reader {
 public:
  Reader(const NamedOptions& list, const LRRule* present)
      : list_(&list), present_(present) {}

  const NamedOptions& list() const { return *list_; }

  // Where the file lacks it, the field stays at its default.
  template <typename Value>
  void get(const char* name, Value& value) const {
    if (const auto* option = list_->find(name)) read(*option, value);
  }
  template <typename Value>
  void get(
      const char* name, Value& value, const Choices<Value>& choices) const {
    const auto* option = list_->find(name);
    if (option == nullptr) return;
    const auto found = choices.find(option->value);
    if (found == choices.end()) refuse(*option);
    value = found->second;
  }
  template <typename Value>
  Value need(const char* name) const {
    const auto* option = list_->find(name);
    TORCH_CHECK(
        option != nullptr, list_->kind(), ": the file has no '", name, "'");
    Value value{};
    read(*option, value);
    return value;
  }
  PerGroup need_per_group(const char* name) const {
    PerGroup value = 0.0;
    const auto* option = list_->find(name);
    TORCH_CHECK(
        option != nullptr, list_->kind(), ": the file has no '", name, "'");
    read(*option, value);
    return value;
  }

  std::vector<LRRule> rules(const char* name) const {
    std::vector<LRRule> rules;
    const auto* option = list_->find(name);
    if (option == nullptr) return rules;
    const auto* present = present_ != nullptr ? present_->parts() : nullptr;
    for (std::size_t i = 0; i < option->parts.size(); ++i) {
      const bool is_there = present != nullptr && i < present->size();
      rules.push_back(
          made(option->parts[i], is_there ? &(*present)[i] : nullptr));
    }
    return rules;
  }

  template <typename Options>
  void get_momentum(Options& options) const {
    get("cycle_momentum", options.cycle_momentum());
    get("base_momentum", options.base_momentum());
    get("max_momentum", options.max_momentum());
    if (present_ != nullptr && present_->momentum_access() != nullptr) {
      options.momentum_access(*present_->momentum_access());
    }
  }

  // The rule of a list, or `present` where that is described by it.
  static LRRule made(const NamedOptions& list, const LRRule* present);

  [[noreturn]] void refuse(const NamedOptions::Option& option) const {
    TORCH_CHECK(
        false,
        list_->kind(),
        ": ",
        option.name,
        " of the file, ",
        option.value,
        ", cannot be taken from there");
  }

 private:
  using Option = NamedOptions::Option;

  template <typename Number>
  void read_number(
      const Option& option, const std::string& text, Number& value) const {
    const auto number = detail::number_in<Number>(text);
    if (!number) refuse(option);
    value = *number;
  }
  void read(const Option& option, double& value) const {
    read_number(option, option.value, value);
  }
  void read(const Option& option, int64_t& value) const {
    read_number(option, option.value, value);
  }
  void read(const Option& option, bool& value) const {
    if (option.value != "true" && option.value != "false") refuse(option);
    value = option.value == "true";
  }
  template <typename Value>
  void read(const Option& option, std::optional<Value>& value) const {
    value.emplace();
    read(option, *value);
  }
  template <typename Number>
  void read(const Option& option, std::vector<Number>& values) const {
    const std::string& text = option.value;
    if (text.size() < 2 || text.front() != '[' || text.back() != ']') {
      refuse(option);
    }
    values.clear();
    for (std::size_t at = 1; at + 1 < text.size();) {
      const std::size_t comma = std::min(text.find(',', at), text.size() - 1);
      values.emplace_back();
      read_number(option, text.substr(at, comma - at), values.back());
      at = comma + 1;
      while (at < text.size() && text[at] == ' ') ++at;
    }
  }
  void read(const Option& option, PerGroup& value) const {
    if (option.value.rfind('[', 0) == 0) {
      std::vector<double> values;
      read(option, values);
      value = PerGroup(std::move(values));
    } else {
      double number = 0;
      read(option, number);
      value = number;
    }
  }
  void read(const Option& option, Schedule& schedule) const {
    try {
      schedule = parse(option.value);
    } catch (const ParseError&) {
      refuse(option);  // it has a callable
    }
  }

  const NamedOptions* list_;
  const LRRule* present_;
};

LRRule cyclic_rule(const Reader& reader) {
  CyclicLROptions options(
      reader.need_per_group("base_lr"), reader.need_per_group("max_lr"));
  reader.get("step_size_up", options.step_size_up());
  reader.get("step_size_down", options.step_size_down());
  if (const auto* scale = reader.list().find("scale_fn")) reader.refuse(*scale);
  reader.get(
      "mode",
      options.mode(),
      {{"triangular", CyclicMode::kTriangular},
       {"triangular2", CyclicMode::kTriangular2},
       {"exp_range", CyclicMode::kExpRange}});
  reader.get("gamma", options.gamma());
  reader.get_momentum(options);
  return options.rule();
}

LRRule one_cycle_rule(const Reader& reader) {
  OneCycleLROptions options(reader.need_per_group("max_lr"));
  options.total_steps(reader.need<int64_t>("total_steps"));
  reader.get("pct_start", options.pct_start());
  reader.get("anneal_strategy", options.anneal_strategy(), anneal_strategies());
  reader.get("div_factor", options.div_factor());
  reader.get("final_div_factor", options.final_div_factor());
  reader.get("three_phase", options.three_phase());
  reader.get_momentum(options);
  return options.rule();
}

LRRule constant_rule(const Reader& reader) {
  ConstantLROptions options;
  reader.get("factor", options.factor());
  reader.get("total_iters", options.total_iters());
  return options.rule();
}

LRRule linear_rule(const Reader& reader) {
  LinearLROptions options;
  reader.get("start_factor", options.start_factor());
  reader.get("end_factor", options.end_factor());
  reader.get("total_iters", options.total_iters());
  return options.rule();
}

LRRule polynomial_rule(const Reader& reader) {
  PolynomialLROptions options;
  reader.get("total_iters", options.total_iters());
  reader.get("power", options.power());
  return options.rule();
}

LRRule cosine_rule(const Reader& reader) {
  CosineAnnealingLROptions options(reader.need<int64_t>("T_max"));
  reader.get("eta_min", options.eta_min());
  return options.rule();
}

LRRule warm_restarts_rule(const Reader& reader) {
  CosineAnnealingWarmRestartsOptions options(reader.need<int64_t>("T_0"));
  reader.get("T_mult", options.T_mult());
  reader.get("eta_min", options.eta_min());
  return options.rule();
}

LRRule exponential_rule(const Reader& reader) {
  return ExponentialLROptions(reader.need<double>("gamma")).rule();
}

LRRule step_rule(const Reader& reader) {
  StepLROptions options(reader.need<int64_t>("step_size"));
  reader.get("gamma", options.gamma());
  return options.rule();
}

LRRule multi_step_rule(const Reader& reader) {
  MultiStepLROptions options(reader.need<std::vector<int64_t>>("milestones"));
  reader.get("gamma", options.gamma());
  return options.rule();
}

LRRule swa_rule(const Reader& reader) {
  SWALROptions options(reader.need_per_group("swa_lr"));
  reader.get("anneal_epochs", options.anneal_epochs());
  reader.get("anneal_strategy", options.anneal_strategy(), anneal_strategies());
  return options.rule();
}

LRRule warmup_rule(const Reader& reader) {
  LinearWarmupLROptions options(reader.need<int64_t>("warmup_steps"));
  reader.get("start_factor", options.start_factor());
  return options.rule();
}

LRRule warmup_cosine_rule(const Reader& reader) {
  WarmupCosineLROptions options(
      reader.need<int64_t>("warmup_steps"),
      reader.need<int64_t>("total_steps"));
  reader.get("start_factor", options.start_factor());
  reader.get("eta_min", options.eta_min());
  return options.rule();
}

LRRule inverse_time_rule(const Reader& reader) {
  InverseTimeLROptions options(reader.need<double>("decay_rate"));
  reader.get("decay_steps", options.decay_steps());
  reader.get("staircase", options.staircase());
  return options.rule();
}

LRRule inverse_sqrt_rule(const Reader& reader) {
  InverseSqrtLROptions options(reader.need<int64_t>("warmup_steps"));
  reader.get("start_factor", options.start_factor());
  return options.rule();
}

LRRule sequential_rule(const Reader& reader) {
  return SequentialLROptions(
             reader.rules("schedulers"),
             reader.need<std::vector<int64_t>>("milestones"))
      .rule();
}

LRRule chained_rule(const Reader& reader) {
  return ChainedSchedulerOptions(reader.rules("schedulers")).rule();
}

LRRule schedule_rule(const Reader& reader) {
  const auto schedules = schedules_of(reader.list());
  const bool is_list = reader.list().find("schedules") != nullptr;
  return is_list ? LRRule(schedules) : LRRule(schedules.front());
}

LRRule stable_rule(const Reader& reader) {
  return warmup_stable_decay_of(reader.list()).rule();
}

LRRule Reader::made(const NamedOptions& list, const LRRule* present) {
  if (present != nullptr && present->describe() == list.text()) return *present;
  using Make = LRRule (*)(const Reader&);
  static const std::map<std::string, Make> makes = {
      {"ChainedScheduler", chained_rule},
      {"ConstantLR", constant_rule},
      {"CosineAnnealingLR", cosine_rule},
      {"CosineAnnealingWarmRestarts", warm_restarts_rule},
      {"CyclicLR", cyclic_rule},
      {"ExponentialLR", exponential_rule},
      {"InverseSqrtLR", inverse_sqrt_rule},
      {"InverseTimeLR", inverse_time_rule},
      {"LinearLR", linear_rule},
      {"LinearWarmupLR", warmup_rule},
      {"MultiStepLR", multi_step_rule},
      {"OneCycleLR", one_cycle_rule},
      {"PolynomialLR", polynomial_rule},
      {"SWALR", swa_rule},
      {"ScheduleLR", schedule_rule},
      {"SequentialLR", sequential_rule},
      {"StepLR", step_rule},
      {"WarmupCosineLR", warmup_cosine_rule},
      {"WarmupStableDecayLR", stable_rule},
  };
  const auto make = makes.find(list.kind());
  TORCH_CHECK(
      make != makes.end(),
      list.kind(),
      ": it cannot be taken from a file, which has no callables");
  const LRRule rule = make->second(Reader(list, present));
  const auto differences = option_differences(list, rule.options());
  TORCH_CHECK(
      differences.empty(),
      list.kind(),
      ": cannot be taken from the file: ",
      texts_of(differences));
  return rule;
}

}  // namespace

LRRule rule_of(const NamedOptions& options, const LRRule& present) {
  return Reader::made(options, &present);
}

WarmupStableDecayLROptions warmup_stable_decay_of(const NamedOptions& list) {
  const Reader reader(list, nullptr);
  WarmupStableDecayLROptions options(
      reader.need<int64_t>("warmup_steps"),
      reader.need<int64_t>("stable_steps"),
      reader.need<int64_t>("decay_steps"));
  reader.get(
      "cooldown_shape",
      options.cooldown_shape(),
      {{"linear", CooldownShape::kLinear},
       {"cosine", CooldownShape::kCosine},
       {"sqrt", CooldownShape::kSqrt},
       {"square", CooldownShape::kSquare},
       {"exponential", CooldownShape::kExponential},
       {"half_life", CooldownShape::kHalfLife}});
  reader.get("floor", options.floor());
  return options;
}

GreedyLROptions greedy_of(const NamedOptions& list) {
  const Reader reader(list, nullptr);
  GreedyLROptions options;
  reader.get(
      "mode",
      options.mode(),
      {{"min", MetricMode::kMin}, {"max", MetricMode::kMax}});
  reader.get("factor", options.factor());
  reader.get("patience", options.patience());
  reader.get("threshold", options.threshold());
  reader.get(
      "threshold_mode",
      options.threshold_mode(),
      {{"rel", ThresholdMode::kRel},
       {"abs", ThresholdMode::kAbs},
       {"python_rel", ThresholdMode::kPythonRel}});
  reader.get("cooldown", options.cooldown());
  reader.get("warmup", options.warmup());
  reader.get("window", options.window());
  reader.get("min_lr", options.min_lr());
  reader.get("max_lr", options.max_lr());
  reader.get("eps", options.eps());
  return options;
}

ReduceLROnPlateauOptions plateau_of(const NamedOptions& list) {
  const Reader reader(list, nullptr);
  ReduceLROnPlateauOptions options;
  reader.get(
      "mode",
      options.mode(),
      {{"min", MetricMode::kMin}, {"max", MetricMode::kMax}});
  reader.get("factor", options.factor());
  reader.get("patience", options.patience());
  reader.get("threshold", options.threshold());
  reader.get(
      "threshold_mode",
      options.threshold_mode(),
      {{"rel", ThresholdMode::kRel},
       {"abs", ThresholdMode::kAbs},
       {"python_rel", ThresholdMode::kPythonRel}});
  reader.get("cooldown", options.cooldown());
  reader.get("min_lr", options.min_lr());
  reader.get("eps", options.eps());
  return options;
}

std::vector<LRPhase> phases_of(
    const NamedOptions& list, const std::vector<LRPhase>& present) {
  const auto* option = list.find("phases");
  TORCH_CHECK(
      option != nullptr, list.kind(), ": the file has no list of phases");
  std::vector<LRPhase> phases;
  for (const NamedOptions& part : option->parts) {
    const Reader reader(part, nullptr);
    const std::size_t i = phases.size();
    const auto* there =
        i < present.size() ? std::get_if<Schedule>(&present[i]) : nullptr;
    const auto* schedule = part.find("schedule");
    if (schedule == nullptr) {
      PlateauPhase phase(plateau_of(part));
      reader.get("steps", phase.steps());
      reader.get("cuts", phase.cuts());
      phases.emplace_back(std::move(phase));
    } else if (there != nullptr && there->to_string() == schedule->value) {
      phases.emplace_back(*there);
    } else {
      phases.emplace_back(reader.need<Schedule>("schedule"));
    }
  }
  return phases;
}

CurvatureLROptions curvature_of(
    const NamedOptions& list, const CurvatureLROptions& present) {
  const Reader reader(list, nullptr);
  CurvatureLROptions options;
  options.buffers(present.buffers());
  SharpnessTrackerOptions& tracker = options.tracker();
  reader.get("safety", tracker.safety());
  reader.get("max_interval", tracker.max_interval());
  reader.get("lr_growth", tracker.lr_growth());
  reader.get("lr_cap", tracker.lr_cap());
  reader.get("max_lr", tracker.max_lr());
  reader.get("decay", tracker.decay());
  reader.get("factor", options.factor());
  const auto* schedule = list.find("schedule");
  if (schedule != nullptr &&
      schedule->value == present.schedule().to_string()) {
    options.schedule(present.schedule());
  } else {
    reader.get("schedule", options.schedule());
  }
  reader.get(
      "momentum_limit",
      options.momentum_limit(),
      {{"effective rate", MomentumLimit::kEffectiveRate},
       {"quadratic", MomentumLimit::kQuadratic}});
  reader.get("start_products", options.start_products());
  reader.get(
      "method",
      options.method(),
      {{"automatic", HessianMethod::kAutomatic},
       {"exact", HessianMethod::kExact},
       {"finite difference", HessianMethod::kFiniteDifference},
       {"central difference", HessianMethod::kCentralDifference}});
  reader.get("seed", options.seed());
  return options;
}

std::vector<Schedule> schedules_of(const NamedOptions& list) {
  const auto schedule_of = [](const NamedOptions& one) {
    return Reader(one, nullptr).need<Schedule>("schedule");
  };
  const auto* option = list.find("schedules");
  if (option == nullptr) return {schedule_of(list)};
  std::vector<Schedule> schedules;
  for (const NamedOptions& part : option->parts) {
    schedules.push_back(schedule_of(part));
  }
  return schedules;
}

}  // namespace stepsize::detail
