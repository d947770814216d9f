#include "csrc/distributed/gradient_hooks.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <cstdint>
#include <memory>
#include <utility>

namespace stepsize::detail {
namespace {

using torch::autograd::variable_list;
using Hear = std::function<void(std::size_t)>;
// std::shared_ptr, or c10::intrusive_ptr since LibTorch 2.14.
using Accumulator =
    decltype(torch::autograd::impl::grad_accumulator(at::Tensor()));

class HearingHook : public torch::autograd::FunctionPostHook {
 public:
  HearingHook(const Hear& hear, std::size_t parameter)
      : hear_(hear), parameter_(parameter) {}

  variable_list operator()(
      const variable_list& outputs, const variable_list& /*inputs*/) override {
    hear_(parameter_);
    return outputs;
  }

 private:
  const Hear& hear_;
  std::size_t parameter_;
};

}  // namespace

struct GradientHooks::Hook {
  // Held, as the parameter does not hold it, and the hook goes with it.
  Accumulator accumulator;
  std::uintptr_t key = 0;
};

GradientHooks::GradientHooks(
    std::vector<at::Tensor> parameters, std::function<void(std::size_t)> hear)
    : parameters_(std::move(parameters)),
      hear_(std::move(hear)),
      hooks_(parameters_.size()) {
  refresh();
}

GradientHooks::~GradientHooks() {
  for (const Hook& hook : hooks_) {
    if (hook.accumulator) hook.accumulator->del_post_hook(hook.key);
  }
}

void GradientHooks::refresh() {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Hook& hook = hooks_[i];
    if (!parameters_[i].requires_grad()) continue;
    auto accumulator = torch::autograd::impl::grad_accumulator(parameters_[i]);
    if (hook.accumulator == accumulator) continue;
    if (hook.accumulator) hook.accumulator->del_post_hook(hook.key);
    hook.accumulator = std::move(accumulator);
    hook.key = hook.accumulator->add_post_hook(
        std::make_unique<HearingHook>(hear_, i));
  }
}

}  // namespace stepsize::detail
