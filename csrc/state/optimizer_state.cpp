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

namespace {

using States = std::vector<std::vector<ParameterState>>;

template <typename Function>
void for_each_state(
    const torch::optim::Optimizer& optimizer, const Function& function) {
  const auto& groups = optimizer.param_groups();
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (std::size_t i = 0; i < groups[g].params().size(); ++i) function(g, i);
  }
}

States states_of(
    const OptimizerState& state, const torch::optim::Optimizer& optimizer) {
  States states(optimizer.param_groups().size());
  // In their order.
  for_each_state(optimizer, [&](std::size_t g, std::size_t i) {
    state.read(g, i, states[g].emplace_back());
  });
  return states;
}

// Saves a state without the tensors that it shows.
at::Tensor bytes_without_tensors(
    OptimizerState& state, const torch::optim::Optimizer& optimizer) {
  const States states = states_of(state, optimizer);
  const auto put_back = [&] {
    for_each_state(optimizer, [&](std::size_t g, std::size_t i) {
      state.write(g, i, states[g][i]);
    });
  };
  at::Tensor bytes;
  try {
    for_each_state(optimizer, [&](std::size_t g, std::size_t i) {
      ParameterState bare;
      bare.there = states[g][i].there;
      bare.steps = states[g][i].steps;
      state.write(g, i, bare);
    });
    bytes = archive_byte_tensor(
        [&](torch::serialize::OutputArchive& archive) { state.save(archive); });
  } catch (...) {
    put_back();
    throw;
  }
  put_back();
  return bytes;
}

void load_state(const at::Tensor& bytes, OptimizerState& state) {
  load_bytes(bytes, [&state](torch::serialize::InputArchive& archive) {
    std::vector<std::string> mismatches;
    const auto apply = state.prepare(archive, mismatches);
    TORCH_INTERNAL_ASSERT(mismatches.empty());
    apply();
  });
}

}  // namespace

StateCopy::StateCopy(
    const std::string& kind, torch::optim::Optimizer& optimizer)
    : optimizer_(&optimizer),
      state_(optimizer_state(kind, optimizer)),
      has_bytes_(!state_->is_complete_by_parameter()),
      has_tensors_(!has_bytes_ || state_->saves_without_tensors()) {
  warn_of_subclass(kind, optimizer);
}

void StateCopy::take() {
  state_->check();
  bytes_.reset();
  if (!has_tensors_) {
    bytes_ = archive_byte_tensor(
        [this](torch::serialize::OutputArchive& to) { state_->save(to); });
    return;
  }
  if (has_bytes_) bytes_ = bytes_without_tensors(*state_, *optimizer_);
  const auto& groups = optimizer_->param_groups();
  kept_.resize(groups.size());
  for (std::size_t g = 0; g < groups.size(); ++g) {
    kept_[g].resize(groups[g].params().size());
  }
  ParameterState present;
  for_each_state(*optimizer_, [&](std::size_t g, std::size_t i) {
    state_->read(g, i, present);
    copy_into(kept_[g][i], present);
  });
}

void StateCopy::put_back() {
  if (!has_tensors_) {
    load_state(bytes_, *state_);
    return;
  }
  // A load leaves none of the tensors that there are, whose memory serves.
  auto present = states_of(*state_, *optimizer_);
  if (has_bytes_) {
    const auto undo = state_->keep();
    try {
      load_state(bytes_, *state_);
    } catch (...) {
      undo();
      throw;
    }
  }
  for_each_state(*optimizer_, [&](std::size_t g, std::size_t i) {
    copy_into(present[g][i], kept_[g][i]);
    state_->write(g, i, present[g][i]);
  });
}

}  // namespace detail
}  // namespace stepsize
