#include "csrc/tune/lr_stability.h"

#include <ATen/Functions.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/curvature/power_iteration.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/optim/sgd.h>

#include <cmath>

#include "csrc/tune/lr_loss_pass.h"

namespace stepsize::detail {
namespace {

// A scale and no target: a few per cent will do.
constexpr int64_t kMostIterations = 30;
constexpr double kTolerance = 0.05;

struct Descent {
  double momentum;
  bool nesterov;
};

template <typename Options>
std::optional<Descent> descent_of(
    const torch::optim::OptimizerOptions& options) {
  const auto* own = dynamic_cast<const Options*>(&options);
  if (own == nullptr) return std::nullopt;
  return Descent{own->momentum(), own->nesterov()};
}

std::optional<Descent> descent(const torch::optim::OptimizerOptions& options) {
  auto found = descent_of<torch::optim::SGDOptions>(options);
  if (!found) found = descent_of<ClippedSGDOptions>(options);
  if (!found) found = descent_of<RollbackSGDOptions>(options);
  return found;
}

// A loss with the gradient that the closure's backward() leaves: <w, g>.
LossClosure with_gradient_of(
    const LossClosure& closure, const TensorVector& parameters) {
  return [&closure, parameters] {
    for (const at::Tensor& parameter : parameters) {
      parameter.mutable_grad().reset();
    }
    check_is_loss(closure(), "the closure");
    at::Tensor sum;
    for (const at::Tensor& parameter : parameters) {
      const at::Tensor& gradient = parameter.grad();
      if (!gradient.defined()) continue;
      const at::Tensor term = parameter.mul(gradient.detach()).sum();
      sum = sum.defined() ? sum.add(term) : term;
    }
    // hessian_operator() says what is wrong with one that is undefined.
    return sum;
  };
}

}  // namespace

std::optional<double> measured_max_stable_lr(
    const torch::optim::Optimizer& optimizer,
    const LossClosure& closure,
    const LRRangeTestOptions& options,
    const TensorVector& buffers) {
  const auto rule = descent(optimizer.param_groups().front().options());
  if (!rule) return std::nullopt;
  TensorVector parameters;
  for (const auto& group : optimizer.param_groups()) {
    for (const at::Tensor& parameter : group.params()) {
      if (parameter.requires_grad()) parameters.push_back(parameter);
    }
  }
  HessianOptions hessian;
  hessian.buffers(buffers).generators(options.generators());
  const bool has_graph = options.closure() == LRClosure::kReturnsGraph;
  if (!has_graph) hessian.method(HessianMethod::kCentralDifference);
  const LossClosure loss =
      has_graph ? closure : with_gradient_of(closure, parameters);
  const auto op = hessian_operator(loss, parameters, hessian);
  const auto found = largest_eigenvalue(
      op,
      PowerIterationOptions()
          .max_iterations(kMostIterations)
          .tolerance(kTolerance));
  if (!std::isfinite(found.value) || found.value <= 0) return std::nullopt;
  return max_stable_lr(
      found.value, rule->momentum, rule->nesterov, options.momentum_limit());
}

}  // namespace stepsize::detail
