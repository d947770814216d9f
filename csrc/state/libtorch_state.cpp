#include <c10/util/Exception.h>
#include <c10/util/Type.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>
#include <torch/serialize/archive.h>

#include <deque>
#include <typeinfo>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/tensors.h"
#include "csrc/state/optimizer_state.h"
#include "csrc/state/parameter_key.h"

namespace stepsize::detail {
namespace {

using torch::optim::LBFGS;
using torch::optim::LBFGSParamState;
using torch::optim::Optimizer;
using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

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

// Of SGD, Adam and the like, which keep the same fields for each parameter.
template <typename State>
class FieldsState : public OptimizerState {
 public:
  FieldsState(std::string kind, Optimizer& optimizer)
      : kind_(std::move(kind)), optimizer_(&optimizer) {}

  void save(OutputArchive& archive) const override {
    for (std::size_t g = 0; g < optimizer_->param_groups().size(); ++g) {
      std::vector<int64_t> there;
      std::vector<int64_t> steps;
      std::vector<int64_t> counts;
      std::vector<at::Tensor> tensors;
      for (const ParameterState& state : present(g)) {
        there.push_back(state.there ? 1 : 0);
        steps.push_back(state.steps);
        counts.push_back(static_cast<int64_t>(state.tensors.size()));
        for (const at::Tensor& tensor : state.tensors) {
          tensors.push_back(storable(tensor, kind_ + ": a state"));
        }
      }
      const std::string group = "group" + std::to_string(g);
      write_ints(archive, group + "_there", there);
      write_ints(archive, group + "_steps", steps);
      write_ints(archive, group + "_counts", counts);
      write_tensors(archive, group + "_tensors", tensors);
    }
  }

  std::function<void()> prepare(
      InputArchive& archive, std::vector<std::string>& mismatches) override {
    States states;
    for (std::size_t g = 0; g < optimizer_->param_groups().size(); ++g) {
      states.push_back(read_group(archive, g, mismatches));
    }
    return writer(std::move(states));
  }

  std::function<void()> keep() override {
    States states;
    for (std::size_t g = 0; g < optimizer_->param_groups().size(); ++g) {
      states.push_back(present(g));
    }
    return writer(std::move(states));
  }

  bool is_by_parameter() const override { return true; }
  bool is_complete_by_parameter() const override { return true; }

  void read(std::size_t group, std::size_t index, ParameterState& state)
      const override {
    auto& states = optimizer_->state();
    const auto found = states.find(key(group, index));
    state.there = found != states.end();
    state.steps = 0;
    state.tensors.clear();
    if (!state.there) return;
    const Fields own = fields(static_cast<State&>(*found->second));
    for (const at::Tensor* tensor : own.tensors) {
      state.tensors.push_back(*tensor);
    }
    state.steps = own.steps == nullptr ? 0 : *own.steps;
  }

  void write(std::size_t group, std::size_t index, const ParameterState& state)
      override {
    auto& states = optimizer_->state();
    if (!state.there) {
      states.erase(key(group, index));
      return;
    }
    auto& entry = states[key(group, index)];
    if (entry == nullptr) entry = std::make_unique<State>();
    const Fields own = fields(static_cast<State&>(*entry));
    for (std::size_t i = 0; i < own.tensors.size(); ++i) {
      *own.tensors[i] =
          i < state.tensors.size() ? state.tensors[i] : at::Tensor();
    }
    if (own.steps != nullptr) *own.steps = state.steps;
  }

 private:
  using States = std::vector<std::vector<ParameterState>>;

  auto key(std::size_t group, std::size_t index) const {
    return parameter_state_key(
        optimizer_->param_groups()[group].params()[index]);
  }

  std::vector<ParameterState> present(std::size_t g) const {
    std::vector<ParameterState> states(
        optimizer_->param_groups()[g].params().size());
    for (std::size_t i = 0; i < states.size(); ++i) read(g, i, states[i]);
    return states;
  }

  // What writes them, also after this access is gone.
  std::function<void()> writer(States states) const {
    return [access = *this, states = std::move(states)]() mutable {
      for (std::size_t g = 0; g < states.size(); ++g) {
        for (std::size_t i = 0; i < states[g].size(); ++i) {
          access.write(g, i, states[g][i]);
        }
      }
    };
  }

  std::vector<ParameterState> read_group(
      InputArchive& archive,
      std::size_t g,
      std::vector<std::string>& mismatches) const {
    const std::string group = "group" + std::to_string(g);
    const auto there = read_ints(archive, kind_, group + "_there");
    const auto steps = read_ints(archive, kind_, group + "_steps");
    const auto counts = read_ints(archive, kind_, group + "_counts");
    const auto tensors = read_tensors(archive, kind_, group + "_tensors");
    const auto& parameters = optimizer_->param_groups()[g].params();
    State example;
    const std::size_t each = fields(example).tensors.size();
    bool fits = there.size() == parameters.size() &&
                steps.size() == there.size() && counts.size() == there.size();
    std::size_t total = 0;
    for (std::size_t i = 0; fits && i < there.size(); ++i) {
      const std::size_t own = there[i] != 0 ? each : 0;
      fits = counts[i] == static_cast<int64_t>(own);
      total += own;
    }
    TORCH_CHECK(
        fits && total == tensors.size(),
        kind_,
        ": the lists of ",
        group,
        " in the archive are of other lengths than its parameters and "
        "their states");
    std::vector<ParameterState> states(parameters.size());
    std::size_t next = 0;
    for (std::size_t i = 0; i < states.size(); ++i) {
      states[i].there = there[i] != 0;
      states[i].steps = steps[i];
      for (int64_t k = 0; k < counts[i]; ++k) {
        const at::Tensor& value = tensors[next++];
        auto& own = states[i].tensors.emplace_back();
        if (!value.defined()) continue;
        if (value.sizes() == parameters[i].sizes()) {
          own = copy_like(value, parameters[i]);
          continue;
        }
        mismatches.push_back(
            "a state of parameter " + std::to_string(i) + " of group " +
            std::to_string(g) + " is " + type_and_shape(value) +
            " in the file, the parameter " + type_and_shape(parameters[i]));
      }
    }
    return states;
  }

  std::string kind_;
  Optimizer* optimizer_;
};

// One entry for all parameters, under the first one's key, with lists of
// vectors as long as all of them together.
class LBFGSState : public OptimizerState {
 public:
  LBFGSState(std::string kind, LBFGS& optimizer)
      : kind_(std::move(kind)), optimizer_(&optimizer) {}

  void check() override {
    TORCH_CHECK(
        optimizer_->state().size() <= 1,
        kind_,
        ": it keeps more than one entry of state");
  }

  void save(OutputArchive& archive) const override {
    const LBFGSParamState* state = present();
    write_int(archive, "there", state == nullptr ? 0 : 1);
    if (state == nullptr) return;
    write_int(archive, "func_evals", state->func_evals());
    write_int(archive, "n_iter", state->n_iter());
    write_double(archive, "t", state->t());
    write_double(archive, "prev_loss", state->prev_loss());
    write_list(
        archive,
        "single",
        std::vector<at::Tensor>{
            state->d(), state->H_diag(), state->prev_flat_grad()});
    write_list(archive, "old_dirs", state->old_dirs());
    write_list(archive, "old_stps", state->old_stps());
    write_list(archive, "ro", state->ro());
    write_int(archive, "has_al", state->al() ? 1 : 0);
    write_list(
        archive, "al", state->al() ? *state->al() : std::vector<at::Tensor>());
  }

  std::function<void()> prepare(
      InputArchive& archive,
      std::vector<std::string>& /*mismatches*/) override {
    std::shared_ptr<LBFGSParamState> state;
    if (read_int(archive, kind_, "there", 1) != 0) {
      state = std::make_shared<LBFGSParamState>();
      read_into(archive, *state);
    }
    return writer(std::move(state));
  }

  // Shares its tensors, which a load replaces and does not write.
  std::function<void()> keep() override {
    const LBFGSParamState* state = present();
    return writer(
        state == nullptr ? nullptr : std::make_shared<LBFGSParamState>(*state));
  }

 private:
  const LBFGSParamState* present() const {
    const auto& states = std::as_const(*optimizer_).state();
    return states.empty() ? nullptr
                          : static_cast<const LBFGSParamState*>(
                                states.begin()->second.get());
  }

  std::function<void()> writer(std::shared_ptr<LBFGSParamState> state) const {
    return [optimizer = optimizer_, state = std::move(state)] {
      optimizer->state().clear();
      if (state == nullptr) return;
      const auto key = parameter_state_key(
          optimizer->param_groups().front().params().front());
      optimizer->state()[key] = std::make_unique<LBFGSParamState>(*state);
    };
  }

  template <typename Tensors>
  void write_list(
      OutputArchive& archive, const char* key, const Tensors& tensors) const {
    const std::vector<at::Tensor> list(tensors.begin(), tensors.end());
    write_tensors(archive, key, storable(list, kind_ + ": a state"));
  }

  // Copies on the device of the parameters.
  std::vector<at::Tensor> read_list(
      InputArchive& archive, const char* key) const {
    auto tensors = read_tensors(archive, kind_, key);
    const auto device =
        optimizer_->param_groups().front().params().front().device();
    for (at::Tensor& tensor : tensors) {
      if (tensor.defined()) tensor = tensor.clone().to(device);
    }
    return tensors;
  }

  void read_into(InputArchive& archive, LBFGSParamState& state) const {
    state.func_evals(read_int(archive, kind_, "func_evals"));
    state.n_iter(read_int(archive, kind_, "n_iter"));
    state.t(read_double(archive, kind_, "t"));
    state.prev_loss(read_double(archive, kind_, "prev_loss"));
    const auto single = read_list(archive, "single");
    TORCH_CHECK(
        single.size() == 3, kind_, ": 'single' of the archive is not three");
    state.d(single[0]);
    state.H_diag(single[1]);
    state.prev_flat_grad(single[2]);
    const auto list = [&](const char* key) {
      const auto tensors = read_list(archive, key);
      return std::deque<at::Tensor>(tensors.begin(), tensors.end());
    };
    state.old_dirs(list("old_dirs"));
    state.old_stps(list("old_stps"));
    state.ro(list("ro"));
    if (read_int(archive, kind_, "has_al", 1) != 0) {
      state.al(read_list(archive, "al"));
    }
  }

  std::string kind_;
  LBFGS* optimizer_;
};

// Where the optimizer is of this very class. A subclass may keep anything.
template <typename Class, typename State>
void try_class(
    const std::string& kind,
    Optimizer& optimizer,
    std::unique_ptr<OptimizerState>& state) {
  if (!state && typeid(optimizer) == typeid(Class)) {
    state = std::make_unique<FieldsState<State>>(kind, optimizer);
  }
}

// Also where it derives from the class, as long as all entries are of that one.
template <typename Class, typename State>
void try_base(
    const std::string& kind,
    Optimizer& optimizer,
    std::unique_ptr<OptimizerState>& state) {
  if (state || dynamic_cast<Class*>(&optimizer) == nullptr) return;
  for (const auto& entry : std::as_const(optimizer).state()) {
    if (dynamic_cast<const State*>(entry.second.get()) == nullptr) return;
  }
  state = std::make_unique<FieldsState<State>>(kind, optimizer);
}

}  // namespace

std::unique_ptr<OptimizerState> libtorch_state_by_parameter(
    const std::string& kind, Optimizer& optimizer) {
  using namespace torch::optim;
  std::unique_ptr<OptimizerState> state;
  try_base<SGD, SGDParamState>(kind, optimizer, state);
  try_base<Adam, AdamParamState>(kind, optimizer, state);
  try_base<AdamW, AdamWParamState>(kind, optimizer, state);
  try_base<RMSprop, RMSpropParamState>(kind, optimizer, state);
  try_base<Adagrad, AdagradParamState>(kind, optimizer, state);
  return state;
}

std::unique_ptr<OptimizerState> libtorch_state(
    const std::string& kind, Optimizer& optimizer) {
  using namespace torch::optim;
  if (auto* lbfgs = dynamic_cast<LBFGS*>(&optimizer)) {
    TORCH_CHECK(
        typeid(optimizer) == typeid(LBFGS),
        kind,
        ": cannot put back the state of ",
        c10::demangle(typeid(optimizer).name()),
        ", a subclass of LBFGS that may keep more than that");
    return std::make_unique<LBFGSState>(kind, *lbfgs);
  }
  std::unique_ptr<OptimizerState> state;
  try_class<SGD, SGDParamState>(kind, optimizer, state);
  try_class<Adam, AdamParamState>(kind, optimizer, state);
  try_class<AdamW, AdamWParamState>(kind, optimizer, state);
  try_class<RMSprop, RMSpropParamState>(kind, optimizer, state);
  try_class<Adagrad, AdagradParamState>(kind, optimizer, state);
  return state;
}

}  // namespace stepsize::detail
