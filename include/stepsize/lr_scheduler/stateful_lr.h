#pragma once

#include <stepsize/lr_scheduler/per_group.h>
#include <stepsize/state/options_from.h>
#include <torch/optim/optimizer.h>
#include <torch/optim/schedulers/lr_scheduler.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace stepsize {

class GradScaler;

namespace detail {
class NamedOptions;
}  // namespace detail

/// What all schedulers here have in common: a 64-bit clock, the last rates,
/// and a state that `torch::save` and `torch::load` keep.
///
/// The state carries the scheduler's kind and its options, by name. Loading it
/// into another kind, other options, or an optimizer with another number of
/// groups throws c10::Error, which names each option that differs, and changes
/// nothing; load() may let one side's options hold. The rates in force when the
/// state was saved are part of it, whoever set them, and a load sets them again
/// (and the momenta that are cycled): several schedulers of one optimizer may
/// be loaded in any order. The optimizer must outlive the scheduler, which
/// cannot be copied, and may not be moved under it.
class StatefulLR : public torch::optim::LRScheduler {
 public:
  StatefulLR(const StatefulLR&) = delete;
  StatefulLR& operator=(const StatefulLR&) = delete;

  /// The rates that the last step (or the constructor, or a load) has set, one
  /// a group.
  std::vector<double> get_last_lr() const { return last_lrs_; }

  /// How many steps were made: 0 after construction.
  int64_t last_epoch() const { return last_epoch_; }

  /// Name of the class: "CosineAnnealingLR".
  const std::string& kind() const { return kind_; }

  /// Kind and options, as LRRule::describe() has them.
  const std::string& describe() const { return fingerprint_; }

  /// Sets the rates that the schedule starts from, one for all groups or one a
  /// group, finite and >= 0, and with them the rates in force: it goes on as if
  /// these had been the groups' rates from the start. An optimizer's rate that
  /// is set by hand is gone at the next step(), which takes it from the base.
  ///
  /// Throws c10::Error, nothing changed, where a list has not one entry a group
  /// and where no base rate has a say: CyclicLR and OneCycleLR, whose rates
  /// are options, and CurvatureLR, once it has measured. ReduceLROnPlateau,
  /// which goes on from the rates in force, just sets these.
  virtual void set_base_lrs(const PerGroup& base_lrs);

  /// From now on step() does nothing, the clock included, after a step that the
  /// optimizer has left out, as clipped ones do for a gradient that is not
  /// finite. For schedulers that step once an update; a ReduceLROnPlateau goes
  /// by its metrics alone. A save carries how many
  /// were left out, and not whether this is on.
  ///
  /// Cost: an accelerator is waited for in each step. Throws c10::Error where
  /// nothing tells how many steps the optimizer leaves out, as of LibTorch's
  /// classes, which leave out none: see OptimizerTraits::skipped_steps.
  void follow_skipped_steps(bool on = true);
  /// The same of the steps of this optimizer, of any class, that a scaler has
  /// left out; those that the optimizer tells of count too. The scaler must
  /// live as long as the scheduler is stepped.
  void follow_skipped_steps(const GradScaler& scaler);

  /// Loads what `torch::save` has written, as `torch::load` does, where the
  /// options differ. Returns how they do, a sentence each.
  ///
  /// - kProgram: the clock, the base rates, and what a plateau or CurvatureLR
  ///   knows are the file's; the rates are those of this schedule at that
  ///   clock, as after seek(). What extend() and begin_cooldown() made of the
  ///   file's schedule is left with it.
  /// - kFile: the scheduler goes on as the saved one, callables excepted: where
  ///   the file has one and this has none at its place, it is refused.
  ///
  /// Where no option differs, both do as kMustAgree. Throws c10::Error, nothing
  /// changed, for another kind and for what cannot be.
  std::vector<std::string> load(
      torch::serialize::InputArchive& archive,
      OptionsFrom from = OptionsFrom::kMustAgree);

  /// What puts the options back that are there now, and no more of the state:
  /// for a checkpoint that is to undo a load.
  virtual std::function<void()> keep_options();

  friend torch::serialize::OutputArchive& operator<<(
      torch::serialize::OutputArchive& archive, const StatefulLR& scheduler);
  friend torch::serialize::InputArchive& operator>>(
      torch::serialize::InputArchive& archive, StatefulLR& scheduler);

 protected:
  StatefulLR(
      torch::optim::Optimizer& optimizer,
      std::string kind,
      std::string fingerprint);
  StatefulLR(torch::optim::Optimizer& optimizer, detail::NamedOptions options);

  /// The class whose save_state() it is: one kind may be driven by a class
  /// that keeps more than another ("RuleLR", "WarmupStableDecayLR").
  virtual const char* state_class() const = 0;

  /// Whether a state may be loaded whose option `name` is not this one's, but
  /// `saved`: null where the file has none, being older than it. Compositions
  /// name the place: "schedulers[1].gamma".
  virtual bool takes_option(
      const std::string& /*name*/, const std::string* /*saved*/) const {
    return false;
  }

  /// Writes what a subclass adds to the state.
  virtual void save_state(torch::serialize::OutputArchive& archive) const = 0;

  /// Reads and checks all that a subclass has written, and only then sets
  /// `lrs` (which are checked) in the optimizer and takes the rest over.
  virtual void load_state(
      torch::serialize::InputArchive& archive,
      const std::vector<double>& lrs) = 0;

  /// The same where options differ and those of this hold: the rates to set are
  /// its own. `saved` are the file's, `epoch` is its clock. Here it is refused.
  virtual void load_state_only(
      torch::serialize::InputArchive& archive,
      const detail::NamedOptions& saved,
      int64_t epoch,
      const std::vector<double>& lrs);

  /// Takes options of the same kind over, before load_state(). Changes all or,
  /// throwing, nothing. Here it is refused.
  virtual void take_options(const detail::NamedOptions& options);
  /// For take_options(): what describe() is from now on.
  void set_options(const detail::NamedOptions& options);

  torch::optim::Optimizer& optimizer() { return *optimizer_; }
  const torch::optim::Optimizer& optimizer() const { return *optimizer_; }

  /// The rates in force, one a group.
  std::vector<double> lrs_in_force() const;

  /// One rate a group; throws c10::Error for a list of another length, and for
  /// a rate that is none.
  std::vector<double> checked_base_lrs(const PerGroup& base_lrs) const;

  /// To be asked once in each step: whether it is to do nothing.
  bool follows_a_skipped_step();

  /// The latest time: whole numbers are exact up to there.
  static constexpr int64_t kLastTime = int64_t{1} << 53;

  /// last_epoch() + 1; throws where the clock is at kLastTime.
  int64_t next_epoch() const;

  /// Notes a clock and the rates that hold at it.
  void commit(int64_t last_epoch, std::vector<double> lrs);

 private:
  torch::optim::Optimizer* optimizer_;
  std::string kind_;
  std::shared_ptr<const detail::NamedOptions> options_;
  std::string fingerprint_;
  int64_t last_epoch_ = 0;
  std::vector<double> last_lrs_;
  bool follows_skipped_ = false;
  // The optimizer's count at the last step; none where it is not known.
  std::optional<int64_t> skipped_;
  const GradScaler* scaler_ = nullptr;
  int64_t skipped_by_scaler_ = 0;
};

}  // namespace stepsize
