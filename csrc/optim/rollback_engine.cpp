#include "csrc/optim/rollback_engine.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Type.h>
#include <stepsize/kernels/grad_norm.h>
#include <stepsize/state/optimizer_traits.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <typeinfo>
#include <utility>

#include "csrc/core/overlap.h"
#include "csrc/optim/rank_evaluation.h"
#include "csrc/optim/rollback_options.h"

namespace stepsize::detail {
namespace {

// NaN where it is not one number.
double value_of(const at::Tensor& loss) {
  return loss.defined() && loss.numel() == 1
             ? loss.item<double>()
             : std::numeric_limits<double>::quiet_NaN();
}

std::unique_ptr<OptimizerState> state_that_can_go_back(
    const std::string& kind, torch::optim::Optimizer& optimizer) {
  const OptimizerTraits* const traits = find_traits(optimizer);
  TORCH_CHECK(
      traits == nullptr || traits->closure_calls() != ClosureCalls::kManyTimes,
      kind,
      ": cannot put back the state of ",
      c10::demangle(typeid(optimizer).name()),
      ", whose step evaluates its closure many times: use its line search");
  return optimizer_state(kind, optimizer);
}

}  // namespace

RollbackEngine::RollbackEngine(
    std::string kind,
    torch::optim::Optimizer& optimizer,
    const RollbackOptions& options)
    : kind_(std::move(kind)),
      optimizer_(&optimizer),
      point_(optimizer, state_that_can_go_back(kind_, optimizer)),
      buffers_(options.buffers()) {
  RollbackOptions::option_list().check(options, kind_);
  rule_.set_options(options);
}

template <typename Function>
void RollbackEngine::for_each_parameter(const Function& function) const {
  for (auto& group : optimizer_->param_groups()) {
    for (at::Tensor& parameter : group.params()) {
      function(parameter);
    }
  }
}

double RollbackEngine::measure(const at::Tensor& loss) const {
  if (loss.defined() && loss.numel() == 1 && !std::isfinite(value_of(loss))) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  Tensors gradients;
  for_each_parameter([&gradients](const at::Tensor& parameter) {
    if (parameter.grad().defined()) {
      gradients.push_back(parameter.grad());
    }
  });
  const at::Tensor parts = norm_in_parts(gradients).cpu();
  const double fraction = parts[0].item<double>();
  // A norm beyond the range of a double is that of a finite gradient; and the
  // sum over ranks is to stay in the range.
  constexpr double kMostNorm = 0x1p1000;
  const double value = fraction * parts[1].item<double>();
  const double norm =
      std::isfinite(fraction) ? std::min(value, kMostNorm) : value;
  // Other processors may add up to another last bit, and must not decide
  // otherwise.
  return reduction_ != nullptr ? reduction_->mean(norm) : norm;
}

// Evaluates the closure at the earlier point and settles the suspicion. Leaves
// everything at the point where the step goes on.
at::Tensor RollbackEngine::look_back(
    const LossClosure& closure, const at::Tensor& loss) {
  Tensors parameters;
  Tensors gradients;
  for_each_parameter([&](at::Tensor& parameter) {
    // The closure may write to any.
    parameters.push_back(parameter.detach().clone());
    gradients.push_back(parameter.grad());
    // A closure that does not clear them adds to nothing.
    parameter.mutable_grad() = at::Tensor();
  });
  Tensors buffers;
  for (const at::Tensor& buffer : buffers_) {
    buffers.push_back(buffer.detach().clone());
  }
  const auto return_here = [&](const Tensors& buffer_values) {
    const c10::AutoGradMode no_grad(false);
    std::size_t next = 0;
    for_each_parameter([&](at::Tensor& parameter) {
      put_back(parameter, parameters[next]);
      parameter.mutable_grad() = gradients[next++];
    });
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      put_back(buffers_[i].detach(), buffer_values[i]);
    }
  };
  const RandomState random_here(generators_of(parameters));
  at::Tensor earlier_loss;
  RollbackStatus status = RollbackStatus::kSuspect;
  try {
    point_.restore_parameters();
    point_.restore_buffers(buffers_);
    // So that both evaluations see the same dropout masks.
    random_before_->restore();
    earlier_loss = evaluate_gradients(
        closure, [] {}, *optimizer_, reduction_.get());
    status =
        rule_.confirm_by_loss(measure(earlier_loss), value_of(earlier_loss));
  } catch (...) {
    return_here(buffers);
    random_here.restore();
    throw;
  }
  const bool stays_back =
      status == RollbackStatus::kRolledBack ||
      (status == RollbackStatus::kGaveUp && !rule_.keeps_point());
  if (stays_back) {
    point_.restore_state();
    return earlier_loss;
  }
  // A mini-batch that is not finite may not stay in the buffers.
  return_here(status == RollbackStatus::kNonFinite ? buffers_before_ : buffers);
  return loss;
}

// Observes, looks back and goes back where that is due.
at::Tensor RollbackEngine::decide(
    const LossClosure& closure, const at::Tensor& loss) {
  const bool confirms = closure != nullptr && rule_.options().confirm();
  const RollbackStatus status =
      rule_.observe(measure(loss), confirms, value_of(loss));
  if (status == RollbackStatus::kSuspect) {
    return look_back(closure, loss);
  }
  if (status == RollbackStatus::kRolledBack ||
      (status == RollbackStatus::kGaveUp && !rule_.keeps_point())) {
    point_.restore_parameters();
    point_.restore_state();
    point_.restore_buffers(buffers_);
  } else if (status == RollbackStatus::kNonFinite && closure != nullptr) {
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      put_back(buffers_[i].detach(), buffers_before_[i]);
    }
  }
  return loss;
}

at::Tensor RollbackEngine::step(
    const LossClosure& closure,
    const std::function<void(double scale)>& update,
    const std::function<void()>& check) {
  const bool confirms = closure != nullptr && rule_.options().confirm();
  if (rule_.state().has_point && !point_.fits()) {
    rule_.forget_point();
  }
  if (closure != nullptr) {
    {
      const c10::AutoGradMode no_grad(false);
      buffers_before_.resize(buffers_.size());
      for (std::size_t i = 0; i < buffers_.size(); ++i) {
        copy_into(buffers_before_[i], buffers_[i]);
      }
    }
    if (confirms && rule_.state().has_point) {
      random_before_.emplace(generators_of(parameters_of(*optimizer_)));
    }
  }
  at::Tensor loss =
      evaluate_gradients(closure, check, *optimizer_, reduction_.get());
  const c10::AutoGradMode no_grad(false);
  RollbackRule::State& before = state_before_;
  before = rule_.state();
  bool went_back = false;
  try {
    loss = decide(closure, loss);
    const RollbackStatus status = rule_.last_status();
    went_back = status == RollbackStatus::kRolledBack ||
                (status == RollbackStatus::kGaveUp && !rule_.keeps_point());
    // What has been confirmed goes on by the gradient of this mini-batch.
    if (went_back && !confirms && !point_.restore_gradients()) {
      return loss;
    }
    if (rule_.keeps_point()) {
      // Before the closure where it will be evaluated there again.
      point_.keep(confirms ? buffers_before_ : buffers_, !confirms);
      if (before.has_point) {
        before.point_norm = rule_.state().point_norm;
        before.point_loss = rule_.state().point_loss;
        before.age = 0;
      }
    }
    if (status == RollbackStatus::kAccepted ||
        status == RollbackStatus::kRolledBack ||
        (status == RollbackStatus::kGaveUp && rule_.keeps_point())) {
      point_.complete();
      update(rule_.rate_scale());
    }
  } catch (...) {
    if (!went_back) rule_.set_state(before);
    throw;
  }
  return loss;
}

void RollbackEngine::write(torch::serialize::OutputArchive& archive) const {
  write_rollback_state(archive, rule_.state());
  point_.write(archive);
}

std::function<void()> RollbackEngine::read(
    torch::serialize::InputArchive& archive) {
  const RollbackRule::State state = read_rollback_state(archive, kind_);
  return [this, state, take = point_.read(archive, kind_, buffers_)] {
    rule_.set_state(state);
    take();
  };
}

}  // namespace stepsize::detail
