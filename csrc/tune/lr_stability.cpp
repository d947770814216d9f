#include "csrc/tune/lr_stability.h"

#include <ATen/Functions.h>
#include <stepsize/curvature/linear_operator.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/curvature/power_iteration.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/broadcast.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/optim/sgd.h>

#include <cmath>
#include <cstddef>
#include <functional>
#include <utility>

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

// What all groups have in common, or nothing.
std::optional<Descent> common_descent(
    const std::vector<torch::optim::OptimizerParamGroup>& groups) {
  const auto first = descent(groups.front().options());
  for (const auto& group : groups) {
    const auto own = descent(group.options());
    if (!first || !own || own->momentum != first->momentum ||
        own->nesterov != first->nesterov) {
      return std::nullopt;
    }
  }
  return first;
}

// scale H scale, one factor a parameter.
LinearOperator scaled(const LinearOperator& op, std::vector<double> scales) {
  return function_operator(
      op.like(), [op, scales = std::move(scales)](const TensorVector& v) {
        const auto times = [&scales](const TensorVector& vector) {
          TensorVector product;
          for (std::size_t i = 0; i < vector.size(); ++i) {
            product.push_back(vector[i].mul(scales[i]));
          }
          return product;
        };
        return times(op.apply(times(v)));
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

std::optional<StabilityLimit> measured_max_stable_lr(
    const torch::optim::Optimizer& optimizer,
    const LossClosure& closure,
    const LRRangeTestOptions& options,
    const std::vector<double>& ratios,
    const TensorVector& buffers,
    Reduction* reduction) {
  const auto& groups = optimizer.param_groups();
  const auto rule = common_descent(groups);
  if (!rule) return std::nullopt;
  TensorVector parameters;
  std::vector<double> scales;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (const at::Tensor& parameter : groups[g].params()) {
      if (!parameter.requires_grad()) continue;
      parameters.push_back(parameter);
      scales.push_back(std::sqrt(ratios[g]));
    }
  }
  HessianOptions hessian;
  hessian.buffers(buffers).generators(options.generators());
  const bool has_graph = options.closure() == LRClosure::kReturnsGraph;
  if (!has_graph) hessian.method(HessianMethod::kCentralDifference);
  const LossClosure loss =
      has_graph ? closure : with_gradient_of(closure, parameters);
  const auto op = scaled(
      mean_hessian(
          [&] { return hessian_operator(loss, parameters, hessian); },
          reduction),
      std::move(scales));
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
