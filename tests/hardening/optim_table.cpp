// The optimizers' options, checked when one is made and in every step.

#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/param_groups.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/nn/modules/linear.h>

#include <memory>
#include <string>
#include <tuple>

#include "tests/hardening/option_table.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

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

// Options that come to a second group are checked as those of the first are.
template <typename Optimizer, typename Options>
void add_group_with(const Options& fine, const Options& options) {
  Optimizer optimizer({leaf({1})}, fine);
  torch::optim::OptimizerParamGroup group({leaf({2})});
  group.set_options(std::make_unique<Options>(options));
  optimizer.add_param_group(group);
}

// What a scheduler or a user writes later is checked by the next step.
template <typename Optimizer, typename Options>
void write_rate(const Options& fine, double rate) {
  Optimizer optimizer({leaf({1})}, fine);
  optimizer.param_groups().front().options().set_lr(rate);
  optimizer.step([] { return torch::zeros({}).requires_grad_(); });
}

template <typename Optimizer, typename Options>
void add_sgd_knobs(OptionCases cases) {
  cases
      .number(
          "lr",
          kNegative,
          {0, kSmallest, kHuge},
          [](double v) { step_with<Optimizer>(Options(v)); })
      .number(
          "lr",
          kNegative,
          {},
          [](double v) { add_group_with<Optimizer>(Options(0.1), Options(v)); })
      .number(
          "lr",
          kNegative,
          {},
          [](double v) { write_rate<Optimizer>(Options(0.1), v); })
      .number(
          "momentum",
          kNotBelowOne,
          {0, kBelowOne},
          [](double v) { step_with<Optimizer>(Options(0.1).momentum(v)); })
      .number(
          "dampening",
          kNotFinite,
          {-kHuge, 0, kHuge},
          [](double v) {
            step_with<Optimizer>(Options(0.1).momentum(0.5).dampening(v));
          })
      .number("weight_decay", kNegative, {0, kHuge}, [](double v) {
        step_with<Optimizer>(Options(0.1).weight_decay(v));
      });
  cases.refuses("nesterov", "true", {"nesterov", "got momentum 0"}, [] {
    step_with<Optimizer>(Options(0.1).nesterov(true));
  });
}

void add_clipped_sgd(OptionTable& table) {
  OptionCases cases(table, "ClippedSGDOptions", "ClippedSGD");
  add_sgd_knobs<ClippedSGD, ClippedSGDOptions>(cases);
  cases.number(
      "max_norm",
      {0, -1, kNaN, -kInfinity},
      {kSmallest, kHuge, kInfinity},
      [](double v) {
        step_with<ClippedSGD>(ClippedSGDOptions(0.1).max_norm(v));
      });
  cases.refuses("norm_type", "5", {"norm_type", "got 5"}, [] {
    step_with<ClippedSGD>(
        ClippedSGDOptions(0.1).norm_type(static_cast<NormType>(5)));
  });
  cases.refuses("non_finite", "5", {"non_finite", "got 5"}, [] {
    step_with<ClippedSGD>(
        ClippedSGDOptions(0.1).non_finite(static_cast<NonFiniteGradient>(5)));
  });
}

// Messages say which of the two it is.
void add_betas(OptionCases& cases) {
  const auto use = [](double beta1, double beta2) {
    step_with<ClippedAdamW>(ClippedAdamWOptions().betas({beta1, beta2}));
  };
  for (const double value : kNotBelowOne) {
    const std::string text = text_of(value);
    cases
        .refuses(
            "betas",
            "{" + text + ", 0.9}",
            {"beta1", "got " + text},
            [=] { use(value, 0.9); })
        .refuses("betas", "{0.9, " + text + "}", {"beta2", "got " + text}, [=] {
          use(0.9, value);
        });
  }
  cases.takes("betas", "{0, 0}", [=] { use(0, 0); })
      .takes("betas", "{1 - e, 1 - e}", [=] { use(kBelowOne, kBelowOne); });
}

void add_clipped_adamw(OptionTable& table) {
  using Options = ClippedAdamWOptions;
  OptionCases cases(table, "ClippedAdamWOptions", "ClippedAdamW");
  const auto step = step_with<ClippedAdamW, Options>;
  add_betas(cases);
  cases
      .number(
          "lr",
          kNegative,
          {0, kSmallest, kHuge},
          [step](double v) { step(Options(v)); })
      .number(
          "eps",
          kNegative,
          {0, kHuge},
          [step](double v) { step(Options().eps(v)); })
      .number(
          "weight_decay",
          kNegative,
          {0, kHuge},
          [step](double v) { step(Options().weight_decay(v)); })
      .number(
          "max_norm",
          {0, -1, kNaN, -kInfinity},
          {kSmallest, kHuge, kInfinity},
          [step](double v) { step(Options().max_norm(v)); })
      .number("lr", kNegative, {}, [](double v) {
        add_group_with<ClippedAdamW>(Options(), Options(v));
      });
}

void add_power_method(OptionTable& table) {
  using Options = PowerMethodSGDOptions;
  OptionCases cases(table, "PowerMethodSGDOptions", "PowerMethodSGD");
  cases
      .number(
          "lr",
          kNegative,
          {0, kSmallest, kHuge},
          [](double v) { measured_step_with(Options(v)); })
      .number(
          "momentum",
          kNotBelowOne,
          {0, kBelowOne},
          [](double v) { measured_step_with(Options().momentum(v)); })
      .number(
          "weight_decay",
          kNegative,
          {0, kHuge},
          [](double v) { measured_step_with(Options().weight_decay(v)); })
      .count("start_products", kNotCount, {1}, [](int64_t v) {
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
  add_clipped_sgd(table);
  add_clipped_adamw(table);
  add_param_groups(table);
  add_power_method(table);
  add_sgd_knobs<RollbackSGD, RollbackSGDOptions>(
      OptionCases(table, "RollbackSGDOptions", "RollbackSGD"));
  return table;
}

}  // namespace stepsize::test
