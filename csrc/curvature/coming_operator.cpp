#include <ATen/Functions.h>
#include <c10/util/Exception.h>
#include <c10/util/Type.h>
#include <stepsize/curvature/coming_operator.h>
#include <stepsize/curvature/preconditioned_operator.h>
#include <stepsize/state/optimizer_traits.h>
#include <stepsize/state/preconditioner.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "csrc/curvature/mapped_operator.h"
#include "csrc/state/optimizer_traits.h"

namespace stepsize {
namespace {

constexpr char kComingOperator[] = "coming_operator";

// Whether a rule divides by nothing that is zero or not finite.
bool divides_by_numbers(const PreconditionedUpdate& update) {
  return std::all_of(
             update.diagonal.begin(),
             update.diagonal.end(),
             [](const at::Tensor& part) {
               return !part.defined() || part.gt(0)
                                             .logical_and(part.isfinite())
                                             .all()
                                             .item<bool>();
             }) &&
         std::all_of(
             update.decay.begin(), update.decay.end(), [](double decay) {
               return std::isfinite(decay);
             });
}

LinearOperator no_number(const LinearOperator& op) {
  return function_operator(op.like(), [](const TensorVector& v) {
    TensorVector product;
    for (const at::Tensor& part : v) {
      product.push_back(
          at::full_like(part, std::numeric_limits<double>::quiet_NaN()));
    }
    return product;
  });
}

// The coupled decay of each parameter that requires a gradient.
std::vector<double> coupled_decays(
    const OptimizerTraits& traits, const torch::optim::Optimizer& optimizer) {
  std::vector<double> decays;
  for (const auto& group : optimizer.param_groups()) {
    const double own =
        detail::descent_numbers(traits, group.options()).coupled_decay;
    for (const at::Tensor& parameter : group.params()) {
      if (parameter.requires_grad()) decays.push_back(own);
    }
  }
  return decays;
}

// What the gradient is multiplied by, as far as it is known.
double clip_factor(
    const OptimizerTraits& traits,
    const torch::optim::Optimizer& optimizer,
    const TensorVector& gradients) {
  TensorVector defined;
  for (const at::Tensor& gradient : gradients) {
    if (gradient.defined()) defined.push_back(gradient.detach());
  }
  return traits.gradient_factor() && !defined.empty()
             ? traits.gradient_factor()(optimizer, defined)
             : 1.0;
}

// factor H + decays.
LinearOperator decayed(
    const LinearOperator& op, double factor, std::vector<double> decays) {
  if (factor == 1 &&
      std::all_of(decays.begin(), decays.end(), [](double decay) {
        return decay == 0;
      })) {
    return op;
  }
  return detail::mapped(
      op,
      op.like(),
      {},
      [factor, decays = std::move(decays)](
          TensorVector product, const TensorVector& v) {
        for (std::size_t i = 0; i < v.size(); ++i) {
          if (factor != 1) product[i] = product[i].mul(factor);
          if (decays[i] != 0) product[i] = product[i].add(v[i], decays[i]);
        }
        return product;
      });
}

}  // namespace

bool has_coming_operator(const torch::optim::Optimizer& optimizer) {
  const OptimizerTraits* const traits = find_traits(optimizer);
  if (traits == nullptr) return false;
  const bool scales = traits->gradient() == GradientUse::kScalesCoordinates &&
                      traits->preconditioner() != nullptr;
  if (!scales && traits->gradient() != GradientUse::kDescends) return false;
  const auto& groups = optimizer.param_groups();
  return std::none_of(groups.begin(), groups.end(), [&](const auto& group) {
    return detail::descent_numbers(*traits, group.options()).maximizes;
  });
}

ComingOperator coming_operator(
    const LinearOperator& hessian,
    torch::optim::Optimizer& optimizer,
    const TensorVector& gradients) {
  TORCH_CHECK(
      has_coming_operator(optimizer),
      kComingOperator,
      ": the update of ",
      c10::demangle(typeid(optimizer).name()),
      " is none that a Hessian and OptimizerTraits tell: it must go down the "
      "gradient, or divide it by a preconditioner that its traits name");
  const OptimizerTraits& traits = *find_traits(optimizer);
  const std::size_t count = detail::trained_parameters(optimizer).size();
  TORCH_CHECK(
      hessian.like().size() == count,
      kComingOperator,
      ": the operator has ",
      hessian.like().size(),
      " tensors, expected ",
      count,
      " (one a parameter that requires a gradient)");
  if (traits.gradient() == GradientUse::kDescends) {
    return {decayed(
        hessian,
        clip_factor(traits, optimizer, gradients),
        coupled_decays(traits, optimizer))};
  }
  TORCH_CHECK(
      gradients.size() == count,
      kComingOperator,
      ": ",
      traits.name(),
      " divides by a preconditioner, which takes ",
      count,
      " gradients, got ",
      gradients.size());
  const auto update = coming_preconditioner(optimizer, gradients);
  return {
      divides_by_numbers(update)
          ? preconditioned_operator(hessian, update.diagonal, update.decay)
          : no_number(hessian),
      update.step};
}

}  // namespace stepsize
