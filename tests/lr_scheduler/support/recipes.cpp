#include <stepsize/lr_scheduler/chained_scheduler.h>
#include <stepsize/lr_scheduler/constant_lr.h>
#include <stepsize/lr_scheduler/cosine_annealing_lr.h>
#include <stepsize/lr_scheduler/cosine_annealing_warm_restarts.h>
#include <stepsize/lr_scheduler/cyclic_lr.h>
#include <stepsize/lr_scheduler/exponential_lr.h>
#include <stepsize/lr_scheduler/inverse_sqrt_lr.h>
#include <stepsize/lr_scheduler/inverse_time_lr.h>
#include <stepsize/lr_scheduler/lambda_lr.h>
#include <stepsize/lr_scheduler/linear_lr.h>
#include <stepsize/lr_scheduler/linear_warmup_lr.h>
#include <stepsize/lr_scheduler/multi_step_lr.h>
#include <stepsize/lr_scheduler/multiplicative_lr.h>
#include <stepsize/lr_scheduler/one_cycle_lr.h>
#include <stepsize/lr_scheduler/phased_lr.h>
#include <stepsize/lr_scheduler/polynomial_lr.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/lr_scheduler/sequential_lr.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/lr_scheduler/swa_lr.h>
#include <stepsize/lr_scheduler/warmup_cosine_lr.h>
#include <stepsize/lr_scheduler/warmup_stable_decay_lr.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/ramp.h>

#include <cmath>
#include <map>
#include <stdexcept>

#include "tests/lr_scheduler/support/spec.h"

namespace stepsize::test {
namespace {

using torch::optim::Optimizer;

// The functions of scripts/make_goldens.py, by their names there.
LRLambda function_named(const std::string& name) {
  static const std::map<std::string, LRLambda> kFunctions = {
      {"decay", [](double t) { return std::pow(0.95, t); }},
      {"stairs", [](int64_t t) { return std::pow(0.5, t / 30); }},
      {"harmonic", [](double t) { return 1.0 / (1.0 + t); }},
      {"shrink", [](double) { return 0.97; }},
      {"slowing", [](double t) { return 1.0 - 0.5 / (t + 1.0); }},
      {"swing", [](int64_t t) { return t % 2 == 0 ? 1.25 : 0.75; }},
      {"half_scale", [](double x) { return 1.0 / (1.0 + 0.5 * x); }},
      {"fade", [](double x) { return std::pow(0.999, x); }},
  };
  return kFunctions.at(name);
}

PerGroup per_group(const Spec& spec) {
  if (!spec.is_list) return std::stod(spec.word);
  std::vector<double> values;
  for (const Spec& item : spec.items) values.push_back(std::stod(item.word));
  return values;
}

PerGroup per_group(const Spec& spec, const char* name, double fallback) {
  const Spec* found = spec.find(name);
  return found == nullptr ? PerGroup(fallback) : per_group(*found);
}

std::optional<int64_t> maybe(const Spec& spec, const char* name) {
  if (spec.find(name) == nullptr) return std::nullopt;
  return spec.integer(name, 0);
}

std::vector<int64_t> integers(const Spec& spec, const char* name) {
  std::vector<int64_t> values;
  for (const Spec& item : spec.find(name)->items) {
    values.push_back(std::stoll(item.word));
  }
  return values;
}

std::vector<LRRule> rules(const Spec& spec) {
  std::vector<LRRule> parts;
  for (const Spec& item : spec.find("schedulers")->items) {
    parts.push_back(*recipe_of(item).rule);
  }
  return parts;
}

template <typename Scheduler, typename Options>
Recipe of(const Options& options) {
  return {std::make_shared<const LRRule>(options), [options](Optimizer& o) {
            return std::make_unique<Scheduler>(o, options);
          }};
}

template <typename Scheduler, typename Options>
Recipe of_lambda(const Spec& spec) {
  const Spec& functions = *spec.find("lr_lambda");
  if (!functions.is_list) {
    return of<Scheduler>(Options(function_named(functions.word)));
  }
  std::vector<LRLambda> list;
  for (const Spec& item : functions.items) {
    list.push_back(function_named(item.word));
  }
  return of<Scheduler>(Options(list));
}

AnnealStrategy strategy(const Spec& spec) {
  return spec.text("anneal_strategy", "cos") == "linear"
             ? AnnealStrategy::kLinear
             : AnnealStrategy::kCosine;
}

Recipe cyclic(const Spec& s) {
  CyclicLROptions o(
      per_group(*s.find("base_lr")), per_group(*s.find("max_lr")));
  o.step_size_up(s.integer("step_size_up", o.step_size_up()));
  o.step_size_down(maybe(s, "step_size_down"));
  const std::string mode = s.text("mode", "triangular");
  if (mode == "triangular2") o.mode(CyclicMode::kTriangular2);
  if (mode == "exp_range") o.mode(CyclicMode::kExpRange);
  o.gamma(s.number("gamma", o.gamma()));
  if (s.find("scale_fn")) o.scale_fn(function_named(s.text("scale_fn", "")));
  if (s.text("scale_mode", "cycle") == "iterations") {
    o.scale_mode(CyclicScaleMode::kIterations);
  }
  o.cycle_momentum(s.flag("cycle_momentum", o.cycle_momentum()));
  o.base_momentum(per_group(s, "base_momentum", o.base_momentum()[0]));
  o.max_momentum(per_group(s, "max_momentum", o.max_momentum()[0]));
  return of<CyclicLR>(o);
}

Recipe one_cycle_of(const Spec& s) {
  OneCycleLROptions o(per_group(*s.find("max_lr")));
  o.total_steps(maybe(s, "total_steps"));
  o.epochs(maybe(s, "epochs"));
  o.steps_per_epoch(maybe(s, "steps_per_epoch"));
  o.pct_start(s.number("pct_start", o.pct_start()));
  o.anneal_strategy(strategy(s));
  o.cycle_momentum(s.flag("cycle_momentum", o.cycle_momentum()));
  o.base_momentum(per_group(s, "base_momentum", o.base_momentum()[0]));
  o.max_momentum(per_group(s, "max_momentum", o.max_momentum()[0]));
  o.div_factor(s.number("div_factor", o.div_factor()));
  o.final_div_factor(s.number("final_div_factor", o.final_div_factor()));
  o.three_phase(s.flag("three_phase", o.three_phase()));
  return of<OneCycleLR>(o);
}

Recipe plateau(const Spec& s) {
  ReduceLROnPlateauOptions o;
  if (s.text("mode", "min") == "max") o.mode(MetricMode::kMax);
  const std::string threshold_mode = s.text("threshold_mode", "rel");
  if (threshold_mode == "abs") o.threshold_mode(ThresholdMode::kAbs);
  if (threshold_mode == "python_rel") {
    o.threshold_mode(ThresholdMode::kPythonRel);
  }
  o.factor(s.number("factor", o.factor()));
  o.patience(s.integer("patience", o.patience()));
  o.threshold(s.number("threshold", o.threshold()));
  o.cooldown(s.integer("cooldown", o.cooldown()));
  o.min_lr(per_group(s, "min_lr", 0.0));
  o.eps(s.number("eps", o.eps()));
  // "PlateauPhase": the same as the only phase of a PhasedLR.
  const bool is_phase = s.word == "PlateauPhase";
  return {nullptr, [o, is_phase](Optimizer& optimizer) {
            return is_phase
                       ? std::unique_ptr<StatefulLR>(std::make_unique<PhasedLR>(
                             optimizer, std::vector<LRPhase>{PlateauPhase(o)}))
                       : std::make_unique<ReduceLROnPlateau>(optimizer, o);
          }};
}

using Maker = std::function<Recipe(const Spec&)>;

const std::map<std::string, Maker>& makers() {
  static const std::map<std::string, Maker> kMakers = {
      {"LambdaLR", of_lambda<LambdaLR, LambdaLROptions>},
      {"MultiplicativeLR",
       of_lambda<MultiplicativeLR, MultiplicativeLROptions>},
      {"StepLR",
       [](const Spec& s) {
         StepLROptions o(s.integer("step_size", 0));
         return of<StepLR>(o.gamma(s.number("gamma", o.gamma())));
       }},
      {"MultiStepLR",
       [](const Spec& s) {
         MultiStepLROptions o(integers(s, "milestones"));
         return of<MultiStepLR>(o.gamma(s.number("gamma", o.gamma())));
       }},
      {"ConstantLR",
       [](const Spec& s) {
         ConstantLROptions o;
         o.factor(s.number("factor", o.factor()));
         o.total_iters(s.integer("total_iters", o.total_iters()));
         return of<ConstantLR>(o);
       }},
      {"LinearLR",
       [](const Spec& s) {
         LinearLROptions o;
         o.start_factor(s.number("start_factor", o.start_factor()));
         o.end_factor(s.number("end_factor", o.end_factor()));
         o.total_iters(s.integer("total_iters", o.total_iters()));
         return of<LinearLR>(o);
       }},
      {"ExponentialLR",
       [](const Spec& s) {
         return of<ExponentialLR>(ExponentialLROptions(s.number("gamma", 0)));
       }},
      {"PolynomialLR",
       [](const Spec& s) {
         PolynomialLROptions o;
         o.total_iters(s.integer("total_iters", o.total_iters()));
         o.power(s.number("power", o.power()));
         return of<PolynomialLR>(o);
       }},
      {"CosineAnnealingLR",
       [](const Spec& s) {
         CosineAnnealingLROptions o(s.integer("T_max", 0));
         return of<CosineAnnealingLR>(o.eta_min(s.number("eta_min", 0)));
       }},
      {"CosineAnnealingWarmRestarts",
       [](const Spec& s) {
         CosineAnnealingWarmRestartsOptions o(s.integer("T_0", 0));
         o.T_mult(s.integer("T_mult", o.T_mult()));
         o.eta_min(s.number("eta_min", o.eta_min()));
         return of<CosineAnnealingWarmRestarts>(o);
       }},
      {"CyclicLR", cyclic},
      {"OneCycleLR", one_cycle_of},
      {"SequentialLR",
       [](const Spec& s) {
         return of<SequentialLR>(
             SequentialLROptions(rules(s), integers(s, "milestones")));
       }},
      {"ChainedScheduler",
       [](const Spec& s) {
         return of<ChainedScheduler>(ChainedSchedulerOptions(rules(s)));
       }},
      {"SWALR",
       [](const Spec& s) {
         SWALROptions o(per_group(*s.find("swa_lr")));
         o.anneal_epochs(s.integer("anneal_epochs", o.anneal_epochs()));
         o.anneal_strategy(strategy(s));
         return of<SWALR>(o);
       }},
      {"PlateauPhase", plateau},
      {"ReduceLROnPlateau", plateau},
      {"LinearWarmupLR",
       [](const Spec& s) {
         return of<LinearWarmupLR>(
             LinearWarmupLROptions(s.integer("warmup_steps", 0)));
       }},
      {"WarmupCosineLR",
       [](const Spec& s) {
         WarmupCosineLROptions o(
             s.integer("warmup_steps", 0), s.integer("total_steps", 0));
         return of<WarmupCosineLR>(o.eta_min(s.number("eta_min", 0)));
       }},
      {"InverseTimeLR",
       [](const Spec& s) {
         InverseTimeLROptions o(s.number("decay_rate", 0));
         o.decay_steps(s.integer("decay_steps", o.decay_steps()));
         return of<InverseTimeLR>(o.staircase(s.flag("staircase", false)));
       }},
      {"InverseSqrtLR",
       [](const Spec& s) {
         return of<InverseSqrtLR>(
             InverseSqrtLROptions(s.integer("warmup_steps", 0)));
       }},
      {"WarmupStableDecayLR",
       [](const Spec& s) {
         WarmupStableDecayLROptions o(
             s.integer("warmup_steps", 0),
             s.integer("stable_steps", 0),
             s.integer("decay_steps", 0));
         return of<WarmupStableDecayLR>(o.floor(s.number("floor", 0)));
       }},
      {"ScheduleLR",
       [](const Spec&) {
         const Schedule schedule = warmup(7).then(cosine(40, 0.1)) * noise(0.1);
         return of<ScheduleLR>(schedule);
       }},
  };
  return kMakers;
}

}  // namespace

Recipe recipe_of(const Spec& spec) {
  const auto maker = makers().find(spec.word);
  if (maker == makers().end()) {
    throw std::runtime_error("no recipe for " + spec.word);
  }
  return maker->second(spec);
}

}  // namespace stepsize::test
