#include "csrc/curvature/replay.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <mutex>
#include <utility>

#include "csrc/core/overlap.h"
#include "csrc/curvature/checks.h"

namespace stepsize::detail {
namespace {

std::vector<at::Tensor> states_of(std::vector<at::Generator>& generators) {
  std::vector<at::Tensor> states;
  states.reserve(generators.size());
  for (at::Generator& generator : generators) {
    const std::lock_guard<std::mutex> lock(generator.mutex());
    states.push_back(generator.get_state());
  }
  return states;
}

void set_states(
    std::vector<at::Generator>& generators,
    const std::vector<at::Tensor>& states) {
  for (std::size_t i = 0; i < generators.size(); ++i) {
    const std::lock_guard<std::mutex> lock(generators[i].mutex());
    generators[i].set_state(states[i]);
  }
}

// A BatchNorm without running statistics has undefined buffers.
TensorVector defined_ones(const TensorVector& tensors) {
  TensorVector defined;
  for (const at::Tensor& tensor : tensors) {
    if (tensor.defined()) defined.push_back(tensor);
  }
  return defined;
}

// The user's generators, the CPU's and those of the tensors' devices.
std::vector<at::Generator> all_generators(
    std::vector<at::Generator> generators,
    const TensorVector& parameters,
    const TensorVector& buffers) {
  const auto add = [&generators](const at::Generator& generator) {
    if (std::find(generators.begin(), generators.end(), generator) ==
        generators.end()) {
      generators.push_back(generator);
    }
  };
  add(at::globalContext().defaultGenerator(at::kCPU));
  for (const TensorVector* list : {&parameters, &buffers}) {
    for (const at::Tensor& tensor : *list) {
      add(at::globalContext().defaultGenerator(tensor.device()));
    }
  }
  return generators;
}

class StateGuard {
 public:
  StateGuard(const TensorVector& buffers, std::vector<at::Generator> generators)
      : generators_(std::move(generators)), states_(states_of(generators_)) {
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
    set_states(generators_, states_);
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      detail::put_back(buffers_[i], copies_[i]);
    }
  }
  StateGuard(const StateGuard&) = delete;
  StateGuard& operator=(const StateGuard&) = delete;

  void start_from(const std::vector<at::Tensor>& states) {
    set_states(generators_, states);
  }

 private:
  // Autocast keeps what it has cast by the tensor's identity, which does not
  // change when a parameter is lent other values.
  static void forget_casts() { at::autocast::clear_cache(); }

  std::vector<at::Generator> generators_;
  std::vector<at::Tensor> states_;
  TensorVector buffers_;
  TensorVector copies_;
};

}  // namespace

Replay::Replay(
    LossClosure closure,
    const TensorVector& parameters,
    const HessianOptions& options)
    : closure_(std::move(closure)),
      parameters_(parameters),
      buffers_(defined_ones(options.buffers())),
      generators_(all_generators(options.generators(), parameters_, buffers_)),
      start_(states_of(generators_)) {}

Replay::Evaluation Replay::evaluate(Graph graph) const {
  StateGuard guard(buffers_, generators_);
  guard.start_from(start_);
  const c10::AutoGradMode with_gradients(true);
  const at::Tensor loss = closure_();
  check_loss("hessian_operator", loss);
  Evaluation evaluation;
  evaluation.loss = loss.detach();
  bool create_graph = graph != Graph::kNone;
  if (graph == Graph::kTried) {
    try {
      evaluation.gradients = gradients_of(loss, parameters_, true);
      return evaluation;
    } catch (const std::exception&) {
      create_graph = false;
    }
  }
  evaluation.gradients = gradients_of(loss, parameters_, create_graph);
  return evaluation;
}

TensorVector gradients_of(
    const at::Tensor& loss, const TensorVector& parameters, bool create_graph) {
  return torch::autograd::grad(
      {loss},
      parameters,
      /*grad_outputs=*/{},
      /*retain_graph=*/create_graph,
      create_graph,
      /*allow_unused=*/true);
}

}  // namespace stepsize::detail
