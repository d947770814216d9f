#pragma once

#include <stepsize/lr_scheduler/per_group.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/lr_scheduler/stateful_lr.h>
#include <stepsize/state/metric_mode.h>
#include <torch/arg.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace stepsize {

/// Options of GreedyLR. Defaults are those of the authors' code in Hugging
/// Face's transformers.
class GreedyLROptions {
 public:
  TORCH_ARG(MetricMode, mode) = MetricMode::kMin;
  /// Factor of the rate at a cut, and by which it is divided at a rise; in
  /// (0, 1).
  TORCH_ARG(double, factor) = 0.95;
  /// Steps in a row, better or not, to sit through: the change comes at the
  /// next one; >= 0.
  TORCH_ARG(int64_t, patience) = 10;
  /// What the best metric must be beaten by; finite and >= 0.
  TORCH_ARG(double, threshold) = 1e-6;
  TORCH_ARG(ThresholdMode, threshold_mode) = ThresholdMode::kAbs;
  /// Steps after a cut, and after a rise, in which no metric counts; >= 0.
  TORCH_ARG(int64_t, cooldown) = 0;
  TORCH_ARG(int64_t, warmup) = 0;
  /// The metric is the mean of so many last ones, >= 1.
  TORCH_ARG(int64_t, window) = 1;
  /// The least and the largest rate, for all groups or one a group; finite and
  /// >= 0. A rate beyond them is not moved towards them.
  TORCH_ARG(PerGroup, min_lr) = 1e-3;
  TORCH_ARG(PerGroup, max_lr) = 1.0;
  /// A change by no more than this is left out; finite and >= 0.
  TORCH_ARG(double, eps) = 1e-8;

 public:
  /// The options as text; throws c10::Error where one is out of its range.
  std::string describe() const;
  /// The same, for the library's own use.
  detail::NamedOptions options() const;
};

/// Raises the rates while a metric keeps improving and cuts them when it does
/// not (Subramanian, Krishnamoorthy and Murthy, Dynamic Learning Rate
/// Scheduling based on Loss Changes Leads to Faster Convergence, 2025).
///
///     scheduler.step(loss);
///
/// A step is good where the metric improves on the best one, as
/// ReduceLROnPlateau has it, and bad where not. More than `patience` good ones
/// in a row divide the rates by the factor, as many bad ones multiply them. It
/// works on the rates in force, so that it goes together with others, and knows
/// no schedule and thus no seek() and extend(). A NaN improves nothing.
class GreedyLR : public StatefulLR {
 public:
  explicit GreedyLR(
      torch::optim::Optimizer& optimizer, const GreedyLROptions& options = {});

  /// Looks at a metric, and changes the rates where it is time to.
  void step(double metric);
  /// A step without a metric changes no rate: it counts in last_epoch() and
  /// does nothing else. So does one through a pointer to the base, LRScheduler.
  [[deprecated("pass the metric, or no rate is ever changed: step(loss)")]] void
  step() {
    LRScheduler::step();
  }

  /// Good and bad steps in a row.
  int64_t num_good_epochs() const { return counts_.good; }
  int64_t num_bad_epochs() const { return counts_.bad; }
  /// Best metric so far, the mean of a window; infinite before the first.
  double best() const { return best_; }
  /// Steps left in which no metric counts: after a cut, and after a rise.
  int64_t cooldown_counter() const { return counts_.cooldown; }
  int64_t warmup_counter() const { return counts_.warmup; }

  std::function<void()> keep_options() override;

 protected:
  std::vector<double> get_lrs() override;
  const char* state_class() const override { return "GreedyLR"; }
  void save_state(torch::serialize::OutputArchive& archive) const override;
  void load_state(
      torch::serialize::InputArchive& archive,
      const std::vector<double>& lrs) override;
  void load_state_only(
      torch::serialize::InputArchive& archive,
      const detail::NamedOptions& saved,
      int64_t epoch,
      const std::vector<double>& lrs) override;
  void take_options(const detail::NamedOptions& options) override;

 private:
  struct Counts {
    int64_t good = 0;
    int64_t bad = 0;
    int64_t cooldown = 0;
    int64_t warmup = 0;
  };

  std::vector<double> changed_lrs(bool up) const;

  GreedyLROptions options_;
  double best_;
  Counts counts_;
  std::vector<double> recent_;  ///< metrics of the window, the oldest first
};

}  // namespace stepsize
