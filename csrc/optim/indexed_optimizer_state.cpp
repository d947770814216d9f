#include <stepsize/optim/indexed_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/serialize/archive.h>

#include <typeinfo>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/tensors.h"
#include "csrc/optim/operand_checks.h"

namespace stepsize {
namespace {

using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

constexpr int64_t kFormat = 1;
constexpr char kOptimizerFormatKey[] = "stepsize_optimizer_format";

std::string group_key(std::size_t group, const std::string& name) {
  return "group" + std::to_string(group) + "_" + name;
}

// What was kept for a parameter, on its device and apart from the archive.
at::Tensor fitted(
    const std::string& kind,
    const std::string& what,
    const at::Tensor& kept,
    const at::Tensor& parameter,
    bool may_be_compact) {
  if (may_be_compact && detail::is_compact_state(kept, parameter)) {
    return kept.to(parameter.device(), kept.scalar_type()).clone();
  }
  TORCH_CHECK(
      kept.sizes() == parameter.sizes(),
      kind,
      ": ",
      what,
      " of the archive is of shape ",
      kept.sizes(),
      ", the parameter of ",
      parameter.sizes());
  TORCH_CHECK(
      kept.scalar_type() == detail::state_type(parameter),
      kind,
      ": ",
      what,
      " of the archive is of type ",
      kept.scalar_type(),
      ", the parameter of ",
      parameter.scalar_type());
  return detail::copy_like(kept, parameter);
}

}  // namespace

class IndexedOptimizer::State : public OptimizerState {
 public:
  explicit State(IndexedOptimizer& optimizer) : optimizer_(&optimizer) {}

  // load() refuses options that are out of range.
  void check() override { optimizer_->check_all_options(); }

  void save(OutputArchive& archive) const override {
    optimizer_->save(archive);
  }

  std::function<void()> prepare(
      InputArchive& archive,
      std::vector<std::string>& /*mismatches*/) override {
    const auto own = std::make_shared<InputArchive>(std::move(archive));
    return [optimizer = optimizer_, own] { optimizer->load(*own); };
  }

  bool carries_options() const override { return true; }

  // Not by save() and load(): the present options may be out of range.
  std::function<void()> keep() override {
    return [optimizer = optimizer_,
            states = optimizer_->states_,
            counters = detail::archive_bytes([this](OutputArchive& archive) {
              optimizer_->save_counters(archive);
            })] {
      optimizer->states_ = states;
      detail::load_bytes(
          counters.data(), counters.size(), [&](InputArchive& archive) {
            optimizer->read_counters(archive)();
          });
    };
  }

  // Without the counters, which belong to no parameter.
  bool is_by_parameter() const override {
    return !optimizer_->has_deciding_counters();
  }

  // A class that nobody has described may save and load in its own way.
  bool saves_without_tensors() const override {
    const OptimizerTraits* const traits = find_traits(*optimizer_);
    return traits != nullptr && traits->saved_by() == typeid(IndexedOptimizer);
  }

  void read(std::size_t group, std::size_t index, ParameterState& state)
      const override {
    auto& own = optimizer_->group_state(group);
    state.there = true;
    state.steps = own.steps[index];
    state.tensors.clear();
    for (const auto& slot : own.slots) state.tensors.push_back(slot[index]);
  }

  void write(std::size_t group, std::size_t index, const ParameterState& state)
      override {
    auto& own = optimizer_->group_state(group);
    own.steps[index] = state.steps;
    for (std::size_t i = 0; i < own.slots.size(); ++i) {
      own.slots[i][index] =
          i < state.tensors.size() ? state.tensors[i] : at::Tensor();
    }
  }

 private:
  IndexedOptimizer* optimizer_;
};

std::unique_ptr<OptimizerState> IndexedOptimizer::state_access() {
  return std::make_unique<State>(*this);
}

void IndexedOptimizer::save_counters(OutputArchive& /*archive*/) const {}

std::function<void()> IndexedOptimizer::read_counters(
    InputArchive& /*archive*/) {
  return [] {};
}

void IndexedOptimizer::save(OutputArchive& archive) const {
  detail::write_int(archive, kOptimizerFormatKey, kFormat);
  detail::write_string(archive, "kind", kind_);
  detail::write_int(
      archive, "groups", static_cast<int64_t>(param_groups().size()));
  const auto states = matched_states();
  for (std::size_t g = 0; g < param_groups().size(); ++g) {
    OutputArchive options(archive.compilation_unit());
    param_groups()[g].options().serialize(options);
    archive.write(group_key(g, "options"), options);
    const GroupState& state = states[g];
    detail::write_ints(archive, group_key(g, "steps"), state.steps);
    for (std::size_t slot = 0; slot < slot_names_.size(); ++slot) {
      detail::write_tensors(
          archive, group_key(g, slot_names_[slot]), state.slots[slot]);
    }
  }
  save_counters(archive);
}

void IndexedOptimizer::load(InputArchive& archive) {
  c10::IValue format;
  TORCH_CHECK(
      archive.try_read(kOptimizerFormatKey, format) && format.isInt(),
      kind_,
      ": the archive holds no optimizer of stepsize");
  TORCH_CHECK(
      format.toInt() == kFormat,
      kind_,
      ": the archive has format ",
      std::to_string(format.toInt()),
      ", this version reads format ",
      std::to_string(kFormat));
  const auto kind = detail::read_string(archive, kind_, "kind");
  TORCH_CHECK(kind == kind_, kind_, ": the archive holds a ", kind);
  const auto& groups = param_groups();
  const int64_t group_count =
      detail::read_int(archive, kind_, "groups", int64_t{1} << 31);
  TORCH_CHECK(
      group_count == static_cast<int64_t>(groups.size()),
      kind_,
      ": the archive has ",
      std::to_string(group_count),
      " parameter groups, the optimizer ",
      std::to_string(groups.size()));

  std::vector<GroupState> states(groups.size());
  std::vector<InputArchive> options(groups.size());
  std::vector<std::unique_ptr<torch::optim::OptimizerOptions>> trials;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    TORCH_CHECK(
        archive.try_read(group_key(g, "options"), options[g]),
        kind_,
        ": the archive has no '",
        group_key(g, "options"),
        "'");
    // Into a copy first, which checks them.
    auto& trial = trials.emplace_back(groups[g].options().clone());
    trial->serialize(options[g]);
    check_options(*trial);
    check_agreement(*trials.front(), *trial);

    const auto& parameters = groups[g].params();
    auto& state = states[g];
    state.owners = parameters;
    state.extras.resize(parameters.size());
    state.steps = detail::read_ints(archive, kind_, group_key(g, "steps"));
    state.slots.resize(slot_names_.size());
    for (std::size_t slot = 0; slot < slot_names_.size(); ++slot) {
      const auto key = group_key(g, slot_names_[slot]);
      auto& tensors = state.slots[slot];
      tensors = detail::read_tensors(archive, kind_, key);
      TORCH_CHECK(
          tensors.size() == parameters.size() &&
              state.steps.size() == parameters.size(),
          kind_,
          ": the archive has ",
          std::to_string(tensors.size()),
          " parameters in group ",
          std::to_string(g),
          ", the optimizer ",
          std::to_string(parameters.size()));
      for (std::size_t i = 0; i < tensors.size(); ++i) {
        TORCH_CHECK(
            state.steps[i] >= 0,
            kind_,
            ": a count of steps in the archive is negative");
        if (tensors[i].defined()) {
          const auto what = slot_names_[slot] + " of parameter " +
                            std::to_string(i) + " of group " +
                            std::to_string(g);
          tensors[i] = fitted(
              kind_, what, tensors[i], parameters[i], has_compact_state());
        }
      }
    }
  }
  const auto take_counters = read_counters(archive);

  for (std::size_t g = 0; g < groups.size(); ++g) {
    param_groups()[g].options().serialize(options[g]);
  }
  states_ = std::move(states);
  take_counters();
}

}  // namespace stepsize
