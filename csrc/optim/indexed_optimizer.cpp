#include <stepsize/optim/indexed_optimizer.h>

#include <c10/util/Exception.h>
#include <c10/util/Type.h>
#include <stepsize/distributed/reduction.h>

#include <typeinfo>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "csrc/kernels/prefetch.h"
#include "csrc/optim/operand_checks.h"
#include "csrc/optim/rank_evaluation.h"
#include "csrc/optim/state_tensor.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

const OptimizerTraits& described(
    const torch::optim::OptimizerOptions& options) {
  const OptimizerTraits* const traits = find_traits(options);
  TORCH_CHECK(
      traits != nullptr,
      "IndexedOptimizer: ",
      c10::demangle(typeid(options).name()),
      " must describe itself: derive it from ListedOptions");
  traits->options().check(options);
  return *traits;
}

}  // namespace

IndexedOptimizer::IndexedOptimizer(
    std::unique_ptr<torch::optim::OptimizerOptions> defaults)
    : Optimizer(std::vector<OptimizerParamGroup>{}, std::move(defaults)),
      traits_(&described(this->defaults())) {
  kind_ = traits_->name();
  slot_names_ = traits_->state();
}

IndexedOptimizer::IndexedOptimizer(
    std::string kind,
    std::vector<std::string> slots,
    std::unique_ptr<torch::optim::OptimizerOptions> defaults)
    : Optimizer(std::vector<OptimizerParamGroup>{}, std::move(defaults)),
      kind_(std::move(kind)),
      slot_names_(std::move(slots)),
      traits_(find_traits(this->defaults())) {}

void IndexedOptimizer::add_groups(
    const std::vector<OptimizerParamGroup>& groups) {
  TORCH_CHECK(
      !groups.empty(), kind_, ": there must be one parameter group at least");
  for (const auto& group : groups) {
    add_param_group(group);
  }
}

void IndexedOptimizer::add_param_group(const OptimizerParamGroup& group) {
  const auto& options = group.has_options() ? group.options() : defaults();
  check_options(options);
  check_agreement(
      param_groups().empty() ? defaults() : param_groups().front().options(),
      options);
  check_new_parameters(group.params());
  Optimizer::add_param_group(group);
  // LibTorch 2.14 has put the defaults there.
  param_groups().back().set_options(
      group.has_options() ? group.options().clone() : defaults().clone());
}

void IndexedOptimizer::check_options(
    const torch::optim::OptimizerOptions& options) const {
  TORCH_CHECK(
      traits_ != nullptr,
      kind_,
      ": check_options() must be overridden, as its options do not describe "
      "themselves");
  traits_->options().check(options);
}

void IndexedOptimizer::check_agreement(
    const torch::optim::OptimizerOptions& first,
    const torch::optim::OptimizerOptions& other) const {
  if (traits_ != nullptr) traits_->options().check_same_in_groups(first, other);
}

void IndexedOptimizer::check_all_options() {
  TORCH_CHECK(
      !param_groups().empty(),
      kind_,
      ": there is no parameter group; was the optimizer moved from?");
  for (const auto& group : param_groups()) {
    check_options(group.options());
    check_agreement(param_groups().front().options(), group.options());
  }
  if (!states_match()) {
    std::unordered_set<const void*> known;
    for (const auto& group : param_groups()) {
      detail::check_parameters(kind_, group.params(), known);
    }
    states_ = matched_states();
  }
}

void IndexedOptimizer::set_reduction(std::shared_ptr<Reduction> reduction) {
  reduction_ = std::move(reduction);
}

at::Tensor IndexedOptimizer::evaluate(
    const LossClosure& closure, const std::function<void()>& check) {
  return detail::evaluate_gradients(closure, check, *this, reduction_.get());
}

at::Tensor IndexedOptimizer::evaluate(const LossClosure& closure) {
  return evaluate(closure, [this] {
    // A scheduler may have set anything.
    check_all_options();
    check_gradients();
  });
}

bool IndexedOptimizer::has_deciding_counters() const { return false; }

bool IndexedOptimizer::has_state(
    std::size_t /*group*/, std::size_t /*slot*/) const {
  return true;
}

bool IndexedOptimizer::has_compact_state() const { return false; }

StateType IndexedOptimizer::state_type(std::size_t /*group*/) const {
  return StateType::kFloat32;
}

std::vector<ParameterUpdate> IndexedOptimizer::coming_updates() {
  std::vector<ParameterUpdate> updates;
  // Once, as a larger place for each group would cost a copy of all a group.
  std::size_t parameter_count = 0;
  for (const auto& group : param_groups()) {
    parameter_count += group.params().size();
  }
  updates.reserve(parameter_count);
  for (std::size_t g = 0; g < param_groups().size(); ++g) {
    const auto& parameters = param_groups()[g].params();
    const GroupState& own = group_state(g);
    std::vector<bool> wanted;
    for (std::size_t slot = 0; slot < own.slots.size(); ++slot) {
      wanted.push_back(has_state(g, slot));
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const at::Tensor& gradient = parameters[i].grad();
      if (!gradient.defined()) continue;
      auto& update = updates.emplace_back(
          ParameterUpdate{g, i, parameters[i], gradient, {}, own.steps[i] + 1});
      update.state.reserve(own.slots.size());
      for (std::size_t slot = 0; slot < own.slots.size(); ++slot) {
        const at::Tensor& kept = own.slots[slot][i];
        update.state.push_back(
            !wanted[slot] ? at::Tensor()
                          : detail::state_in_form(
                                kept, parameters[i], state_type(g), slot));
      }
    }
  }
  return updates;
}

void IndexedOptimizer::take_over(std::vector<ParameterUpdate>&& updates) {
  for (ParameterUpdate& update : updates) {
    GroupState& own = group_state(update.group);
    own.steps[update.index] = update.step;
    for (std::size_t slot = 0; slot < update.state.size(); ++slot) {
      own.slots[slot][update.index] = std::move(update.state[slot]);
    }
  }
}

void IndexedOptimizer::add_parameters(
    const std::vector<at::Tensor>& parameters) {
  check_new_parameters(parameters);
  auto& own = param_groups().front().params();
  own.insert(own.end(), parameters.begin(), parameters.end());
}

void IndexedOptimizer::check_new_parameters(
    const std::vector<at::Tensor>& parameters) const {
  std::unordered_set<const void*> known;
  for (const auto& group : param_groups()) {
    for (const auto& parameter : group.params()) {
      known.insert(parameter.unsafeGetTensorImpl());
    }
  }
  detail::check_parameters(kind_, parameters, known);
}

bool IndexedOptimizer::states_match() const {
  const auto& groups = param_groups();
  if (states_.size() != groups.size()) return false;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto& owners = states_[g].owners;
    const auto& parameters = groups[g].params();
    if (owners.size() != parameters.size()) return false;
    for (std::size_t i = 0; i < owners.size(); ++i) {
      if (!owners[i].is_same(parameters[i])) return false;
    }
  }
  return true;
}

std::vector<IndexedOptimizer::GroupState> IndexedOptimizer::matched_states()
    const {
  std::unordered_map<const void*, std::pair<const GroupState*, std::size_t>>
      known;
  for (const GroupState& state : states_) {
    for (std::size_t i = 0; i < state.owners.size(); ++i) {
      known.emplace(
          state.owners[i].unsafeGetTensorImpl(), std::make_pair(&state, i));
    }
  }
  std::vector<GroupState> matched;
  for (const auto& group : param_groups()) {
    GroupState& state = matched.emplace_back();
    const auto& parameters = group.params();
    state.owners = parameters;
    state.slots.resize(slot_names_.size());
    for (auto& slot : state.slots) slot.resize(parameters.size());
    state.steps.resize(parameters.size(), 0);
    state.extras.resize(parameters.size());
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const auto found = known.find(parameters[i].unsafeGetTensorImpl());
      if (found == known.end()) continue;
      const auto& [from, at] = found->second;
      state.steps[i] = from->steps[at];
      state.extras[i] = from->extras[at];
      for (std::size_t slot = 0; slot < state.slots.size(); ++slot) {
        state.slots[slot][i] = from->slots[slot][at];
      }
    }
  }
  return matched;
}

IndexedOptimizer::GroupState& IndexedOptimizer::group_state(std::size_t group) {
  if (group >= states_.size() ||
      states_[group].owners.size() != param_groups()[group].params().size()) {
    states_ = matched_states();
  }
  return states_[group];
}

const IndexedOptimizer::Extra* IndexedOptimizer::find_extra(
    std::size_t group, std::size_t index) const {
  const at::Tensor& parameter = param_groups()[group].params()[index];
  if (group < states_.size() && index < states_[group].owners.size() &&
      states_[group].owners[index].is_same(parameter)) {
    return &states_[group].extras[index];
  }
  // It was moved since the last step.
  for (const GroupState& state : states_) {
    for (std::size_t i = 0; i < state.owners.size(); ++i) {
      if (state.owners[i].is_same(parameter)) return &state.extras[i];
    }
  }
  return nullptr;
}

at::Tensor IndexedOptimizer::new_state(const at::Tensor& parameter) {
  return detail::new_state_like(parameter);
}

// A step's first look at its tensors. Where there are thousands, all that is
// known of them has left the cache since the last step.
void IndexedOptimizer::prefetch_parameter(
    std::size_t group, std::size_t index) const {
  const auto& parameters = param_groups()[group].params();
  detail::prefetch_tensor(parameters, index + detail::kTensorsAhead);
  const std::size_t coming = index + detail::kTensorsAhead;
  if (coming >= parameters.size()) return;
  detail::prefetch_tensor(parameters[coming].grad());
  if (group >= states_.size()) return;
  for (const auto& slot : states_[group].slots) {
    detail::prefetch_tensor(slot, index);
  }
}

void IndexedOptimizer::check_gradients() const {
  for (std::size_t group = 0; group < param_groups().size(); ++group) {
    const auto& parameters = param_groups()[group].params();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      prefetch_parameter(group, i);
      check_gradient(group, i, parameters[i].grad());
    }
  }
}

void IndexedOptimizer::check_gradient(
    std::size_t group, std::size_t index, const at::Tensor& gradient) const {
  if (!gradient.defined()) return;
  const at::Tensor& parameter = param_groups()[group].params()[index];
  const detail::Place place{group, index};
  detail::check_gradient_fits(kind_, place, gradient, parameter);
  if (group >= states_.size() || index >= states_[group].owners.size()) return;
  for (std::size_t slot = 0; slot < slot_names_.size(); ++slot) {
    const at::Tensor& state = states_[group].slots[slot][index];
    if (state.defined()) {
      detail::check_state_fits(
          kind_,
          slot_names_[slot],
          place,
          state,
          parameter,
          has_compact_state());
    }
  }
}

}  // namespace stepsize
