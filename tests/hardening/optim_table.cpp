// The optimizers' options, checked when one is made and in every step.

#include <stepsize/adaptive/sam.h>
#include <stepsize/optim/param_groups.h>
#include <torch/nn/modules/linear.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/hardening/option_table.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"
#include "tests/support/own_optimizers.h"

namespace stepsize::test {
namespace {

template <typename Optimizer, typename Options>
void step_with(const Options& options) {
  const torch::Tensor w = leaf({1, -2});
  Optimizer optimizer({w}, options);
  w.mutable_grad() = torch::ones_like(w);
  optimizer.step();
}

void measured_step_with(const PowerMethodSGDOptions& options) {
  const torch::Tensor w = leaf({1, -2});
  PowerMethodSGD optimizer({w}, options);
  optimizer.step([&w] { return w.pow(2).sum(); });
}

// A step with the options of a class of this library as they are, of which one
// is set after: by a scheduler or a user.
template <typename Own>
void step_own(const Own& own, const typename Own::Options& options) {
  const torch::Tensor w = leaf({1, -2});
  typename Own::Optimizer optimizer({w}, options);
  optimizer.step([&] {
    const torch::Tensor loss = w.pow(2).sum();
    w.mutable_grad() = torch::Tensor();
    if (!own.options.traits().wants_graph()) loss.backward();
    return loss;
  });
}

// Options that come to a second group are checked as those of the first are.
template <typename Own>
void add_own_group(const Own& own, const typename Own::Options& options) {
  typename Own::Optimizer optimizer({leaf({1})}, own.options);
  torch::optim::OptimizerParamGroup group({leaf({2})});
  group.set_options(std::make_unique<typename Own::Options>(options));
  optimizer.add_param_group(group);
}

// What a scheduler or a user writes later is checked by the next step.
template <typename Own>
void write_own_rate(const Own& own, double rate) {
  typename Own::Optimizer optimizer({leaf({1})}, own.options);
  optimizer.param_groups().front().options().set_lr(rate);
  optimizer.step([] { return torch::zeros({}).requires_grad_(); });
}

struct Values {
  std::vector<double> refused;
  std::vector<double> taken;
};

// Of the rules that an option of the list may have, by their text.
const Values* values_of(const std::string& rule) {
  static const std::map<std::string, Values> all = {
      {"finite and >= 0", {kNegative, {0, kSmallest, kHuge}}},
      {"in [0, 1)", {kNotBelowOne, {0, kBelowOne}}},
      {"in (0, 1)", {kNotInside, {kSmallest, kBelowOne}}},
      {"finite", {kNotFinite, {-kHuge, 0, kHuge}}},
      {"finite and > 0", {kNotPositive, {kSmallest, kHuge}}},
      {"a factor >= 1",
       {{0, -1, kBelowOne, kNaN, -kInfinity}, {1, kHuge, kInfinity}}},
      {"> 0", {{0, -1, kNaN, -kInfinity}, {kSmallest, kHuge, kInfinity}}}};
  const auto found = all.find(rule);
  return found == all.end() ? nullptr : &found->second;
}

// Options of a pair are two in a list, and one knob.
std::string knob_of(const std::string& option) {
  return option == "beta1" || option == "beta2" ? "betas" : option;
}

// A row for each option of the class's list whose rule is a usual one.
template <typename Own>
void add_listed(OptionTable& table, const Own& own) {
  const OptimizerTraits& traits = own.options.traits();
  const auto& list = traits.options();
  OptionCases cases(table, traits.name() + "Options", traits.name());
  const auto with = [own, list](const std::string& option, double value) {
    auto options = own.options;
    list.set(options, option, value);
    return options;
  };
  for (const OptionField& field : list.fields()) {
    const std::string option = field.name;
    const std::string knob = knob_of(option);
    if (field.kind == OptionKind::kChoice) {
      const auto beyond = static_cast<double>(field.choices.size()) + 3;
      const std::string text = text_of(static_cast<int64_t>(beyond));
      cases.refuses(knob, text, {option, "got " + text}, [=] {
        step_own(own, with(option, beyond));
      });
    }
    const Values* const values = values_of(field.rule);
    if (values == nullptr) continue;
    for (const double value : values->refused) {
      const std::string text = text_of(value);
      const std::vector<std::string> says = {option, "got " + text};
      cases.refuses(
          knob, text, says, [=] { step_own(own, with(option, value)); });
      cases.refuses(
          knob, text, says, [=] { add_own_group(own, with(option, value)); });
      if (field.role == OptionRole::kRate) {
        cases.refuses(knob, text, says, [=] { write_own_rate(own, value); });
      }
    }
    for (const double value : values->taken) {
      cases.takes(
          knob, text_of(value), [=] { step_own(own, with(option, value)); });
    }
  }
}

template <typename Optimizer, typename Options>
void add_nesterov(
    OptionTable& table,
    const std::string& name,
    const std::string& got = "got momentum 0") {
  OptionCases(table, name + "Options", name)
      .refuses("nesterov", "true", {"nesterov", got}, [] {
        step_with<Optimizer>(Options(0.1).momentum(0).nesterov(true));
      });
}

void add_power_method(OptionTable& table) {
  using Options = PowerMethodSGDOptions;
  OptionCases cases(table, "PowerMethodSGDOptions", "PowerMethodSGD");
  cases.count("start_products", kNotCount, {1}, [](int64_t v) {
    measured_step_with(Options().start_products(v));
  });
  cases.refuses("nesterov", "true", {"nesterov", "got 0"}, [] {
    measured_step_with(Options().nesterov(true));
  });
  // The tracker's knobs have rows of their own; here they bear this name.
  cases.number("safety", kNotPositive, {kSmallest}, [](double v) {
    measured_step_with(Options().tracker(SharpnessTrackerOptions().safety(v)));
  });
}

void add_auto_sgd(OptionTable& table) {
  OptionCases(table, "AutoSGDOptions", "AutoSGD")
      .refuses("nesterov", "true", {"nesterov", "got 0"}, [] {
        AutoSGD({leaf({1})}, AutoSGDOptions().momentum(0).nesterov(true));
      });
}

template <typename Optimizer, typename Options>
void add_warmup_steps(OptionTable& table, const std::string& name) {
  OptionCases(table, name + "Options", name)
      .count("warmup_steps", kNegativeCount, {0, INT64_MAX}, [](int64_t v) {
        step_with<Optimizer>(Options(0.1).warmup_steps(v));
      });
}

void add_muon(OptionTable& table) {
  OptionCases(table, "MuonOptions", "Muon")
      .count(
          "ns_steps",
          {0, -1, INT64_MIN, 100, kMostCount},
          {1, 99},
          [](int64_t v) {
            const torch::Tensor w = torch::eye(2).requires_grad_();
            Muon optimizer({w}, MuonOptions().ns_steps(v));
            w.mutable_grad() = torch::ones_like(w);
            optimizer.step();
          });
}

void add_sam(OptionTable& table) {
  const auto step_with_sam = [](const SAMOptions& options) {
    const torch::Tensor w = leaf({1, -2});
    ClippedSGD optimizer({w}, ClippedSGDOptions(0.1));
    SAM sam(optimizer, options);
    sam.step([&] {
      w.mutable_grad() = torch::Tensor();
      const torch::Tensor loss = w.pow(2).sum();
      loss.backward();
      return loss;
    });
  };
  OptionCases(table, "SAMOptions", "SAM")
      .number(
          "rho",
          kNegative,
          {0, kSmallest, kHuge},
          [=](double v) { step_with_sam(SAMOptions(v)); })
      .number("eta", kNegative, {0, kSmallest, kHuge}, [=](double v) {
        step_with_sam(SAMOptions(0.1).adaptive(true).eta(v));
      });
}

template <typename Optimizer, typename Options>
void add_interval(OptionTable& table, const std::string& name) {
  OptionCases(table, name + "Options", name)
      .count("interval", kNotCount, {1, kMostCount}, [](int64_t v) {
        const torch::Tensor w = leaf({1, -2});
        Optimizer optimizer({w}, Options().interval(v));
        optimizer.step([&w] { return w.pow(2).sum(); });
      });
}

void add_slice_p(OptionTable& table) {
  OptionCases(table, "ProdigyOptions", "Prodigy")
      .count("slice_p", kNotCount, {1, kMostCount}, [](int64_t v) {
        auto w = leaf({1, -2});
        Prodigy optimizer({w}, ProdigyOptions().slice_p(v));
        for (int step = 0; step < 2; ++step) {
          w.mutable_grad() = w.detach().clone();
          optimizer.step();
        }
      });
}

void add_hessian_power(OptionTable& table) {
  OptionCases(table, "AdaHessianOptions", "AdaHessian")
      .number("hessian_power", kNotShare, {0, 1}, [](double v) {
        AdaHessian({leaf({1})}, AdaHessianOptions().hessian_power(v));
      });
}

void add_param_groups(OptionTable& table) {
  const auto build_with = [](const ParamGroupOptions& own) {
    const torch::nn::Linear module(1, 1);
    ParamGroups groups(module, ClippedSGDOptions(0.1));
    groups.group("own", {"weight"}, own).others("others");
    groups.build();
  };
  OptionCases(table, "ParamGroupOptions", "ParamGroups")
      .number(
          "lr_factor",
          kNegative,
          {0, kSmallest, kHuge},
          [=](double v) { build_with(ParamGroupOptions().lr_factor(v)); })
      .number(
          "weight_decay",
          kNegative,
          {0, kHuge},
          [=](double v) { build_with(ParamGroupOptions().weight_decay(v)); })
      .number(
          "layer_decay",
          {0, -1, 1.5, kNaN, kInfinity},
          {kSmallest, 1},
          [](double v) {
            const torch::nn::Linear module(1, 1);
            ParamGroups groups(module, ClippedSGDOptions(0.1));
            groups.layer_decay(v, {"weight", "bias"});
          });
}

}  // namespace

OptionTable optim_table() {
  OptionTable table;
  std::set<std::string> listed;
  for_each_own_optimizer([&](const auto& own) {
    // Once a class, in its first form.
    if (listed.insert(own.options.traits().name()).second) {
      add_listed(table, own);
    }
  });
  add_nesterov<ClippedSGD, ClippedSGDOptions>(table, "ClippedSGD");
  add_nesterov<RollbackSGD, RollbackSGDOptions>(table, "RollbackSGD");
  add_warmup_steps<ScheduleFreeAdamW, ScheduleFreeAdamWOptions>(
      table, "ScheduleFreeAdamW");
  add_warmup_steps<ScheduleFreeSGD, ScheduleFreeSGDOptions>(
      table, "ScheduleFreeSGD");
  add_nesterov<LARS, LARSOptions>(table, "LARS", "got 0");
  add_param_groups(table);
  add_power_method(table);
  add_interval<AdaHessian, AdaHessianOptions>(table, "AdaHessian");
  add_interval<SophiaH, SophiaHOptions>(table, "SophiaH");
  add_slice_p(table);
  add_hessian_power(table);
  add_auto_sgd(table);
  add_muon(table);
  add_sam(table);
  return table;
}

}  // namespace stepsize::test
