#include "csrc/tune/lr_stability.h"

#include <ATen/Functions.h>
#include <stepsize/curvature/linear_operator.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/curvature/power_iteration.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/broadcast.h>

#include <cmath>
#include <cstddef>
#include <functional>
#include <utility>

#include "csrc/state/optimizer_traits.h"
#include "csrc/tune/lr_loss_pass.h"

namespace stepsize::detail {
namespace {

// A scale and no target: a few per cent will do.
constexpr int64_t kMostIterations = 30;
constexpr double kTolerance = 0.05;

// What all groups have in common, or nothing.
std::optional<DescentNumbers> common_descent(
    const torch::optim::Optimizer& optimizer) {
  if (!descends(optimizer)) return std::nullopt;
  const OptimizerTraits& traits = *find_traits(optimizer);
  const auto& groups = optimizer.param_groups();
  const auto first = descent_numbers(traits, groups.front().options());
  for (const auto& group : groups) {
    const auto own = descent_numbers(traits, group.options());
    if (own.momentum != first.momentum || own.nesterov != first.nesterov ||
        own.entering() <= 0) {
      return std::nullopt;
    }
  }
  return first;
}

// scale (H + decay) scale, both numbers a parameter's own.
LinearOperator scaled(
    const LinearOperator& op,
    std::vector<double> scales,
    std::vector<double> decays) {
  return function_operator(
      op.like(),
      [op, scales = std::move(scales), decays = std::move(decays)](
          const TensorVector& v) {
        TensorVector inner;
        for (std::size_t i = 0; i < v.size(); ++i) {
          inner.push_back(v[i].mul(scales[i]));
        }
        TensorVector product = op.apply(inner);
        for (std::size_t i = 0; i < v.size(); ++i) {
          if (decays[i] != 0) {
            product[i] = product[i].add(inner[i], decays[i]);
          }
          product[i] = product[i].mul(scales[i]);
        }
        return product;
      });
}

// The mean of the ranks' operators; where one rank throws all do.
LinearOperator mean_hessian(
    const std::function<LinearOperator()>& make, Reduction* reduction) {
  if (reduction == nullptr) return make();
  std::optional<LinearOperator> own;
  reduction->together([&] { own = make(); });
  return function_operator(
      own->like(), [op = *own, reduction](const TensorVector& v) {
        RankShare share;
        share.failure =
            reduction->attempt([&] { share.tensors = op.apply(v); });
        return average(op.like(), share, *reduction).tensors;
      });
}

TensorVector common_start(const TensorVector& like, Reduction& reduction) {
  TensorVector start;
  for (const at::Tensor& part : like) start.push_back(at::randn_like(part));
  broadcast_state(start, reduction);
  return start;
}

// A loss with the gradient that the closure's backward() leaves: <w, g>.
GraphClosure with_gradient_of(
    const GraphClosure& closure, const TensorVector& parameters) {
  return [&closure, parameters] {
    for (const at::Tensor& parameter : parameters) {
      parameter.mutable_grad().reset();
    }
    check_is_loss(closure(), "the closure");
    at::Tensor sum;
    for (const at::Tensor& parameter : parameters) {
      at::Tensor gradient = parameter.grad();
      if (!gradient.defined()) continue;
      if (gradient.layout() != at::kStrided) gradient = gradient.to_dense();
      // What is left there would look like a backward() of this closure.
      parameter.mutable_grad().reset();
      const at::Tensor term = parameter.mul(gradient.detach()).sum();
      sum = sum.defined() ? sum.add(term) : term;
    }
    // hessian_operator() says what is wrong with one that is undefined.
    return sum;
  };
}

}  // namespace

std::optional<StabilityLimit> measured_max_stable_lr(
    const torch::optim::Optimizer& optimizer,
    const GraphClosure& closure,
    const LRRangeTestOptions& options,
    const std::vector<double>& ratios,
    const TensorVector& buffers,
    Reduction* reduction) {
  const auto& groups = optimizer.param_groups();
  const auto rule = common_descent(optimizer);
  if (!rule) return std::nullopt;
  TensorVector parameters;
  std::vector<double> scales;
  std::vector<double> decays;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto own =
        descent_numbers(*find_traits(optimizer), groups[g].options());
    for (const at::Tensor& parameter : groups[g].params()) {
      if (!parameter.requires_grad()) continue;
      parameters.push_back(parameter);
      // In the long run a dampened buffer is one of smaller gradients.
      scales.push_back(std::sqrt(ratios[g] * own.entering()));
      decays.push_back(own.coupled_decay);
    }
  }
  HessianOptions hessian;
  hessian.buffers(buffers).generators(options.generators());
  const bool has_graph = options.closure() == LRClosure::kReturnsGraph;
  if (!has_graph) hessian.method(HessianMethod::kCentralDifference);
  const GraphClosure loss =
      has_graph ? closure : with_gradient_of(closure, parameters);
  const auto op = scaled(
      mean_hessian(
          [&] { return hessian_operator(loss, parameters, hessian); },
          reduction),
      std::move(scales),
      std::move(decays));
  PowerIterationOptions power;
  power.max_iterations(kMostIterations).tolerance(kTolerance);
  AgreeOnNumbers agree;
  if (reduction != nullptr) {
    power.initial(common_start(op.like(), *reduction));
    // The last bit may differ where processors do, and all must end together.
    agree = [reduction](std::vector<double>& numbers) {
      RankShare share;
      share.numbers = numbers;
      numbers = average({}, share, *reduction).numbers;
    };
  }
  const double value = largest_eigenvalue(op, power, agree).value;
  if (!std::isfinite(value) || value <= 0) return std::nullopt;
  const auto limit = [&](MomentumLimit kind) {
    return max_stable_lr(value, rule->momentum, rule->nesterov, kind);
  };
  return StabilityLimit{
      limit(options.momentum_limit()), limit(MomentumLimit::kQuadratic)};
}

}  // namespace stepsize::detail
