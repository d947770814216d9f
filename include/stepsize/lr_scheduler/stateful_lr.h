#pragma once

#include <torch/optim/optimizer.h>
#include <torch/optim/schedulers/lr_scheduler.h>

#include <cstdint>
#include <string>
#include <vector>

namespace stepsize {

/// What all schedulers here have in common: a 64-bit clock, the last rates,
/// and a state that `torch::save` and `torch::load` keep.
///
/// The state carries the scheduler's kind and its options. Loading it into
/// another kind, other options, or an optimizer with another number of groups
/// throws c10::Error and changes nothing. The rates in force when the state
/// was saved are part of it, whoever set them, and a load sets them again (and
/// the momenta that are cycled): several schedulers of one optimizer may be
/// loaded in any order. The optimizer must outlive the scheduler, which cannot
/// be copied, and may not be moved under it.
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

  friend torch::serialize::OutputArchive& operator<<(
      torch::serialize::OutputArchive& archive, const StatefulLR& scheduler);
  friend torch::serialize::InputArchive& operator>>(
      torch::serialize::InputArchive& archive, StatefulLR& scheduler);

 protected:
  StatefulLR(
      torch::optim::Optimizer& optimizer,
      std::string kind,
      std::string fingerprint);

  /// The class whose save_state() it is: one kind may be driven by a class
  /// that keeps more than another ("RuleLR", "WarmupStableDecayLR").
  virtual const char* state_class() const = 0;

  /// Whether a state whose scheduler described itself so may be loaded: here,
  /// if kind and options are the same.
  virtual bool takes_state_of(const std::string& description) const {
    return description == fingerprint_;
  }

  /// Writes what a subclass adds to the state.
  virtual void save_state(torch::serialize::OutputArchive& archive) const = 0;

  /// Reads and checks all that a subclass has written, and only then sets
  /// `lrs` (which are checked) in the optimizer and takes the rest over.
  virtual void load_state(
      torch::serialize::InputArchive& archive,
      const std::vector<double>& lrs) = 0;

  torch::optim::Optimizer& optimizer() { return *optimizer_; }
  const torch::optim::Optimizer& optimizer() const { return *optimizer_; }

  /// The rates in force, one a group.
  std::vector<double> lrs_in_force() const;

  /// The latest time: whole numbers are exact up to there.
  static constexpr int64_t kLastTime = int64_t{1} << 53;

  /// last_epoch() + 1; throws where the clock is at kLastTime.
  int64_t next_epoch() const;

  /// Notes a clock and the rates that hold at it.
  void commit(int64_t last_epoch, std::vector<double> lrs);

 private:
  torch::optim::Optimizer* optimizer_;
  std::string kind_;
  std::string fingerprint_;
  int64_t last_epoch_ = 0;
  std::vector<double> last_lrs_;
};

}  // namespace stepsize
