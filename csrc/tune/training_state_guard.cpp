#include "csrc/tune/training_state_guard.h"

#include <ATen/Functions.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <unordered_set>

#include "csrc/core/overlap.h"

namespace stepsize::detail {
namespace {

class UniqueTensors {
 public:
  void add(const Tensors& tensors) {
    for (const at::Tensor& tensor : tensors) {
      if (tensor.defined() && seen_.insert(tensor.unsafeGetTensorImpl()).second)
        unique_.push_back(tensor);
    }
  }
  Tensors take() { return std::move(unique_); }

 private:
  std::unordered_set<const void*> seen_;
  Tensors unique_;
};

}  // namespace

TrainingStateGuard::TrainingStateGuard(
    torch::optim::Optimizer& optimizer, const Touched& touched)
    : snapshot_(optimizer) {
  const c10::AutoGradMode no_grad(false);
  UniqueTensors parameters;
  for (const auto& group : optimizer.param_groups()) {
    parameters.add(group.params());
  }
  parameters.add(touched.parameters);
  UniqueTensors buffers;
  buffers.add(touched.buffers);
  if (touched.module != nullptr) {
    parameters.add(touched.module->parameters());
    buffers.add(touched.module->buffers());
    keep_modes(*touched.module);
  }
  parameters_ = parameters.take();
  buffers_ = buffers.take();
  Tensors drawn_for = parameters_;
  drawn_for.insert(drawn_for.end(), buffers_.begin(), buffers_.end());
  random_state_.emplace(generators_of(drawn_for, touched.generators));

  std::unordered_set<const void*> in_snapshot;
  for (const auto& group : optimizer.param_groups()) {
    for (const at::Tensor& parameter : group.params()) {
      in_snapshot.insert(parameter.unsafeGetTensorImpl());
    }
  }
  for (const Tensors* tensors : {&parameters_, &buffers_}) {
    for (const at::Tensor& tensor : *tensors) {
      if (in_snapshot.count(tensor.unsafeGetTensorImpl()) == 0) {
        // Writes through the alias do not count as changes.
        const at::Tensor place = tensor.variable_data();
        kept_.push_back({tensor, place, place.clone()});
      }
    }
  }
  // The last to be done, as it is the first to change something.
  for (at::Tensor& parameter : parameters_) {
    gradients_.push_back({parameter.grad(), parameter.requires_grad()});
  }
  for (at::Tensor& parameter : parameters_) {
    if (parameter.grad().defined()) parameter.mutable_grad().reset();
  }
}

TrainingStateGuard::~TrainingStateGuard() {
  try {
    restore();
  } catch (const std::exception& error) {
    TORCH_WARN(
        "lr_range_test: not everything could be put back: ", error.what());
  } catch (...) {
    TORCH_WARN("lr_range_test: not everything could be put back");
  }
}

void TrainingStateGuard::restore() {
  if (restored_) return;
  restored_ = true;
  const c10::AutoGradMode no_grad(false);
  std::exception_ptr failure;
  const auto attempt = [&failure](const auto& part) {
    try {
      part();
    } catch (...) {
      if (!failure) failure = std::current_exception();
    }
  };
  attempt([this] { snapshot_.restore(); });
  attempt([this] { restore_tensors(); });
  attempt([this] { restore_gradients(); });
  attempt([this] { restore_modes(); });
  attempt([this] { restore_random_state(); });
  // Autocast keeps what it has cast by the tensor's identity.
  attempt([] { at::autocast::clear_cache(); });
  if (failure) std::rethrow_exception(failure);
}

void TrainingStateGuard::restore_tensors() {
  for (Kept& kept : kept_) {
    put_back(kept.place, kept.copy);
    if (kept.place.has_storage() && !kept.owner.is_alias_of(kept.place)) {
      kept.owner.set_data(kept.place);
    }
  }
}

void TrainingStateGuard::restore_gradients() {
  for (std::size_t i = 0; i < gradients_.size(); ++i) {
    at::Tensor& parameter = parameters_[i];
    if (parameter.requires_grad() != gradients_[i].required) {
      parameter.requires_grad_(gradients_[i].required);
    }
    if (gradients_[i].gradient.defined() || parameter.grad().defined()) {
      parameter.mutable_grad() = gradients_[i].gradient;
    }
  }
}

void TrainingStateGuard::keep_modes(torch::nn::Module& module) {
  modes_.push_back({nullptr, &module, module.is_training()});
  for (auto& child : module.modules(/*include_self=*/false)) {
    modes_.push_back({child, child.get(), child->is_training()});
  }
}

void TrainingStateGuard::restore_modes() {
  // train() reaches the children too. Outer modules come first, but one that
  // has two parents may be set by the second after its own turn.
  for (std::size_t round = 0; round < modes_.size(); ++round) {
    bool changed = false;
    for (const Mode& mode : modes_) {
      if (mode.module->is_training() != mode.training) {
        mode.module->train(mode.training);
        changed = true;
      }
    }
    if (!changed) return;
  }
}

void TrainingStateGuard::restore_random_state() {
  if (random_state_) random_state_->restore();
}

}  // namespace stepsize::detail
