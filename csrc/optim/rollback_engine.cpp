#include "csrc/optim/rollback_engine.h"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <stepsize/kernels/grad_norm.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <utility>

#include "csrc/optim/rollback_options.h"

namespace stepsize::detail {

RollbackEngine::RollbackEngine(
    std::string kind,
    torch::optim::Optimizer& optimizer,
    const RollbackOptions& options)
    : kind_(std::move(kind)),
      optimizer_(&optimizer),
      point_(optimizer, state_access(kind_, optimizer)),
      buffers_(options.buffers()) {
  check_rollback_options(kind_, options);
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

// So that both evaluations see the same dropout masks.
void RollbackEngine::capture_random_state() {
  const auto add = [this](const at::Device& device) {
    const at::Generator& generator =
        at::globalContext().defaultGenerator(device);
    if (std::find(generators_.begin(), generators_.end(), generator) ==
        generators_.end()) {
      generators_.push_back(generator);
    }
  };
  generators_.clear();
  add(at::kCPU);
  for_each_parameter([&add](const at::Tensor& parameter) {
    if (!parameter.is_cpu()) {
      add(parameter.device());
    }
  });
  random_states_.clear();
  for (at::Generator& generator : generators_) {
    const std::lock_guard<std::mutex> lock(generator.mutex());
    random_states_.push_back(generator.get_state());
  }
}

double RollbackEngine::measure(const at::Tensor& loss) const {
  if (loss.defined() && loss.numel() == 1 &&
      !std::isfinite(loss.item<double>())) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  Tensors gradients;
  for_each_parameter([&gradients](const at::Tensor& parameter) {
    if (parameter.grad().defined()) {
      gradients.push_back(parameter.grad());
    }
  });
  return gradients.empty() ? 0 : global_norm(gradients).item<double>();
}

// Evaluates the closure at the earlier point and settles the suspicion. Leaves
// everything at the point where the step goes on.
at::Tensor RollbackEngine::look_back(
    const LossClosure& closure, const at::Tensor& loss) {
  Tensors parameters;
  Tensors gradients;
  for_each_parameter([&](at::Tensor& parameter) {
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
      parameter.copy_(parameters[next]);
      parameter.mutable_grad() = gradients[next++];
    });
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      buffers_[i].detach().copy_(buffer_values[i]);
    }
  };
  at::Tensor earlier_loss;
  RollbackStatus status = RollbackStatus::kSuspect;
  try {
    point_.restore_parameters();
    point_.restore_buffers(buffers_);
    for (std::size_t i = 0; i < generators_.size(); ++i) {
      const std::lock_guard<std::mutex> lock(generators_[i].mutex());
      generators_[i].set_state(random_states_[i]);
    }
    {
      const c10::AutoGradMode with_gradients(true);
      earlier_loss = closure();
    }
    const bool comparable = loss.defined() && earlier_loss.defined() &&
                            loss.numel() == 1 && earlier_loss.numel() == 1;
    status = rule_.confirm(
        measure(earlier_loss),
        !comparable || loss.item<double>() > earlier_loss.item<double>());
  } catch (...) {
    return_here(buffers);
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

at::Tensor RollbackEngine::step(
    const LossClosure& closure,
    const std::function<void(double scale)>& update,
    const std::function<void()>& check) {
  const bool confirms = closure != nullptr && rule_.options().confirm();
  at::Tensor loss;
  if (closure != nullptr) {
    {
      const c10::AutoGradMode no_grad(false);
      buffers_before_.resize(buffers_.size());
      for (std::size_t i = 0; i < buffers_.size(); ++i) {
        copy_into(buffers_before_[i], buffers_[i]);
      }
    }
    if (confirms && rule_.state().has_point) {
      capture_random_state();
    }
    const c10::AutoGradMode with_gradients(true);
    loss = closure();
  }
  const c10::AutoGradMode no_grad(false);
  check();
  RollbackStatus status = rule_.observe(measure(loss), confirms);
  const bool looks_back = status == RollbackStatus::kSuspect;
  if (looks_back) {
    loss = look_back(closure, loss);
    status = rule_.last_status();
  } else if (
      status == RollbackStatus::kRolledBack ||
      (status == RollbackStatus::kGaveUp && !rule_.keeps_point())) {
    point_.restore_parameters();
    point_.restore_state();
    point_.restore_buffers(buffers_);
    if (!point_.restore_gradients()) {
      return loss;
    }
  } else if (status == RollbackStatus::kNonFinite && closure != nullptr) {
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      buffers_[i].detach().copy_(buffers_before_[i]);
    }
  }
  if (rule_.keeps_point()) {
    // Before the closure where it will be evaluated there again.
    point_.keep(confirms ? buffers_before_ : buffers_, !confirms);
  }
  const bool moves = status == RollbackStatus::kAccepted ||
                     status == RollbackStatus::kRolledBack ||
                     (status == RollbackStatus::kGaveUp && rule_.keeps_point());
  if (moves) {
    update(rule_.rate_scale());
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
