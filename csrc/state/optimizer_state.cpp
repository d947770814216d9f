#include "csrc/state/optimizer_state.h"

#include <c10/util/Exception.h>
#include <c10/util/Type.h>
#include <torch/serialize/archive.h>

#include "csrc/core/tensors.h"

namespace stepsize {

void OptimizerState::read(
    std::size_t /*group*/,
    std::size_t /*index*/,
    ParameterState& /*state*/) const {
  TORCH_CHECK(false, "OptimizerState: this one is not known by parameter");
}

void OptimizerState::write(
    std::size_t /*group*/,
    std::size_t /*index*/,
    const ParameterState& /*state*/) {
  TORCH_CHECK(false, "OptimizerState: this one is not known by parameter");
}

namespace detail {
namespace {

bool fits(const at::Tensor& kept, const at::Tensor& value) {
  return kept.defined() && kept.layout() == at::kStrided &&
         value.layout() == at::kStrided &&
         kept.scalar_type() == value.scalar_type() &&
         kept.device() == value.device() && kept.sizes() == value.sizes();
}

}  // namespace

std::unique_ptr<OptimizerState> optimizer_state(
    const std::string& kind, torch::optim::Optimizer& optimizer) {
  if (auto* own = dynamic_cast<StatefulOptimizer*>(&optimizer)) {
    return own->state_access();
  }
  auto state = libtorch_state(kind, optimizer);
  if (!state) state = foreign_state(kind, optimizer);
  return state;
}

std::unique_ptr<OptimizerState> state_by_parameter(
    const std::string& kind, torch::optim::Optimizer& optimizer) {
  auto* const own = dynamic_cast<StatefulOptimizer*>(&optimizer);
  auto state = own != nullptr ? own->state_access()
                              : libtorch_state_by_parameter(kind, optimizer);
  TORCH_CHECK(
      state != nullptr && state->is_by_parameter(),
      kind,
      ": cannot read what ",
      c10::demangle(typeid(optimizer).name()),
      " keeps for each parameter: derive it from IndexedOptimizer or "
      "StatefulOptimizer, as docs/your_own_optimizer.md shows");
  return state;
}

void copy_into(at::Tensor& kept, const at::Tensor& value) {
  if (!value.defined()) {
    kept.reset();
  } else if (fits(kept, value)) {
    kept.copy_(value);
  } else {
    kept = value.detach().clone();
  }
}

void copy_into(ParameterState& kept, const ParameterState& value) {
  kept.there = value.there;
  kept.steps = value.steps;
  kept.tensors.resize(value.tensors.size());
  for (std::size_t i = 0; i < value.tensors.size(); ++i) {
    copy_into(kept.tensors[i], value.tensors[i]);
  }
}

StateCopy::StateCopy(
    const std::string& kind, torch::optim::Optimizer& optimizer)
    : optimizer_(&optimizer), state_(optimizer_state(kind, optimizer)) {
  warn_of_subclass(kind, optimizer);
}

void StateCopy::take() {
  state_->check();
  if (!state_->is_complete_by_parameter()) {
    bytes_ = archive_bytes([this](torch::serialize::OutputArchive& archive) {
      state_->save(archive);
    });
    return;
  }
  const auto& groups = optimizer_->param_groups();
  kept_.resize(groups.size());
  ParameterState present;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    kept_[g].resize(groups[g].params().size());
    for (std::size_t i = 0; i < kept_[g].size(); ++i) {
      state_->read(g, i, present);
      copy_into(kept_[g][i], present);
    }
  }
}

void StateCopy::put_back() {
  if (!state_->is_complete_by_parameter()) {
    load_bytes(
        bytes_.data(),
        bytes_.size(),
        [this](torch::serialize::InputArchive& archive) {
          std::vector<std::string> mismatches;
          const auto apply = state_->prepare(archive, mismatches);
          TORCH_INTERNAL_ASSERT(mismatches.empty());
          apply();
        });
    return;
  }
  ParameterState present;
  for (std::size_t g = 0; g < kept_.size(); ++g) {
    for (std::size_t i = 0; i < kept_[g].size(); ++i) {
      state_->read(g, i, present);
      copy_into(present, kept_[g][i]);
      state_->write(g, i, present);
    }
  }
}

}  // namespace detail
}  // namespace stepsize
