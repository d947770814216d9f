#include <stepsize/optim/lion.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <cstddef>
#include <memory>
#include <utility>

#include "csrc/kernels/cpu_work.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/kernels/operands.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

constexpr detail::Signature kLionSignature = {
    "Lion", {"parameter", "gradient", "exp_avg"}};

detail::LionNumbers numbers_of(const LionOptions& options) {
  return {
      std::get<0>(options.betas()),
      std::get<1>(options.betas()),
      1.0 - options.lr() * options.weight_decay(),
      options.lr()};
}

struct LionSlot {
  detail::LionLoop loop;
  detail::LionNumbers numbers;
};

}  // namespace

LionOptions::LionOptions(double lr) : lr_(lr) {}

const OptionList<LionOptions>& LionOptions::option_list() {
  static const auto list =
      OptionList<LionOptions>("Lion")
          .option(STEPSIZE_OPTION(lr))
          .not_negative()
          .role(OptionRole::kRate)
          .option(
              "beta1", [](auto& o) -> auto& { return std::get<0>(o.betas()); })
          .share()
          .role(OptionRole::kMomentum)
          .option(
              "beta2", [](auto& o) -> auto& { return std::get<1>(o.betas()); })
          .share()
          .option(STEPSIZE_OPTION(weight_decay))
          .not_negative()
          .role(OptionRole::kDecoupledWeightDecay);
  return list;
}

const OptimizerTraits& LionOptions::optimizer_traits() {
  static const OptimizerTraits traits = OptimizerTraits::of<Lion>(option_list())
                                            .gradient(GradientUse::kTakesSigns)
                                            .state({"exp_avg"});
  return traits;
}

Lion::Lion(std::vector<at::Tensor> parameters, const LionOptions& options)
    : Lion(
          std::vector<OptimizerParamGroup>{
              OptimizerParamGroup(std::move(parameters))},
          options) {}

Lion::Lion(
    const std::vector<OptimizerParamGroup>& groups, const LionOptions& defaults)
    : IndexedOptimizer(std::make_unique<LionOptions>(defaults)) {
  add_groups(groups);
}

void Lion::step_by_operations(
    at::Tensor parameter,
    const at::Tensor& gradient,
    at::Tensor mean,
    const LionOptions& options) {
  const detail::LionNumbers numbers = numbers_of(options);
  const at::Tensor wide_gradient = gradient.to(mean.scalar_type());
  const at::Tensor mix =
      (mean * numbers.beta1).add_(wide_gradient, 1.0 - numbers.beta1);
  // LibTorch's sign of a NaN is 0, which would hide it.
  const at::Tensor sign = at::where(mix.isnan(), mix, mix.sign());
  mean.mul_(numbers.beta2).add_(wide_gradient, 1.0 - numbers.beta2);
  at::Tensor wide = parameter.to(mean.scalar_type());
  wide.mul_(numbers.keep).sub_(sign, numbers.lr);
  if (!wide.is_same(parameter)) parameter.copy_(wide);
}

at::Tensor Lion::step(LossClosure closure) {
  const at::Tensor loss = evaluate(closure, [this] {
    // A scheduler may have set anything.
    check_all_options();
    check_gradients();
  });
  const c10::AutoGradMode no_grad(false);
  auto& groups = param_groups();
  // All is checked before the first parameter moves, and the means are the
  // optimizer's only then: had the step been refused, there would be none yet.
  std::vector<std::vector<at::Tensor>> means;
  std::vector<detail::Operands> operands;
  std::vector<std::size_t> group_of;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto& parameters = groups[g].params();
    auto& own = means.emplace_back(group_state(g).slots[0]);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const at::Tensor& gradient = parameters[i].grad();
      if (!gradient.defined()) continue;
      if (!own[i].defined()) own[i] = new_state(parameters[i]);
      operands.push_back({{&parameters[i], &gradient, &own[i]}, 3});
      group_of.push_back(g);
      detail::check_operands(
          kLionSignature, static_cast<int64_t>(i), operands.back());
    }
  }

  const detail::LoopTable& table = detail::loops();
  detail::CpuWork<LionSlot> cpu(operands.size());
  for (std::size_t k = 0; k < operands.size(); ++k) {
    const detail::Operands& own = operands[k];
    const auto& options =
        static_cast<const LionOptions&>(groups[group_of[k]].options());
    if (own.param().is_cpu()) {
      cpu.add(
          own, k, {table.lion[detail::format_of(own)], numbers_of(options)});
    } else {
      step_by_operations(own.param(), own.grad(), *own.tensors[2], options);
    }
  }
  if (!cpu.empty()) {
    cpu.run(
        [](const LionSlot& slot,
           void* const* arrays,
           int64_t begin,
           int64_t end) {
          slot.loop(
              {arrays[0], arrays[1], arrays[2]}, begin, end, slot.numbers);
        },
        [&](std::size_t k) { return operands[k]; });
  }
  for (std::size_t g = 0; g < groups.size(); ++g) {
    group_state(g).slots[0] = std::move(means[g]);
  }
  return loss;
}

}  // namespace stepsize
