#pragma once

#include <stepsize/kernels/compact_state.h>
#include <stepsize/state/optimizer_state.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/optim/optimizer.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace stepsize {

class Reduction;

/// A parameter that has a gradient, in a step of an IndexedOptimizer.
struct ParameterUpdate {
  std::size_t group;
  std::size_t index;  ///< in its group
  at::Tensor parameter;
  at::Tensor gradient;
  std::vector<at::Tensor> state;  ///< one a kind of state
  int64_t step;                   ///< the update's number, from 1
};

/// What our optimizers have in common: state that is kept by group and index,
/// saved and loaded bit for bit, and parameter groups that keep their options.
///
/// - `torch::save` and `torch::load` carry options (the rate included), state
///   and counters, in every version of LibTorch. Parameters are matched by
///   group and position. Loading what another class or another version of the
///   format wrote, or what does not fit the parameters, throws c10::Error and
///   changes nothing.
/// - A group keeps the options that it came with. (LibTorch 2.14 replaces those
///   of classes that it does not know by the optimizer's.)
/// - State belongs to the parameter, not to its place: parameters may be erased
///   from `param_groups()`, reordered or moved to another group between steps.
///   The state of one that is gone is dropped in the next step.
/// - A parameter may stand in one place only. Those that come through
///   add_param_group() and add_parameters() are checked at once, those that
///   come another way (a reference to the base class, `params()`) by the next
///   step; c10::Error.
/// - Before a step changes anything the gradients of all groups are checked:
///   dense, and of shape, type and device of their parameter.
/// - Empty `state()`: the state lies here, and goes along with a move.
class IndexedOptimizer : public torch::optim::Optimizer,
                         public StatefulOptimizer {
 public:
  /// Adds a group; without options of its own it takes the optimizer's. Throws
  /// c10::Error where the options are of another class or out of range, or
  /// where a parameter is undefined, no leaf, or there already; nothing has
  /// been added then.
  void add_param_group(const torch::optim::OptimizerParamGroup& group);

  /// Adds parameters to the first group.
  void add_parameters(const std::vector<at::Tensor>& parameters);

  void save(torch::serialize::OutputArchive& archive) const override;
  void load(torch::serialize::InputArchive& archive) override;

  std::unique_ptr<OptimizerState> state_access() override;

  /// Makes this optimizer one of several ranks that train one model: each calls
  /// step() as often, with a closure on its share of the data, and the step
  /// averages gradients and loss over the ranks. All else goes by these means,
  /// so that norms, rates and decisions are alike on all ranks, and step()
  /// returns the mean loss. A rank whose loss or gradient is not finite shows
  /// on all. Where one rank's closure throws, or its gradients are refused,
  /// step() throws on all, and has changed nothing.
  ///
  ///     broadcast_state(*model, *ranks);
  ///     optimizer.set_reduction(ranks);
  ///
  /// All ranks have the same parameters, groups and options; each gradient
  /// counts alike, see share_weight(). A parameter without a gradient on some
  /// ranks counts as zeros there. Null: no other ranks, as at first. A save
  /// does not carry it.
  void set_reduction(std::shared_ptr<Reduction> reduction);
  /// Null where there are no other ranks.
  const std::shared_ptr<Reduction>& reduction() const { return reduction_; }

  /// Name of the class: "ClippedSGD".
  const std::string& kind() const { return kind_; }

 protected:
  /// What a class keeps of a parameter besides tensors of its shape. It belongs
  /// to the parameter as these do, and is none at first; save_counters() and
  /// read_counters() of the class carry it.
  struct Extra {
    std::vector<double> numbers;
    std::vector<at::Tensor> tensors;
  };

  /// The state of one group. Every list has one entry a parameter.
  struct GroupState {
    /// Whose state it is.
    std::vector<at::Tensor> owners;
    /// One list a kind of state; undefined where there is none yet.
    std::vector<std::vector<at::Tensor>> slots;
    /// Updates that the parameter has had.
    std::vector<int64_t> steps;
    std::vector<Extra> extras;
  };

  /// Of DescribedOptions, which tell name and kinds of state: throws c10::Error
  /// where one is out of range. The groups follow by add_groups().
  explicit IndexedOptimizer(
      std::unique_ptr<torch::optim::OptimizerOptions> defaults);
  /// Of other options; check_options() is to be overridden then. `slots` names
  /// the kinds of state.
  IndexedOptimizer(
      std::string kind,
      std::vector<std::string> slots,
      std::unique_ptr<torch::optim::OptimizerOptions> defaults);

  /// To be called by the constructor of the class whose check_options() it is.
  void add_groups(const std::vector<torch::optim::OptimizerParamGroup>& groups);

  /// Throws c10::Error where options are of another class or out of range.
  virtual void check_options(
      const torch::optim::OptimizerOptions& options) const;

  /// Throws c10::Error where two groups' options, which are in range, cannot
  /// stand in one optimizer: by default, where one that the list marks so is
  /// not the same in both.
  virtual void check_agreement(
      const torch::optim::OptimizerOptions& first,
      const torch::optim::OptimizerOptions& other) const;

  /// To be called first in a step: throws c10::Error unless the options of all
  /// groups, which schedulers and users may have changed, are in range and
  /// agree, and parameters that have come are sound. Matches the state with the
  /// parameters.
  void check_all_options();

  /// Throws c10::Error, naming group and position, unless a parameter can be
  /// updated with this gradient and the state that it has. An undefined
  /// gradient fits.
  void check_gradient(
      std::size_t group, std::size_t index, const at::Tensor& gradient) const;
  /// The same of every parameter's `grad`.
  void check_gradients() const;

  /// Calls the closure, where there is one, and then `check`, which may refuse
  /// the gradients by throwing. With other ranks, gradients and loss are the
  /// means after it.
  at::Tensor evaluate(
      const LossClosure& closure, const std::function<void()>& check);
  /// The same; refused are options that check_all_options() and gradients that
  /// check_gradients() refuses.
  at::Tensor evaluate(const LossClosure& closure);

  /// Whether the parameters of a group have state of this kind; all have,
  /// unless a class says otherwise.
  virtual bool has_state(std::size_t group, std::size_t slot) const;

  /// Whether state may be kept in fewer bytes, as state_type() says; a class
  /// that overrides one overrides both, and steps what it then finds in
  /// coming_updates(). Its first kind of state has signs, the others have none.
  virtual bool has_compact_state() const;
  /// The form that the state of a group's parameters is kept in.
  virtual StateType state_type(std::size_t group) const;

  /// All parameters that have a gradient, by group and index. State that there
  /// is none of yet is zeros, which become the optimizer's by take_over(): a
  /// step that is refused in between leaves none. What has_state() denies is
  /// undefined, and what is not in the form of state_type() is made so.
  std::vector<ParameterUpdate> coming_updates();
  /// Keeps the state of these updates, and counts each.
  void take_over(std::vector<ParameterUpdate>&& updates);

  /// Counters and the like: writes them; reads and checks them, and returns
  /// what takes them over.
  virtual void save_counters(torch::serialize::OutputArchive& archive) const;
  virtual std::function<void()> read_counters(
      torch::serialize::InputArchive& archive);

  /// Whether what save_counters() writes has a say in the steps to come: a
  /// rollback then takes all of the state back, not that of parameters alone.
  virtual bool has_deciding_counters() const;

  /// The state of a group, with room for all of its parameters.
  GroupState& group_state(std::size_t group);
  /// What is kept of the parameter that stands there now; null: nothing yet.
  const Extra* find_extra(std::size_t group, std::size_t index) const;

  /// Zeros to keep a state of the parameter in: of its shape, strides, device
  /// and type, but of float32 where that is of half precision. The next step
  /// refuses a state of another shape or type.
  static at::Tensor new_state(const at::Tensor& parameter);

 private:
  class State;

  void check_new_parameters(const std::vector<at::Tensor>& parameters) const;
  void prefetch_parameter(std::size_t group, std::size_t index) const;
  bool states_match() const;
  std::vector<GroupState> matched_states() const;

  std::string kind_;
  std::vector<std::string> slot_names_;
  const OptimizerTraits* traits_ = nullptr;
  std::vector<GroupState> states_;
  std::shared_ptr<Reduction> reduction_;
};

}  // namespace stepsize
