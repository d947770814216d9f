#include "csrc/state/known_optimizers.h"

#include <c10/util/Exception.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <cmath>
#include <limits>
#include <tuple>

#include "csrc/state/preconditioners.h"

namespace stepsize::detail {
namespace {

using namespace torch::optim;

// No rules: LibTorch checks its options itself, when an optimizer is made.

OptionList<SGDOptions> sgd_options() {
  return OptionList<SGDOptions>("torch::optim::SGD")
      .option(STEPSIZE_OPTION(lr))
      .role(OptionRole::kRate)
      .option(STEPSIZE_OPTION(momentum))
      .role(OptionRole::kMomentum)
      .option(STEPSIZE_OPTION(dampening))
      .role(OptionRole::kDampening)
      .option(STEPSIZE_OPTION(weight_decay))
      .role(OptionRole::kWeightDecay)
      .option(STEPSIZE_OPTION(nesterov))
      .role(OptionRole::kNesterov);
}

template <typename Options>
OptionList<Options> adam_options(const char* name, OptionRole decay) {
  return OptionList<Options>(name)
      .option(STEPSIZE_OPTION(lr))
      .role(OptionRole::kRate)
      .option(
          "beta1", [](auto& own) -> auto& { return std::get<0>(own.betas()); })
      .role(OptionRole::kMomentum)
      .option(
          "beta2", [](auto& own) -> auto& { return std::get<1>(own.betas()); })
      .role(OptionRole::kSecondBeta)
      .option(STEPSIZE_OPTION(eps))
      .role(OptionRole::kEpsilon)
      .option(STEPSIZE_OPTION(weight_decay))
      .role(decay)
      .option(STEPSIZE_OPTION(amsgrad));
}

// Its eps is no part of Adam's rules, and alpha none of its betas.
OptionList<RMSpropOptions> rmsprop_options() {
  return OptionList<RMSpropOptions>("torch::optim::RMSprop")
      .option(STEPSIZE_OPTION(lr))
      .role(OptionRole::kRate)
      .option(STEPSIZE_OPTION(alpha))
      .option(STEPSIZE_OPTION(eps))
      .option(STEPSIZE_OPTION(weight_decay))
      .role(OptionRole::kWeightDecay)
      .option(STEPSIZE_OPTION(momentum))
      .role(OptionRole::kMomentum)
      .option(STEPSIZE_OPTION(centered));
}

OptionList<AdagradOptions> adagrad_options() {
  return OptionList<AdagradOptions>("torch::optim::Adagrad")
      .option(STEPSIZE_OPTION(lr))
      .role(OptionRole::kRate)
      .option(STEPSIZE_OPTION(lr_decay))
      .option(STEPSIZE_OPTION(weight_decay))
      .role(OptionRole::kWeightDecay)
      .option(STEPSIZE_OPTION(initial_accumulator_value))
      .option(STEPSIZE_OPTION(eps));
}

// The one line search that there is.
constexpr char kStrongWolfe[] = "strong_wolfe";

OptionList<LBFGSOptions> lbfgs_options() {
  return OptionList<LBFGSOptions>("torch::optim::LBFGS")
      .option(STEPSIZE_OPTION(lr))
      .role(OptionRole::kRate)
      .option(STEPSIZE_OPTION(max_iter))
      .number(
          "max_eval",
          [](const LBFGSOptions& own) {
            return own.max_eval() ? static_cast<double>(*own.max_eval())
                                  : std::numeric_limits<double>::quiet_NaN();
          },
          [](LBFGSOptions& own, double value) {
            own.max_eval().reset();
            if (!std::isnan(value)) own.max_eval(static_cast<int64_t>(value));
          })
      .option(STEPSIZE_OPTION(tolerance_grad))
      .option(STEPSIZE_OPTION(tolerance_change))
      .option(STEPSIZE_OPTION(history_size))
      .number(
          kStrongWolfe,
          [](const LBFGSOptions& own) {
            const auto& name = own.line_search_fn();
            TORCH_CHECK(
                !name || *name == kStrongWolfe,
                "LBFGS: line_search_fn must be strong_wolfe, got ",
                *name);
            return name ? 1.0 : 0.0;
          },
          [](LBFGSOptions& own, double value) {
            own.line_search_fn().reset();
            if (value != 0) own.line_search_fn(kStrongWolfe);
          });
}

// The state of each: the tensors that its row in libtorch_traits() names.

at::Tensor rmsprop_preconditioner(const ComingUpdate& update) {
  const auto& own = static_cast<const RMSpropOptions&>(update.options);
  const at::Tensor& gradient = update.gradient;
  at::Tensor square = running_mean(
      kept_tensor(update, 0, gradient), own.alpha(), gradient.square());
  if (own.centered()) {
    const at::Tensor mean =
        running_mean(kept_tensor(update, 2, gradient), own.alpha(), gradient);
    square.addcmul_(mean, mean, -1);
  }
  return square.sqrt_().add_(own.eps());
}

// Its rate falls by itself, which belongs to what it divides by.
at::Tensor adagrad_preconditioner(const ComingUpdate& update) {
  const auto& own = static_cast<const AdagradOptions&>(update.options);
  const at::Tensor sum = kept_tensor(update, 0, update.gradient);
  at::Tensor square = update.gradient.square();
  square = sum.defined() ? square.add_(sum)
                         : square.add_(own.initial_accumulator_value());
  const auto before = static_cast<double>(update.step - 1);
  return square.sqrt_().add_(own.eps()).mul_(1 + before * own.lr_decay());
}

}  // namespace

std::vector<OptimizerTraits> libtorch_traits() {
  constexpr auto kScales = GradientUse::kScalesCoordinates;
  return {
      OptimizerTraits::of<SGD>(sgd_options())
          .gradient(GradientUse::kDescends)
          .state({"momentum_buffer"}),
      OptimizerTraits::of<Adam>(
          adam_options<AdamOptions>(
              "torch::optim::Adam", OptionRole::kWeightDecay))
          .gradient(kScales)
          .preconditioner(adam_preconditioner<AdamOptions>)
          .momentum_is_mean(true)
          .state({"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}),
      OptimizerTraits::of<AdamW>(
          adam_options<AdamWOptions>(
              "torch::optim::AdamW", OptionRole::kDecoupledWeightDecay))
          .gradient(kScales)
          .preconditioner(adam_preconditioner<AdamWOptions>)
          .momentum_is_mean(true)
          .state({"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}),
      OptimizerTraits::of<RMSprop>(rmsprop_options())
          .gradient(kScales)
          .preconditioner(rmsprop_preconditioner)
          .state({"square_avg", "momentum_buffer", "grad_avg"}),
      OptimizerTraits::of<Adagrad>(adagrad_options())
          .gradient(kScales)
          .preconditioner(adagrad_preconditioner)
          .state({"sum"}),
      OptimizerTraits::of<LBFGS>(lbfgs_options())
          .gradient(GradientUse::kQuasiNewton)
          .closure_calls(ClosureCalls::kManyTimes)
          .one_group(true)};
}

}  // namespace stepsize::detail
