#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <stepsize/kernels/grad_norm.h>
#include <stepsize/kernels/sgd.h>
#include <stepsize/optim/clipped_optimizer.h>
#include <stepsize/state/option_list.h>

#include <cmath>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "csrc/text/number.h"

namespace stepsize::detail {

template <typename Optimizer>
int64_t skipped_by(const torch::optim::Optimizer& optimizer) {
  return static_cast<const Optimizer&>(optimizer).skipped_steps();
}

template <typename Options>
OptionList<Options>& add_rate(OptionList<Options>& list) {
  return list.option(STEPSIZE_OPTION(lr))
      .not_negative()
      .role(OptionRole::kRate);
}

/// The rule of the option before: finite and > 0.
template <typename Options>
OptionList<Options>& positive(OptionList<Options>& list) {
  return list.must_be("finite and > 0", [](double value) {
    return std::isfinite(value) && value > 0;
  });
}

/// The two betas of Adam; `second` is the second one's role.
template <typename Options>
OptionList<Options>& add_betas(
    OptionList<Options>& list,
    OptionRole second = OptionRole::kSecondBeta,
    bool same_in_groups = false) {
  const auto add = [&](const char* name, auto access, OptionRole role) {
    list.option(name, access).share().role(role);
    if (same_in_groups) list.same_in_groups();
  };
  add(
      "beta1",
      [](auto& o) -> auto& { return std::get<0>(o.betas()); },
      OptionRole::kMomentum);
  add(
      "beta2", [](auto& o) -> auto& { return std::get<1>(o.betas()); }, second);
  return list;
}

/// The options of SGD, in parts, as the lists of classes have them in orders of
/// their own: that of an archive.
template <typename Options>
OptionList<Options>& add_rate_and_momentum(OptionList<Options>& list) {
  return add_rate(list)
      .option(STEPSIZE_OPTION(momentum))
      .share()
      .role(OptionRole::kMomentum);
}

template <typename Options>
OptionList<Options>& add_weight_decay(OptionList<Options>& list) {
  return list.option(STEPSIZE_OPTION(weight_decay))
      .not_negative()
      .role(OptionRole::kWeightDecay);
}

template <typename Options>
OptionList<Options>& add_decoupled_weight_decay(OptionList<Options>& list) {
  return list.option(STEPSIZE_OPTION(decoupled_weight_decay))
      .role(OptionRole::kDecouples);
}

template <typename Options>
OptionList<Options>& add_maximize(OptionList<Options>& list) {
  return list.option(STEPSIZE_OPTION(maximize)).role(OptionRole::kMaximizes);
}

template <typename Options, typename = void>
struct HasDecoupledDecay : std::false_type {};
template <typename Options>
struct HasDecoupledDecay<
    Options,
    std::void_t<
        decltype(std::declval<const Options&>().decoupled_weight_decay())>>
    : std::true_type {};

template <typename Options, typename = void>
struct HasDampening : std::false_type {};
template <typename Options>
struct HasDampening<
    Options,
    std::void_t<decltype(std::declval<const Options&>().dampening())>>
    : std::true_type {};

/// With the rule of what it wants of the others.
template <typename Options>
OptionList<Options>& add_nesterov(OptionList<Options>& list) {
  return list.option(STEPSIZE_OPTION(nesterov))
      .role(OptionRole::kNesterov)
      .rule([](const Options& own, const std::string& name) {
        const std::string momentum = number_text(own.momentum());
        if constexpr (HasDampening<Options>::value) {
          TORCH_CHECK(
              !own.nesterov() || (own.momentum() > 0 && own.dampening() == 0),
              name,
              ": nesterov wants momentum > 0 and dampening 0, got momentum ",
              momentum,
              " and dampening ",
              number_text(own.dampening()));
        } else {
          TORCH_CHECK(
              !own.nesterov() || own.momentum() > 0,
              name,
              ": nesterov wants momentum > 0, got ",
              momentum);
        }
      });
}

/// The options that are torch::optim::SGD's too.
template <typename Options>
OptionList<Options> sgd_options(const char* kind) {
  OptionList<Options> list(kind);
  add_rate_and_momentum(list)
      .option(STEPSIZE_OPTION(dampening))
      .finite()
      .role(OptionRole::kDampening);
  return add_nesterov(add_weight_decay(list));
}

/// What a step of SGD goes by.
template <typename Options>
SGDHyperparameters sgd_numbers(const Options& options) {
  SGDHyperparameters numbers;
  numbers.lr = options.lr();
  numbers.momentum = options.momentum();
  numbers.weight_decay = options.weight_decay();
  numbers.nesterov = options.nesterov();
  if constexpr (HasDampening<Options>::value) {
    numbers.dampening = options.dampening();
  }
  if constexpr (HasDecoupledDecay<Options>::value) {
    numbers.decoupled_weight_decay = options.decoupled_weight_decay();
  }
  return numbers;
}

/// Those of a ClippedOptimizer.
template <typename Options>
void add_clip_options(OptionList<Options>& list) {
  list.option(STEPSIZE_OPTION(max_norm))
      .must_be("> 0", [](double norm) { return norm > 0; })
      .same_in_groups()
      .choice(STEPSIZE_OPTION(norm_type), {"kTwo", "kInfinity"})
      .same_in_groups()
      .choice(STEPSIZE_OPTION(non_finite), {"kSkip", "kThrow", "kUnchecked"})
      .role(OptionRole::kNonFinite)
      .same_in_groups()
      .rule([](const Options& own, const std::string& name) {
        TORCH_CHECK(
            own.non_finite() != NonFiniteGradient::kUnchecked ||
                std::isinf(own.max_norm()),
            name,
            ": non_finite kUnchecked wants max_norm infinite, got ",
            number_text(own.max_norm()));
      });
}

template <typename Options>
void add_state_type(OptionList<Options>& list) {
  list.choice(
          STEPSIZE_OPTION(state_type),
          {"kFloat32", "kBFloat16", "kBlockwise8Bit"})
      .may_be_missing();
}

/// The factor that ClippedOptimizer::step() clips by.
template <typename Options>
double clip_factor(
    const torch::optim::Optimizer& optimizer,
    const std::vector<at::Tensor>& gradients) {
  const auto& own =
      static_cast<const Options&>(optimizer.param_groups().front().options());
  const auto* const clipped = dynamic_cast<const ClippedOptimizer*>(&optimizer);
  TORCH_CHECK(
      clipped == nullptr || clipped->clip_rule() == nullptr,
      Options::option_list().kind(),
      ": what a clip rule will make of a gradient is not known before its "
      "step");
  const at::Tensor factors = clip_coefficient(
      norm_in_parts(gradients, own.norm_type()), own.max_norm());
  return factors.prod().item<double>();
}

}  // namespace stepsize::detail
