#include "csrc/curvature/replay.h"

#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstddef>
#include <exception>
#include <utility>

#include "csrc/core/closures.h"
#include "csrc/core/overlap.h"
#include "csrc/curvature/checks.h"
#include "csrc/curvature/vector_math.h"

namespace stepsize::detail {
namespace {

constexpr char kHessianOperator[] = "hessian_operator";

// A BatchNorm without running statistics has undefined buffers.
TensorVector defined_ones(const TensorVector& tensors) {
  TensorVector defined;
  for (const at::Tensor& tensor : tensors) {
    if (tensor.defined()) defined.push_back(tensor);
  }
  return defined;
}

TensorVector joined(TensorVector first, const TensorVector& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

class StateGuard {
 public:
  StateGuard(
      const TensorVector& buffers, const std::vector<at::Generator>& generators)
      : random_state_(generators) {
    for (const at::Tensor& buffer : buffers) {
      // Writes through the alias leave the count of changes alone, so that
      // graphs which have saved the buffer stay valid.
      buffers_.push_back(buffer.variable_data());
      copies_.push_back(buffers_.back().clone());
    }
    forget_casts();
  }
  ~StateGuard() {
    forget_casts();
    random_state_.restore();
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      detail::put_back(buffers_[i], copies_[i]);
    }
  }
  StateGuard(const StateGuard&) = delete;
  StateGuard& operator=(const StateGuard&) = delete;

 private:
  // Autocast keeps what it has cast by the tensor's identity, which does not
  // change when a parameter is lent other values.
  static void forget_casts() { at::autocast::clear_cache(); }

  RandomState random_state_;
  TensorVector buffers_;
  TensorVector copies_;
};

}  // namespace

Replay::Replay(
    GraphClosure closure,
    const TensorVector& parameters,
    const HessianOptions& options)
    : closure_(std::move(closure)),
      parameters_(parameters),
      buffers_(defined_ones(options.buffers())),
      generators_(
          generators_of(joined(parameters_, buffers_), options.generators())),
      start_(generators_) {}

Replay::Evaluation Replay::evaluate(Graph graph) const {
  const StateGuard guard(buffers_, generators_);
  start_.restore();
  const c10::AutoGradMode with_gradients(true);
  const BackwardWatch watch(parameters_);
  const at::Tensor loss = closure_();
  check_loss(kHessianOperator, loss);
  watch.check(kHessianOperator);
  Evaluation evaluation;
  evaluation.loss = loss.detach();
  bool create_graph = graph != Graph::kNone;
  if (graph == Graph::kTried) {
    try {
      evaluation.gradients =
          gradients_of(kHessianOperator, loss, parameters_, true);
      return evaluation;
    } catch (const std::exception&) {
      create_graph = false;
    }
  }
  try {
    evaluation.gradients =
        gradients_of(kHessianOperator, loss, parameters_, create_graph);
  } catch (const std::exception& error) {
    check_graph_was_there(kHessianOperator, error, /*of_closure=*/true);
    throw;
  }
  return evaluation;
}

TensorVector gradients_of(
    const char* function,
    const at::Tensor& loss,
    const TensorVector& parameters,
    bool create_graph) {
  const c10::AutoGradMode with_graph(create_graph);
  return made_dense(
      function,
      torch::autograd::grad(
          {loss},
          parameters,
          /*grad_outputs=*/{},
          /*retain_graph=*/create_graph,
          create_graph,
          /*allow_unused=*/true));
}

}  // namespace stepsize::detail
