#include "csrc/tune/lr_loss_pass.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/reduction.h>

#include <algorithm>
#include <cstddef>
#include <string>

#include "csrc/core/overlap.h"
#include "csrc/tune/lr_range_options.h"

namespace stepsize::detail {

void check_is_loss(const at::Tensor& loss, const char* whose) {
  TORCH_CHECK(
      loss.defined(), kLRRangeTest, ": ", whose, " returned an undefined loss");
  TORCH_CHECK(
      loss.numel() == 1,
      kLRRangeTest,
      ": ",
      whose,
      " must return a loss of one element, got one of shape ",
      loss.sizes());
}

LossPass::LossPass(
    const RangeTestClosure& closure,
    const LRRangeTestOptions& options,
    const TensorVector& parameters,
    bool keeps_graph,
    bool averages,
    Reduction* reduction)
    : closure_(closure),
      calls_backward_(options.closure() == LRClosure::kCallsBackward),
      keeps_graph_(keeps_graph),
      averages_(averages),
      passes_(options.accumulation_steps()),
      parameters_(parameters),
      reduction_(reduction) {}

void LossPass::clear_gradients() {
  for (const at::Tensor& parameter : parameters_) {
    if (parameter.grad().defined()) parameter.mutable_grad().reset();
  }
}

bool LossPass::has_gradient() const {
  for (const at::Tensor& parameter : parameters_) {
    if (parameter.grad().defined()) return true;
  }
  return false;
}

void LossPass::see_gradients() {
  // Parameters of a first pass may all be unused in a later one.
  seen_gradient_ = seen_gradient_ || has_gradient();
  TORCH_CHECK(
      seen_gradient_,
      kLRRangeTest,
      calls_backward_
          ? ": the closure left no gradient: it must call backward(). For one "
            "that returns the loss with its graph set closure(kReturnsGraph)"
          : ": the closure returned a loss without a graph on all ranks");
}

// One call of the user's closure, with backward done unless keeps_graph_.
at::Tensor LossPass::evaluate() {
  clear_gradients();
  const c10::AutoGradMode with_gradients(true);
  at::Tensor loss = closure_();
  check_is_loss(loss, "the closure");
  precision_ = std::max(precision_, precision_of(loss));
  if (calls_backward_) {
    // A rank may have no example: what counts is whether any has a gradient.
    if (reduction_ == nullptr) see_gradients();
    return loss.detach();
  }
  TORCH_CHECK(
      !has_gradient(),
      kLRRangeTest,
      ": the closure called backward(), which kReturnsGraph leaves to the "
      "test: set closure(kCallsBackward)");
  // As with backward: one rank may have none.
  TORCH_CHECK(
      loss.requires_grad() || (reduction_ != nullptr && !keeps_graph_),
      kLRRangeTest,
      ": the closure returned a loss without a graph");
  if (keeps_graph_) return loss;
  if (loss.requires_grad()) loss.backward();
  return loss.detach();
}

void LossPass::add_gradients(TensorVector& sums) {
  const c10::AutoGradMode no_grad(false);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor gradient = parameters_[i].grad();
    if (!gradient.defined()) continue;
    if (!sums[i].defined()) {
      // One that is expanded cannot be added to.
      sums[i] = gradient.layout() == at::kStrided && may_overlap(gradient)
                    ? gradient.contiguous()
                    : gradient;
    } else if (sums[i].is_sparse() == gradient.is_sparse()) {
      sums[i].add_(gradient);
    } else {
      // Dense plus sparse, in this order.
      sums[i] =
          sums[i].is_sparse() ? gradient.add(sums[i]) : sums[i].add(gradient);
    }
  }
}

void LossPass::set_mean_gradients(const TensorVector& sums) {
  const c10::AutoGradMode no_grad(false);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (!sums[i].defined() && !parameters_[i].grad().defined()) continue;
    if (sums[i].defined()) sums[i].div_(static_cast<double>(passes_));
    parameters_[i].mutable_grad() = sums[i];
  }
}

at::Tensor LossPass::mean_of_passes() {
  at::Tensor loss = evaluate();
  if (passes_ > 1) {
    TensorVector sums(parameters_.size());
    for (int64_t pass = 1;; ++pass) {
      if (!keeps_graph_) add_gradients(sums);
      if (pass == passes_) break;
      loss = loss.add(evaluate());
    }
    loss = loss.div(static_cast<double>(passes_));
    if (!keeps_graph_) set_mean_gradients(sums);
  }
  return loss;
}

at::Tensor LossPass::operator()() {
  const auto passes = [this] { return mean_of_passes(); };
  at::Tensor loss = reduction_ != nullptr && !averages_
                        ? evaluate_on_ranks(passes, parameters_, *reduction_)
                        : passes();
  if (!first_loss_.defined()) first_loss_ = loss.detach();
  return loss;
}

double LossPass::end() {
  TORCH_CHECK(
      first_loss_.defined(),
      kLRRangeTest,
      ": the optimizer's step() did not call the closure that it was given");
  const auto loss = first_loss_.item<double>();
  if (reduction_ == nullptr) return loss;
  // The gradients are means now, and the same on all ranks.
  if (!keeps_graph_) see_gradients();
  return averages_ ? reduction_->mean(loss) : loss;
}

double precision_of(const at::Tensor& loss) {
  switch (loss.scalar_type()) {
    case at::kBFloat16:
      return 0x1p-7;
    case at::kHalf:
      return 0x1p-10;
    case at::kFloat:
      return 0x1p-23;
    default:
      return 0x1p-52;
  }
}

}  // namespace stepsize::detail
