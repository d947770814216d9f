#include <stepsize/adaptive/diagonal_hessian_optimizer.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/kernels/grad_norm.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/serialize/archive.h>

#include <cmath>
#include <exception>
#include <string>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/closures.h"
#include "csrc/optim/operand_checks.h"
#include "csrc/optim/rank_evaluation.h"

namespace stepsize {
namespace {

// Generators seeded by numbers in a row would begin alike.
uint64_t product_seed(int64_t seed, int64_t product) {
  return static_cast<uint64_t>(seed) +
         static_cast<uint64_t>(product) * 0x9e3779b97f4a7c15ULL;
}

// Of +1 and -1, drawn on the CPU one after the other.
std::vector<at::Tensor> random_signs(
    const std::vector<at::Tensor>& like, uint64_t seed) {
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  std::vector<at::Tensor> signs;
  signs.reserve(like.size());
  for (const at::Tensor& part : like) {
    const at::Tensor bits =
        at::empty(part.sizes(), at::TensorOptions(at::kFloat).device(at::kCPU));
    bits.random_(0, 2, generator).mul_(2).sub_(1);
    signs.push_back(bits.to(part.device(), part.scalar_type()));
  }
  return signs;
}

double norm_of(const std::vector<at::Tensor>& tensors) {
  return tensors.empty() ? 0 : global_norm(tensors).item<double>();
}

}  // namespace

/// One update's parts, in the order of `parameters`.
struct DiagonalHessianOptimizer::Evaluation {
  std::vector<at::Tensor> parameters;
  std::vector<detail::Place> places;
  // Why this rank takes no step, to be thrown where the others hear of it.
  std::exception_ptr refusal;
  std::vector<bool> due;
  bool wants_graph = false;

  // With other ranks loss and gradients are the means; the graph is that of
  // this rank's gradients.
  at::Tensor loss;
  std::vector<at::Tensor> gradients;
  std::vector<at::Tensor> graph;
};

DiagonalHessianOptimizer::DiagonalHessianOptimizer(
    std::unique_ptr<torch::optim::OptimizerOptions> defaults)
    : IndexedOptimizer(std::move(defaults)) {}

// One without state waits for a product, or its average would begin at 0.
bool DiagonalHessianOptimizer::is_due(std::size_t group, std::size_t index) {
  const int64_t steps = group_state(group).steps[index];
  return (steps == 0 ? updates_ : steps) % interval() == 0;
}

void DiagonalHessianOptimizer::evaluate_here(
    Evaluation& evaluation, const LossClosure& closure) {
  const detail::BackwardWatch watch(evaluation.parameters);
  const c10::AutoGradMode enable_grad(true);
  const at::Tensor loss = closure();
  TORCH_CHECK(
      loss.defined() && loss.numel() == 1 && loss.requires_grad(),
      kind(),
      ": the closure must return the loss as a scalar with its graph");
  watch.check(kind());
  const bool with_graph = evaluation.wants_graph;
  try {
    evaluation.gradients = torch::autograd::grad(
        {loss.dim() == 0 ? loss : loss.reshape({})},
        evaluation.parameters,
        /*grad_outputs=*/{},
        /*retain_graph=*/with_graph,
        /*create_graph=*/with_graph,
        /*allow_unused=*/true);
  } catch (const std::exception& error) {
    detail::check_graph_was_there(kind(), error, /*of_closure=*/true);
    throw;
  }
  evaluation.loss = loss.detach();
  if (with_graph) evaluation.graph = evaluation.gradients;
  for (std::size_t i = 0; i < evaluation.gradients.size(); ++i) {
    at::Tensor& gradient = evaluation.gradients[i];
    if (gradient.defined()) gradient = gradient.detach();
    const auto [group, index] = evaluation.places[i];
    check_gradient(group, index, gradient);
  }
}

void DiagonalHessianOptimizer::evaluate_with_graph(
    Evaluation& evaluation, const LossClosure& closure) {
  const auto here = [&] {
    if (evaluation.refusal) std::rethrow_exception(evaluation.refusal);
    evaluate_here(evaluation, closure);
  };
  if (reduction() == nullptr) {
    here();
    return;
  }
  RankShare share;
  share.failure = reduction()->attempt(here);
  share.numbers = {0};
  share.common = detail::options_of(*this);
  share.common.emplace_back(
      "whether a product is due", evaluation.wants_graph ? 1.0 : 0.0);
  share.common.emplace_back(
      "the number of products", static_cast<double>(products_));
  if (!share.failure) {
    share.tensors = evaluation.gradients;
    share.numbers = {evaluation.loss.item<double>()};
  }
  const RankMeans means = average(evaluation.parameters, share, *reduction());
  evaluation.gradients = means.tensors;
  evaluation.loss = at::full_like(evaluation.loss, means.numbers[0]);
}

std::vector<at::Tensor> DiagonalHessianOptimizer::estimate(
    const std::vector<at::Tensor>& gradients,
    const std::vector<at::Tensor>& parameters) {
  const auto estimate_here = [&](int64_t seed) {
    const auto z = random_signs(parameters, product_seed(seed, products_));
    auto diagonal = hessian_operator(gradients, parameters).apply(z);
    for (std::size_t i = 0; i < diagonal.size(); ++i) {
      const auto type = detail::state_type(parameters[i]);
      diagonal[i] = diagonal[i].to(type) * z[i].to(type);
    }
    return diagonal;
  };
  if (reduction() == nullptr) return estimate_here(seed());
  // Ranks may have other seeds.
  const auto common =
      std::stoll(reduction()->broadcast_text(std::to_string(seed())));
  RankShare share;
  share.failure = reduction()->attempt(
      [&] { share.tensors = estimate_here(static_cast<int64_t>(common)); });
  std::vector<at::Tensor> like;
  for (const at::Tensor& parameter : parameters) {
    like.push_back(new_state(parameter));
  }
  return average(like, share, *reduction()).tensors;
}

at::Tensor DiagonalHessianOptimizer::step(LossClosure closure) {
  Evaluation evaluation;
  evaluation.refusal = detail::refusal_of(
      [&] {
        TORCH_CHECK(
            closure != nullptr,
            kind(),
            ": step() wants a closure that returns the loss with its graph");
        check_all_options();
        bool any = false;
        for (std::size_t group = 0; group < param_groups().size(); ++group) {
          const auto& parameters = param_groups()[group].params();
          for (std::size_t i = 0; i < parameters.size(); ++i) {
            any = any || parameters[i].requires_grad();
          }
        }
        TORCH_CHECK(any, kind(), ": no parameter requires a gradient");
      },
      reduction().get());
  for (std::size_t group = 0; group < param_groups().size(); ++group) {
    const auto& parameters = param_groups()[group].params();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (!parameters[i].defined() || !parameters[i].requires_grad()) continue;
      evaluation.parameters.push_back(parameters[i]);
      evaluation.places.push_back({group, i});
      const bool due = !evaluation.refusal && is_due(group, i);
      evaluation.due.push_back(due);
      evaluation.wants_graph = evaluation.wants_graph || due;
    }
  }
  evaluate_with_graph(evaluation, closure);

  const c10::AutoGradMode no_grad(false);
  std::vector<ParameterUpdate> updates;
  std::vector<at::Tensor> gradients;
  // Of those that are measured: position among the updates, gradient with its
  // graph, parameter.
  std::vector<std::size_t> measured;
  std::vector<at::Tensor> graph;
  std::vector<at::Tensor> parameters;
  for (std::size_t i = 0; i < evaluation.parameters.size(); ++i) {
    const at::Tensor& gradient = evaluation.gradients[i];
    if (!gradient.defined()) continue;
    gradients.push_back(gradient);
    const auto [group, index] = evaluation.places[i];
    const GroupState& own = group_state(group);
    if (own.steps[index] == 0 && !evaluation.due[i]) continue;
    const at::Tensor& parameter = evaluation.parameters[i];
    if (evaluation.due[i]) {
      measured.push_back(updates.size());
      graph.push_back(evaluation.graph[i]);
      parameters.push_back(parameter);
    }
    auto& update = updates.emplace_back(ParameterUpdate{
        group, index, parameter, gradient, {}, own.steps[index] + 1});
    for (const auto& slot : own.slots) {
      update.state.push_back(
          slot[index].defined() ? slot[index] : new_state(parameter));
    }
  }
  evaluation.graph.clear();
  last_grad_norm_ = norm_of(gradients);
  if (!std::isfinite(evaluation.loss.item<double>()) ||
      !std::isfinite(last_grad_norm_)) {
    ++skipped_;
    return evaluation.loss;
  }
  std::vector<at::Tensor> diagonals(updates.size());
  if (!measured.empty()) {
    const auto diagonal = estimate(graph, parameters);
    graph.clear();
    ++products_;
    if (!std::isfinite(norm_of(diagonal))) {
      ++skipped_;
      return evaluation.loss;
    }
    for (std::size_t i = 0; i < measured.size(); ++i) {
      diagonals[measured[i]] = diagonal[i];
    }
  }
  apply(updates, diagonals);
  take_over(std::move(updates));
  ++updates_;
  return evaluation.loss;
}

void DiagonalHessianOptimizer::save_counters(
    torch::serialize::OutputArchive& archive) const {
  detail::write_int(archive, "updates", updates_);
  detail::write_int(archive, "products", products_);
  detail::write_int(archive, "skipped_steps", skipped_);
}

std::function<void()> DiagonalHessianOptimizer::read_counters(
    torch::serialize::InputArchive& archive) {
  const auto updates = detail::read_int(archive, kind(), "updates");
  const auto products = detail::read_int(archive, kind(), "products");
  const auto skipped = detail::read_int(archive, kind(), "skipped_steps");
  return [this, updates, products, skipped] {
    updates_ = updates;
    products_ = products;
    skipped_ = skipped;
  };
}

}  // namespace stepsize
