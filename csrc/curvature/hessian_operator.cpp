#include <ATen/ops/scalar_tensor.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/curvature/hessian_operator.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "csrc/core/check.h"
#include "csrc/core/closures.h"
#include "csrc/curvature/checks.h"
#include "csrc/curvature/double_backward.h"
#include "csrc/curvature/finite_difference.h"
#include "csrc/curvature/replay.h"
#include "csrc/curvature/vector_math.h"

namespace stepsize {
namespace {

constexpr char kHessianOperator[] = "hessian_operator";

TensorVector without_graph(
    const TensorVector& gradients, const TensorVector& parameters) {
  return detail::matched(
      kHessianOperator, "the gradient", gradients, parameters);
}

template <typename Scalar>
double sampled_square(const at::Tensor& part, int64_t step) {
  const auto* data = part.data_ptr<Scalar>();
  double sum = 0;
  for (int64_t i = 0; i < part.numel(); i += step) {
    sum += static_cast<double>(data[i]) * static_cast<double>(data[i]);
  }
  return sum;
}

// The sum of squares of some elements of each parameter: what an update writes
// shows there, at a cost that no product notices.
at::Tensor square_of(const TensorVector& parameters) {
  constexpr int64_t kSamples = 256;
  double host = 0;
  TensorVector values;
  for (const at::Tensor& part : parameters) {
    const int64_t step = std::max<int64_t>(part.numel() / kSamples, 1);
    const at::ScalarType type = part.scalar_type();
    if (part.is_cpu() && part.is_non_overlapping_and_dense() &&
        !part._is_zerotensor() && (type == at::kFloat || type == at::kDouble)) {
      host += type == at::kFloat ? sampled_square<float>(part, step)
                                 : sampled_square<double>(part, step);
      continue;
    }
    const at::Tensor flat = part.detach().reshape(-1);
    values.push_back(flat.slice(/*dim=*/0, 0, flat.numel(), step).contiguous());
  }
  if (values.empty()) return at::scalar_tensor(host, at::kDouble);
  return detail::dot(values, values).add(host);
}

}  // namespace

struct HessianOperator::State {
  TensorVector parameters;
  std::vector<int64_t> versions;
  at::Tensor square;  // square_of(), where a product may become a difference
  HessianMethod method = HessianMethod::kExact;
  std::string fallback_reason;
  HessianOptions options;
  std::optional<detail::Replay> replay;
  at::Tensor loss;
  TensorVector gradients;  // with their graph, where that is kept
  TensorVector gradient;   // without
  std::vector<bool> used;  // whether there is one
  std::optional<detail::FiniteDifference> difference;

  void check_unchanged() const {
    for (std::size_t i = 0; i < versions.size(); ++i) {
      TORCH_CHECK(
          static_cast<int64_t>(parameters[i]._version()) == versions[i],
          kHessianOperator,
          ": parameter ",
          i,
          " has changed since the operator was made: make a new one");
    }
    if (!square.defined() || method == HessianMethod::kExact) return;
    // LibTorch's own C++ SGD writes past the count of changes.
    const std::vector<double> squares =
        detail::to_host({square, square_of(parameters)});
    TORCH_CHECK(
        squares[0] == squares[1] ||
            (std::isnan(squares[0]) && std::isnan(squares[1])),
        kHessianOperator,
        ": the parameters have changed since the operator was made: make a new "
        "one");
  }

  void note_used(const TensorVector& given) {
    used.clear();
    for (const at::Tensor& part : given) used.push_back(part.defined());
  }

  void fall_back(const std::string& reason) {
    method = HessianMethod::kFiniteDifference;
    fallback_reason = reason;
    gradients.clear();
  }

  // Evaluates the closure at the point, as far as its method asks for it.
  void prepare() {
    if (is_difference(method)) {
      if (!options.gradient().empty()) {
        note_used(options.gradient());
        gradient = without_graph(options.gradient(), parameters);
        // It mostly is the parameters' grad, which the user goes on writing.
        for (at::Tensor& part : gradient) part = part.clone();
        options.gradient({});
        return;
      }
      take(replay->evaluate(detail::Replay::Graph::kNone));
      return;
    }
    const bool automatic = method == HessianMethod::kAutomatic;
    take(replay->evaluate(
        automatic ? detail::Replay::Graph::kTried
                  : detail::Replay::Graph::kRequired));
    // A loss that is linear in the parameters looks like this, and so does a
    // backward that leaves the graph. A difference is right for both.
    if (automatic && !detail::has_graph(gradients)) {
      fall_back("the gradient has no graph");
    } else if (!options.retain_graph()) {
      gradients.clear();
    }
  }

  void take(const detail::Replay::Evaluation& evaluation) {
    loss = evaluation.loss;
    gradients = evaluation.gradients;
    note_used(gradients);
    gradient = without_graph(gradients, parameters);
    if (is_difference(method)) gradients.clear();
  }

  // The gradients with their graph: the kept ones, or evaluated anew.
  TensorVector gradients_with(detail::Replay::Graph graph) const {
    if (!gradients.empty() || !replay) return gradients;
    return replay->evaluate(graph).gradients;
  }

  // Several passes over one graph.
  std::vector<TensorVector> exact(
      const TensorVector& graph,
      const std::vector<TensorVector>& vectors) const {
    std::vector<TensorVector> results;
    results.reserve(vectors.size());
    for (const TensorVector& v : vectors) {
      results.push_back(detail::double_backward(graph, parameters, v));
    }
    return results;
  }

  // Settles the method by the first vector, as one after the other would: what
  // a later one throws passes through, and so do errors of the closure itself.
  std::vector<TensorVector> first_products(
      const std::vector<TensorVector>& vectors) {
    std::string reason;
    {
      const TensorVector graph = gradients_with(detail::Replay::Graph::kTried);
      std::vector<TensorVector> results;
      try {
        results.push_back(
            detail::double_backward(graph, parameters, vectors.front()));
        method = HessianMethod::kExact;
      } catch (const std::exception& error) {
        reason = error.what();
      }
      if (method == HessianMethod::kExact) {
        for (std::size_t k = 1; k < vectors.size(); ++k) {
          results.push_back(
              detail::double_backward(graph, parameters, vectors[k]));
        }
        return results;
      }
      gradients.clear();
    }
    // What threw may be a batch that was written in between: both gradients of
    // a difference have to see the same one.
    const auto evaluation = replay->evaluate(detail::Replay::Graph::kNone);
    fall_back(reason);
    take(evaluation);
    return {};
  }

  std::vector<TensorVector> products(const std::vector<TensorVector>& vectors) {
    check_unchanged();
    if (method == HessianMethod::kExact) {
      return exact(gradients_with(detail::Replay::Graph::kRequired), vectors);
    }
    if (method == HessianMethod::kAutomatic) {
      std::vector<TensorVector> results = first_products(vectors);
      if (method == HessianMethod::kExact) return results;
    }
    if (!difference) {
      difference.emplace(
          parameters,
          method == HessianMethod::kCentralDifference,
          options.epsilon());
    }
    std::vector<TensorVector> results;
    results.reserve(vectors.size());
    for (const TensorVector& v : vectors) {
      results.push_back(difference->product(*replay, gradient, v));
    }
    return results;
  }

  // Whether each product evaluates the closure, which several can share. The
  // gradients of a difference have nothing in common.
  bool shares_work() const {
    return replay && !is_difference(method) && !options.retain_graph();
  }
};

HessianOperator::HessianOperator(std::shared_ptr<State> state)
    : LinearOperator(
          state->parameters,
          [state](const TensorVector& v) {
            return std::move(state->products({v}).front());
          },
          [state](const std::vector<TensorVector>& vectors) {
            return state->products(vectors);
          },
          [state] { return state->shares_work(); }),
      state_(std::move(state)) {}

HessianMethod HessianOperator::method() const { return state_->method; }

const std::string& HessianOperator::fallback_reason() const {
  return state_->fallback_reason;
}

at::Tensor HessianOperator::loss() const { return state_->loss; }

const TensorVector& HessianOperator::gradient() const {
  return state_->gradient;
}

TensorVector HessianOperator::used_gradient() const {
  TensorVector gradient = state_->gradient;
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    if (!state_->used[i]) gradient[i].reset();
  }
  return gradient;
}

HessianOperator hessian_operator(
    const GraphClosure& closure,
    const TensorVector& parameters,
    const HessianOptions& options) {
  TORCH_CHECK(closure != nullptr, kHessianOperator, ": the closure is empty");
  detail::check_parameters(kHessianOperator, parameters, /*leaves=*/true);
  detail::check_option(
      std::isfinite(options.epsilon()) && options.epsilon() >= 0,
      kHessianOperator,
      "epsilon",
      "finite and >= 0",
      options.epsilon());
  auto state = std::make_shared<HessianOperator::State>();
  state->parameters = parameters;
  for (const at::Tensor& parameter : parameters) {
    state->versions.push_back(static_cast<int64_t>(parameter._version()));
  }
  state->method = options.method();
  state->options = options;
  state->replay.emplace(closure, parameters, options);
  if (options.method() != HessianMethod::kExact) {
    state->square = square_of(parameters);
  }
  state->prepare();
  return HessianOperator(std::move(state));
}

HessianOperator hessian_operator(
    const at::Tensor& loss, const TensorVector& parameters) {
  detail::check_parameters(kHessianOperator, parameters, /*leaves=*/false);
  detail::check_loss(kHessianOperator, loss);
  auto state = std::make_shared<HessianOperator::State>();
  state->parameters = parameters;
  try {
    state->take(
        {loss.detach(),
         detail::gradients_of(
             kHessianOperator, loss, parameters, /*create_graph=*/true)});
  } catch (const std::exception& error) {
    detail::check_graph_was_there(
        kHessianOperator, error, /*of_closure=*/false);
    throw;
  }
  return HessianOperator(std::move(state));
}

HessianOperator hessian_operator(
    const TensorVector& gradients, const TensorVector& parameters) {
  detail::check_parameters(kHessianOperator, parameters, /*leaves=*/false);
  auto state = std::make_shared<HessianOperator::State>();
  state->parameters = parameters;
  state->gradient = without_graph(gradients, parameters);
  const c10::AutoGradMode with_graph(true);
  state->gradients = detail::made_dense(kHessianOperator, gradients);
  state->note_used(gradients);
  return HessianOperator(std::move(state));
}

}  // namespace stepsize
