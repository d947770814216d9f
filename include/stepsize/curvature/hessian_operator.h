#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <stepsize/curvature/linear_operator.h>
#include <torch/arg.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace stepsize {

/// Returns the loss, a scalar with its graph, and does not call backward().
using GraphClosure = std::function<at::Tensor()>;
/// The same by its former name; torch::optim::Optimizer::LossClosure, which
/// calls backward(), is another one.
using LossClosure = GraphClosure;

/// How a Hessian-vector product is computed.
enum class HessianMethod : std::uint8_t {
  kAutomatic,          ///< kExact; kFiniteDifference where that throws
  kExact,              ///< double backward
  kFiniteDifference,   ///< one-sided: one gradient a product
  kCentralDifference,  ///< two gradients a product, far more precise
};

/// Whether products are differences of gradients, and no graph is asked for.
constexpr bool is_difference(HessianMethod method) {
  return method == HessianMethod::kFiniteDifference ||
         method == HessianMethod::kCentralDifference;
}

/// Options of hessian_operator.
class HessianOptions {
 public:
  TORCH_ARG(HessianMethod, method) = HessianMethod::kAutomatic;
  /// What the closure writes to besides: model->buffers(), that is BatchNorm's
  /// running statistics. Put back bit for bit after each evaluation; undefined
  /// ones are left out.
  TORCH_ARG(TensorVector, buffers);
  /// Generators of your own that the closure draws from. The default ones of
  /// the CPU and of the parameters' devices need not be named.
  TORCH_ARG(std::vector<at::Generator>, generators);
  /// Length of a difference's step, relative to the parameters w: they move by
  /// epsilon (1 + |w|) along v / |v|. Finite and >= 0; 0 stands for e^(1/2),
  /// for central differences e^(1/3) / 4, e the machine epsilon of the coarsest
  /// parameter: the powers of Nocedal and Wright, Numerical Optimization,
  /// section 8.1, and a quarter as networks bend much along the leading
  /// eigenvector.
  TORCH_ARG(double, epsilon) = 0.0;
  /// The gradient at the point if you have it already, one tensor a parameter,
  /// which is copied: spares the one-sided difference its first gradient. It
  /// must come from the same loss and random numbers. With dropout, take the
  /// generator's state before the pass that gave it, and set that again before
  /// you make the operator.
  TORCH_ARG(TensorVector, gradient);
  /// Whether an exact operator keeps the graph of the gradient. If not, each
  /// product evaluates the closure anew, which costs a loss and a gradient
  /// more and frees the graph in between: for a sum over micro-batches. The
  /// gradient itself stays.
  TORCH_ARG(bool, retain_graph) = true;
};

/// The Hessian of a loss over its parameters, at the values that these have
/// when the operator is made. After an update make a new one: parameters that
/// have changed are refused, by an exact operator as far as LibTorch counts
/// changes (its own C++ SGD writes uncounted), by a difference also where some
/// hundred samples of each differ. The closure has to see the same data each
/// time.
///
/// Neither the parameters' `grad`, nor a graph of the user's, nor the random
/// state, nor the named buffers notice. All evaluations of a closure start from
/// the random state at construction, so that dropout's masks agree. What
/// autocast has cached is dropped.
///
/// A difference lends the parameters other memory: a closure that reads their
/// values through another alias, a flat buffer or a detached copy of the
/// handle, sees them unmoved.
///
/// Cost a product: exact, one double backward over the kept graph; one-sided
/// difference, one gradient and a pass over the parameters. Both keep memory:
/// exact, the graph of the gradient; a difference, two copies of the
/// parameters.
///
/// An exact product throws where an operator has no double backward:
/// EmbeddingBag, ctc_loss, flash attention. A custom backward that leaves the
/// graph (detach, NoGradGuard) is silently taken as constant by autograd: pick
/// a difference for it.
class HessianOperator : public LinearOperator {
 public:
  /// How products are computed; kAutomatic until the first product has
  /// decided.
  HessianMethod method() const;
  /// The loss, without a graph; undefined where only gradients were given, or
  /// where options.gradient() spared the evaluation.
  at::Tensor loss() const;
  /// The gradient of the loss, without a graph; zeros for unused parameters.
  const TensorVector& gradient() const;
  /// The same, undefined for unused parameters: as an optimizer sees it that
  /// leaves those alone.
  TensorVector used_gradient() const;
  /// Why kAutomatic took a difference: what the double backward threw. Empty
  /// where it did not.
  const std::string& fallback_reason() const;

  struct State;

 private:
  explicit HessianOperator(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;

  friend HessianOperator hessian_operator(
      const GraphClosure&, const TensorVector&, const HessianOptions&);
  friend HessianOperator hessian_operator(
      const at::Tensor&, const TensorVector&);
  friend HessianOperator hessian_operator(
      const TensorVector&, const TensorVector&);
};

/// From a closure. Evaluates it once, but not where a difference is given
/// the gradient. Throws c10::Error where the parameters are none, frozen, no
/// leaves, sparse, not of floating point or named twice, where an option is out
/// of its range, and where the loss is no scalar with a graph; what the closure
/// throws passes through. All is then as it was. The operator keeps the
/// closure: what that refers to must live as long.
HessianOperator hessian_operator(
    const GraphClosure& closure,
    const TensorVector& parameters,
    const HessianOptions& options = {});

/// From a loss that has been computed: exact products on its graph, which is
/// kept. A backward() of yours on the same loss needs retain_graph.
HessianOperator hessian_operator(
    const at::Tensor& loss, const TensorVector& parameters);

/// From gradients with a graph, as torch::autograd::grad returns them with
/// create_graph: one double backward a product and nothing else. An undefined
/// gradient, or one without a graph, is constant: its part is zero.
HessianOperator hessian_operator(
    const TensorVector& gradients, const TensorVector& parameters);

}  // namespace stepsize
