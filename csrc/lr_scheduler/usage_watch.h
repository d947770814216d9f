#pragma once

#include <ATen/core/Tensor.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <string>
#include <vector>

namespace stepsize::detail {

/// Looks for mistakes in how one scheduler that follows a rule is used: see
/// UsageCheck. It reads what others on the same optimizer say of themselves,
/// and is told of the scheduler's own steps before they change anything.
class UsageWatch {
 public:
  /// What the scheduler has to show; both lists outlive the watch.
  UsageWatch(
      const torch::optim::Optimizer& optimizer,
      std::string kind,
      const std::vector<double>& base_lrs);
  UsageWatch(const UsageWatch&) = delete;
  UsageWatch& operator=(const UsageWatch&) = delete;
  ~UsageWatch();

  /// The scheduler is about to take these rates for its base.
  void before_base_rates(const std::vector<double>& in_force) const;
  /// It is about to make a step, after which it sets rates or rests.
  void before_step(bool sets_rates, const std::vector<double>& in_force);
  /// It is about to set rates, outside of a step too.
  void before_rates(const std::vector<double>& in_force);
  /// It has set these rates, and sets others later unless it has ended. What is
  /// in force since may be rounded.
  void set(
      const std::vector<double>& lrs,
      std::vector<double> in_force,
      bool has_ended);
  /// One that goes together with any other has set rates.
  static void note_cut(const torch::optim::Optimizer& optimizer);
  /// It goes on from somewhere else: the order of calls says nothing now.
  void stop_counting();

 private:
  bool has_lowered(std::size_t group, double lr) const;
  void check_interleaving(const UsageWatch* before);
  void check_rates_kept(const std::vector<double>& in_force);
  void check_order();
  uint64_t versions() const;
  std::vector<at::Tensor> sample() const;
  bool has_moved_since();
  bool may_have_moved_nothing() const;

  const torch::optim::Optimizer& optimizer_;
  std::string kind_;
  const std::vector<double>& base_lrs_;
  std::vector<double> lrs_;
  std::vector<double> left_in_force_;
  bool rests_ = false;
  bool has_told_of_rates_ = false;

  // Of the interleaving.
  int64_t steps_ = 0;
  int interruptions_ = 0;

  // Of the order.
  int steps_left_;
  uint64_t versions_ = 0;
  std::vector<at::Tensor> sample_;
  int64_t idle_before_first_ = 0;
  bool has_moved_ = false;
  bool moved_last_ = false;
  int idle_after_moves_ = 0;
};

}  // namespace stepsize::detail
