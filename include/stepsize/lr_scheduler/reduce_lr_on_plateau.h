#pragma once

#include <stepsize/lr_scheduler/per_group.h>
#include <stepsize/lr_scheduler/stateful_lr.h>
#include <stepsize/state/metric_mode.h>
#include <torch/arg.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace stepsize {

/// The name that MetricMode had here in version 0.1.
using PlateauMode = MetricMode;

/// By how much a metric must beat the best one to count.
enum class ThresholdMode : std::uint8_t {
  kRel,        ///< by threshold |best|, the same for metrics of either sign
  kAbs,        ///< by threshold
  kPythonRel,  ///< as Python's "rel": below best (1 - threshold), or above
               ///< best (1 + threshold). For positive metrics the same as
               ///< kRel; a negative one that stands still beats itself.
};

/// Options of ReduceLROnPlateau. All defaults are Python's; what kRel means
/// for negative metrics is not.
class ReduceLROnPlateauOptions {
 public:
  TORCH_ARG(MetricMode, mode) = MetricMode::kMin;
  /// Factor of the rate at each cut; in [0, 1).
  TORCH_ARG(double, factor) = 0.1;
  /// Steps without improvement to sit through: the cut comes at the next
  /// one; >= 0.
  TORCH_ARG(int64_t, patience) = 10;
  /// What the best metric must be beaten by; finite and >= 0.
  TORCH_ARG(double, threshold) = 1e-4;
  TORCH_ARG(ThresholdMode, threshold_mode) = ThresholdMode::kRel;
  /// Steps after a cut in which a bad metric does not count; >= 0.
  TORCH_ARG(int64_t, cooldown) = 0;
  /// The least rate, for all groups or one a group; finite and >= 0.
  TORCH_ARG(PerGroup, min_lr) = 0.0;
  /// A cut by no more than this is left out; finite and >= 0.
  TORCH_ARG(double, eps) = 1e-8;

 public:
  /// The options as text; throws c10::Error where one is out of its range.
  std::string describe() const;
  /// The same, for the library's own use.
  detail::NamedOptions options() const;
};

/// Cuts the rates when a metric has stopped improving. Python:
/// torch.optim.lr_scheduler.ReduceLROnPlateau.
///
///     scheduler.step(validation_loss);
///
/// It works on the rates in force, so that it goes together with others. It
/// knows no schedule and thus no seek() and extend().
///
/// A metric m improves on the best one b if
///
///   m < b - d  (kMin),  m > b + d  (kMax),  d = threshold |b| or threshold
///
/// The first one does unless it is as bad as can be. A NaN improves nothing.
/// With kPythonRel it also loads what version 0.1 has saved with kRel, which
/// was Python's then, and goes on as it would have.
class ReduceLROnPlateau : public StatefulLR {
 public:
  explicit ReduceLROnPlateau(
      torch::optim::Optimizer& optimizer,
      const ReduceLROnPlateauOptions& options = {});

  /// Looks at a metric, and cuts the rates where it is time to.
  void step(double metric);
  /// A step without a metric cuts no rate: it counts in last_epoch() and does
  /// nothing else. So does one through a pointer to the base, LRScheduler.
  [[deprecated("pass the metric, or no rate is ever cut: step(loss)")]] void
  step() {
    LRScheduler::step();
  }

  /// Bad steps in a row.
  int64_t num_bad_epochs() const { return num_bad_epochs_; }
  /// Best metric so far; infinite before the first.
  double best() const { return best_; }
  /// Steps of cooldown left.
  int64_t cooldown_counter() const { return cooldown_counter_; }

  std::function<void()> keep_options() override;

 protected:
  std::vector<double> get_lrs() override;
  const char* state_class() const override { return "ReduceLROnPlateau"; }
  bool takes_option(
      const std::string& name, const std::string* saved) const override;
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
  void load_state(
      torch::serialize::InputArchive& archive,
      const std::vector<double>& lrs,
      bool of_other_options);
  std::vector<double> cut_lrs() const;

  ReduceLROnPlateauOptions options_;
  double best_;
  int64_t num_bad_epochs_ = 0;
  int64_t cooldown_counter_ = 0;
};

}  // namespace stepsize
