#include <stepsize/state/preconditioner.h>

#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <c10/util/Type.h>

#include <algorithm>
#include <cstddef>
#include <memory>

#include "csrc/core/half.h"
#include "csrc/state/optimizer_state.h"
#include "csrc/state/optimizer_traits.h"

namespace stepsize {
namespace {

constexpr char kComing[] = "coming_preconditioner";

// The gradients that are there, checked.
std::vector<at::Tensor> defined_gradients(
    const std::vector<at::Tensor>& parameters,
    const std::vector<at::Tensor>& gradients) {
  TORCH_CHECK(
      gradients.size() == parameters.size(),
      kComing,
      ": there must be a gradient, or an undefined tensor, for each of the ",
      parameters.size(),
      " parameters that require one, got ",
      gradients.size());
  std::vector<at::Tensor> defined;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (!gradients[i].defined()) continue;
    TORCH_CHECK(
        gradients[i].layout() == at::kStrided &&
            gradients[i].sizes() == parameters[i].sizes(),
        kComing,
        ": gradient ",
        i,
        " must be dense and of shape ",
        parameters[i].sizes(),
        ", got ",
        gradients[i].sizes());
    defined.push_back(gradients[i].detach());
  }
  return defined;
}

}  // namespace

PreconditionedUpdate coming_preconditioner(
    torch::optim::Optimizer& optimizer,
    const std::vector<at::Tensor>& gradients) {
  const c10::AutoGradMode no_grad(false);
  const OptimizerTraits* const traits = find_traits(optimizer);
  TORCH_CHECK(
      traits != nullptr && traits->preconditioner() != nullptr,
      kComing,
      ": the OptimizerTraits of ",
      c10::demangle(typeid(optimizer).name()),
      " name no preconditioner");
  const auto access = detail::state_by_parameter(kComing, optimizer);
  const auto defined =
      defined_gradients(detail::trained_parameters(optimizer), gradients);
  const double factor = traits->gradient_factor() && !defined.empty()
                            ? traits->gradient_factor()(optimizer, defined)
                            : 1.0;
  PreconditionedUpdate coming;
  ParameterState kept;
  const auto& groups = optimizer.param_groups();
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto& options = groups[g].options();
    const double decay =
        detail::descent_numbers(*traits, options).coupled_decay;
    const auto& parameters = groups[g].params();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const at::Tensor& parameter = parameters[i];
      if (!parameter.requires_grad()) continue;
      at::Tensor gradient = gradients[coming.diagonal.size()];
      at::Tensor& diagonal = coming.diagonal.emplace_back();
      coming.decay.push_back(decay / factor);
      if (!gradient.defined()) continue;
      const auto type = detail::widened(parameter.scalar_type());
      gradient = gradient.detach().to(parameter.device(), type).mul(factor);
      if (decay != 0) gradient.add_(parameter.detach().to(type), decay);
      access->read(g, i, kept);
      coming.step = coming.step == 0 ? kept.steps + 1
                                     : std::min(coming.step, kept.steps + 1);
      diagonal = traits->preconditioner()(
          {options, kept.tensors, kept.steps + 1, gradient});
      TORCH_CHECK(
          diagonal.defined() && diagonal.sizes() == parameter.sizes(),
          kComing,
          ": the preconditioner of ",
          traits->name(),
          " must return a tensor of the parameter's shape");
      diagonal = diagonal.div(factor);
    }
  }
  return coming;
}

}  // namespace stepsize
