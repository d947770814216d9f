#include <stepsize/optim/indexed_optimizer.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace stepsize {

using torch::optim::OptimizerParamGroup;

IndexedOptimizer::IndexedOptimizer(
    std::string kind,
    std::vector<std::string> slots,
    std::unique_ptr<torch::optim::OptimizerOptions> defaults)
    : Optimizer(std::vector<OptimizerParamGroup>{}, std::move(defaults)),
      kind_(std::move(kind)),
      slot_names_(std::move(slots)) {}

void IndexedOptimizer::add_groups(
    const std::vector<OptimizerParamGroup>& groups) {
  TORCH_CHECK(
      !groups.empty(), kind_, ": there must be one parameter group at least");
  for (const auto& group : groups) {
    add_param_group(group);
  }
}

void IndexedOptimizer::add_param_group(const OptimizerParamGroup& group) {
  if (group.has_options()) {
    check_options(group.options());
    check_agreement(
        param_groups().empty() ? defaults() : param_groups().front().options(),
        group.options());
  }
  check_new_parameters(group.params());
  Optimizer::add_param_group(group);
  // LibTorch 2.14 has put the defaults there.
  param_groups().back().set_options(
      group.has_options() ? group.options().clone() : defaults().clone());
}

void IndexedOptimizer::check_agreement(
    const torch::optim::OptimizerOptions& /*first*/,
    const torch::optim::OptimizerOptions& /*other*/) const {}

void IndexedOptimizer::check_all_options() const {
  for (const auto& group : param_groups()) {
    check_options(group.options());
    check_agreement(param_groups().front().options(), group.options());
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
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& parameter = parameters[i];
    TORCH_CHECK(
        parameter.defined(),
        kind_,
        ": parameters must be defined; number ",
        std::to_string(i),
        " is not");
    TORCH_CHECK(
        parameter.is_leaf(),
        kind_,
        ": parameters must be leaves; number ",
        std::to_string(i),
        " is computed from others");
    TORCH_CHECK(
        known.insert(parameter.unsafeGetTensorImpl()).second,
        kind_,
        ": a parameter may stand in one place only; number ",
        std::to_string(i),
        " is there already");
  }
}

IndexedOptimizer::GroupState IndexedOptimizer::resized_state(
    std::size_t group) const {
  GroupState state;
  if (group < states_.size()) {
    state = states_[group];
  }
  const std::size_t count = param_groups()[group].params().size();
  state.slots.resize(slot_names_.size());
  for (auto& slot : state.slots) {
    slot.resize(count);
  }
  state.steps.resize(count, 0);
  return state;
}

IndexedOptimizer::GroupState& IndexedOptimizer::group_state(std::size_t group) {
  if (states_.size() < param_groups().size()) {
    states_.resize(param_groups().size());
  }
  const std::size_t count = param_groups()[group].params().size();
  if (states_[group].steps.size() != count ||
      states_[group].slots.size() != slot_names_.size()) {
    states_[group] = resized_state(group);
  }
  return states_[group];
}

void IndexedOptimizer::set_steering_scalars(
    const std::vector<double>& /*scalars*/) {}

}  // namespace stepsize
