#include "csrc/optim/state_access.h"

#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>
#include <torch/serialize/archive.h>

#include <type_traits>
#include <typeinfo>
#include <utility>

#include "csrc/optim/whole_state.h"

namespace stepsize::detail {
namespace {

// The fields of each class of state; `steps` is null where it does not count.
struct Fields {
  std::vector<at::Tensor*> tensors;
  int64_t* steps = nullptr;
};

Fields fields(torch::optim::SGDParamState& state) {
  return {{&state.momentum_buffer()}, nullptr};
}

template <typename State>
Fields adam_fields(State& state) {
  return {
      {&state.exp_avg(), &state.exp_avg_sq(), &state.max_exp_avg_sq()},
      &state.step()};
}

Fields fields(torch::optim::AdamParamState& state) {
  return adam_fields(state);
}

Fields fields(torch::optim::AdamWParamState& state) {
  return adam_fields(state);
}

Fields fields(torch::optim::RMSpropParamState& state) {
  return {
      {&state.square_avg(), &state.momentum_buffer(), &state.grad_avg()},
      &state.step()};
}

Fields fields(torch::optim::AdagradParamState& state) {
  return {{&state.sum()}, &state.step()};
}

template <typename State>
class LibTorchStateAccess : public StateAccess {
 public:
  explicit LibTorchStateAccess(torch::optim::Optimizer& optimizer)
      : optimizer_(&optimizer) {}

  std::size_t tensor_count() const override {
    State state;
    return fields(state).tensors.size();
  }

  void read(
      std::size_t group, std::size_t index, ParameterState& state) override {
    auto& states = optimizer_->state();
    const auto found = states.find(key(group, index));
    state.there = found != states.end();
    state.steps = 0;
    state.tensors.clear();
    if (state.there) {
      const Fields own = fields(static_cast<State&>(*found->second));
      for (const at::Tensor* tensor : own.tensors) {
        state.tensors.push_back(*tensor);
      }
      state.steps = own.steps == nullptr ? 0 : *own.steps;
    }
  }

  void write(std::size_t group, std::size_t index, const ParameterState& state)
      override {
    auto& states = optimizer_->state();
    if (!state.there) {
      states.erase(key(group, index));
      return;
    }
    auto& entry = states[key(group, index)];
    if (entry == nullptr) {
      entry = std::make_unique<State>();
    }
    const Fields own = fields(static_cast<State&>(*entry));
    for (std::size_t i = 0; i < own.tensors.size(); ++i) {
      *own.tensors[i] =
          i < state.tensors.size() ? state.tensors[i] : at::Tensor();
    }
    if (own.steps != nullptr) {
      *own.steps = state.steps;
    }
  }

 private:
  using Key = std::decay_t<
      decltype(std::declval<torch::optim::Optimizer&>().state())>::key_type;

  Key key(std::size_t group, std::size_t index) const {
    return parameter_state_key<Key>(
        optimizer_->param_groups()[group].params()[index]);
  }

  torch::optim::Optimizer* optimizer_;
};

// Where the optimizer is of this very class. A subclass may keep anything.
template <typename Optimizer, typename State>
std::unique_ptr<StateAccess> access_to(torch::optim::Optimizer& optimizer) {
  if (typeid(optimizer) != typeid(Optimizer)) {
    return nullptr;
  }
  return std::make_unique<LibTorchStateAccess<State>>(optimizer);
}

bool fits(const at::Tensor& kept, const at::Tensor& value) {
  return kept.defined() && kept.layout() == at::kStrided &&
         value.layout() == at::kStrided &&
         kept.scalar_type() == value.scalar_type() &&
         kept.device() == value.device() && kept.sizes() == value.sizes();
}

}  // namespace

at::Tensor StateAccess::save_whole() { return {}; }

void StateAccess::load_whole(const at::Tensor& /*bytes*/) {}

void StateAccess::read(
    std::size_t /*group*/, std::size_t /*index*/, ParameterState& /*state*/) {}

void StateAccess::write(
    std::size_t /*group*/,
    std::size_t /*index*/,
    const ParameterState& /*state*/) {}

std::unique_ptr<StateAccess> state_access(
    const std::string& kind, torch::optim::Optimizer& optimizer) {
  using namespace torch::optim;
  if (auto* indexed = dynamic_cast<IndexedOptimizer*>(&optimizer)) {
    return std::make_unique<IndexedStateAccess>(*indexed);
  }
  auto access = access_to<SGD, SGDParamState>(optimizer);
  if (!access) access = access_to<Adam, AdamParamState>(optimizer);
  if (!access) access = access_to<AdamW, AdamWParamState>(optimizer);
  if (!access) access = access_to<RMSprop, RMSpropParamState>(optimizer);
  if (!access) access = access_to<Adagrad, AdagradParamState>(optimizer);
  if (!access) access = whole_state_access(kind, optimizer);
  return access;
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

void IndexedStateAccess::read(
    std::size_t group, std::size_t index, ParameterState& state) {
  auto& own = optimizer_->group_state(group);
  state.there = true;
  state.steps = own.steps[index];
  state.tensors.clear();
  for (const auto& slot : own.slots) {
    state.tensors.push_back(slot[index]);
  }
}

void IndexedStateAccess::write(
    std::size_t group, std::size_t index, const ParameterState& state) {
  auto& own = optimizer_->group_state(group);
  own.steps[index] = state.steps;
  for (std::size_t i = 0; i < own.slots.size(); ++i) {
    own.slots[i][index] =
        i < state.tensors.size() ? state.tensors[i] : at::Tensor();
  }
}

void IndexedStateAccess::check() { optimizer_->check_all_options(); }

std::function<void()> IndexedStateAccess::keep() {
  torch::serialize::OutputArchive archive;
  optimizer_->save_counters(archive);
  std::string counters;
  archive.save_to([&counters](const void* data, std::size_t size) {
    counters.append(static_cast<const char*>(data), size);
    return size;
  });
  return [optimizer = optimizer_,
          states = optimizer_->states_,
          counters = std::move(counters)] {
    optimizer->states_ = states;
    torch::serialize::InputArchive kept;
    kept.load_from(counters.data(), counters.size());
    optimizer->read_counters(kept)();
  };
}

}  // namespace stepsize::detail
