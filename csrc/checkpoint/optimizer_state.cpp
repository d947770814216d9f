#include "csrc/checkpoint/optimizer_state.h"

#include <stepsize/optim/indexed_optimizer.h>

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "csrc/checkpoint/lbfgs_state.h"
#include "csrc/checkpoint/tensors.h"
#include "csrc/core/archive.h"
#include "csrc/optim/state_access.h"

namespace stepsize::detail {
namespace {

using torch::optim::Optimizer;
using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

class IndexedState : public OptimizerState {
 public:
  explicit IndexedState(IndexedOptimizer& optimizer) : optimizer_(&optimizer) {}

  void save(OutputArchive& archive) override {
    // load() refuses options that are out of range.
    IndexedStateAccess(*optimizer_).check();
    optimizer_->save(archive);
  }

  void prepare(
      InputArchive& archive,
      Mismatches& /*mismatches*/,
      Change& change) override {
    const auto own = std::make_shared<InputArchive>(std::move(archive));
    change.apply = [optimizer = optimizer_, own] { optimizer->load(*own); };
    // Not by save() and load(): the present options may be out of range.
    change.undo = IndexedStateAccess(*optimizer_).keep();
  }

  bool carries_options() const override { return true; }

 private:
  IndexedOptimizer* optimizer_;
};

// Parameter by parameter: LibTorch's SGD, Adam and the like.
class FieldsState : public OptimizerState {
 public:
  FieldsState(
      std::string owner,
      Optimizer& optimizer,
      std::unique_ptr<StateAccess> access)
      : owner_(std::move(owner)),
        optimizer_(&optimizer),
        access_(std::move(access)) {}

  void save(OutputArchive& archive) override {
    for (std::size_t g = 0; g < groups(); ++g) {
      std::vector<int64_t> there;
      std::vector<int64_t> steps;
      std::vector<int64_t> counts;
      std::vector<at::Tensor> tensors;
      for (const ParameterState& state : present(g)) {
        there.push_back(state.there ? 1 : 0);
        steps.push_back(state.steps);
        counts.push_back(static_cast<int64_t>(state.tensors.size()));
        for (const at::Tensor& tensor : state.tensors) {
          tensors.push_back(storable(tensor, owner_ + ": a state"));
        }
      }
      const std::string group = "group" + std::to_string(g);
      write_ints(archive, group + "_there", there);
      write_ints(archive, group + "_steps", steps);
      write_ints(archive, group + "_counts", counts);
      write_tensors(archive, group + "_tensors", tensors);
    }
  }

  void prepare(
      InputArchive& archive, Mismatches& mismatches, Change& change) override {
    States before;
    States after;
    for (std::size_t g = 0; g < groups(); ++g) {
      after.push_back(read(archive, g, mismatches));
      // Shares its tensors, which a load replaces and does not write.
      before.push_back(present(g));
    }
    change.apply = [access = access_, after] { write(*access, after); };
    change.undo = [access = access_, before] { write(*access, before); };
  }

 private:
  using States = std::vector<std::vector<ParameterState>>;

  std::size_t groups() const { return optimizer_->param_groups().size(); }

  std::vector<ParameterState> present(std::size_t g) const {
    const auto& groups = optimizer_->param_groups();
    std::vector<ParameterState> states(groups[g].params().size());
    for (std::size_t i = 0; i < states.size(); ++i) {
      access_->read(g, i, states[i]);
    }
    return states;
  }

  static void write(StateAccess& access, const States& states) {
    for (std::size_t g = 0; g < states.size(); ++g) {
      for (std::size_t i = 0; i < states[g].size(); ++i) {
        access.write(g, i, states[g][i]);
      }
    }
  }

  std::vector<ParameterState> read(
      InputArchive& archive, std::size_t g, Mismatches& mismatches) const {
    const std::string group = "group" + std::to_string(g);
    const auto there = read_ints(archive, owner_, group + "_there");
    const auto steps = read_ints(archive, owner_, group + "_steps");
    const auto counts = read_ints(archive, owner_, group + "_counts");
    const auto tensors = read_tensors(archive, owner_, group + "_tensors");
    const auto& parameters = optimizer_->param_groups()[g].params();
    bool fits = there.size() == parameters.size() &&
                steps.size() == there.size() && counts.size() == there.size();
    std::size_t total = 0;
    for (std::size_t i = 0; fits && i < there.size(); ++i) {
      const std::size_t own = there[i] != 0 ? access_->tensor_count() : 0;
      fits = counts[i] == static_cast<int64_t>(own);
      total += own;
    }
    TORCH_CHECK(
        fits && total == tensors.size(),
        owner_,
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
        if (value.sizes() != parameters[i].sizes()) {
          mismatches.add(
              owner_,
              "a state of parameter " + std::to_string(i) + " of group " +
                  std::to_string(g) + " is " + type_and_shape(value) +
                  " in the file, the parameter " +
                  type_and_shape(parameters[i]));
        } else {
          own = copy_like(value, parameters[i]);
        }
      }
    }
    return states;
  }

  std::string owner_;
  Optimizer* optimizer_;
  std::shared_ptr<StateAccess> access_;
};

// Through save() and load() of a class that is not known.
class WholeState : public OptimizerState {
 public:
  WholeState(Optimizer& optimizer, std::unique_ptr<StateAccess> access)
      : optimizer_(&optimizer), access_(std::move(access)) {}

  void save(OutputArchive& archive) override {
    access_->check();
    write_tensors(archive, "bytes", {access_->save_whole()});
  }

  void prepare(
      InputArchive& archive,
      Mismatches& /*mismatches*/,
      Change& change) override {
    const at::Tensor value = read_tensor(archive, "its state", "bytes");
    const at::Tensor before = access_->save_whole();
    change.apply = [optimizer = optimizer_, value] { load(*optimizer, value); };
    change.undo = [optimizer = optimizer_, before] {
      load(*optimizer, before);
    };
  }

 private:
  // load() of LibTorch's classes adds entries and removes none.
  static void load(Optimizer& optimizer, const at::Tensor& bytes) {
    optimizer.state().clear();
    load_bytes(bytes, [&](InputArchive& own) { optimizer.load(own); });
  }

  Optimizer* optimizer_;
  std::unique_ptr<StateAccess> access_;
};

}  // namespace

std::unique_ptr<OptimizerState> optimizer_state(
    const std::string& owner, Optimizer& optimizer) {
  if (auto* indexed = dynamic_cast<IndexedOptimizer*>(&optimizer)) {
    return std::make_unique<IndexedState>(*indexed);
  }
  if (auto state = lbfgs_state(owner, optimizer)) return state;
  auto access = state_access(owner, optimizer);
  if (access->is_whole()) {
    return std::make_unique<WholeState>(optimizer, std::move(access));
  }
  return std::make_unique<FieldsState>(owner, optimizer, std::move(access));
}

}  // namespace stepsize::detail
