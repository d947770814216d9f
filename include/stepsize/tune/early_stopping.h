#pragma once

#include <stepsize/state/metric_mode.h>
#include <stepsize/state/options_from.h>
#include <torch/arg.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace torch::nn {
class Module;
template <typename Contained>
class ModuleHolder;
}  // namespace torch::nn

namespace stepsize {

/// What EarlyStoppingOptions::min_delta is measured in.
enum class MinDeltaMode : std::uint8_t {
  kAbs,  ///< the metric's own unit
  kRel,  ///< the size of the best metric, |best|
};

/// Options of EarlyStopping. Names and meanings are ReduceLROnPlateau's where
/// both have them.
class EarlyStoppingOptions {
 public:
  TORCH_ARG(MetricMode, mode) = MetricMode::kMin;
  /// Steps without improvement to sit through: the stop comes at the next one,
  /// as the cut does in ReduceLROnPlateau (and one step later than in Keras
  /// and Lightning); >= 0.
  TORCH_ARG(int64_t, patience) = 10;
  /// An improvement beats the best metric by more than this; finite and >= 0,
  /// and below 1 where it is relative.
  TORCH_ARG(double, min_delta) = 0.0;
  TORCH_ARG(MinDeltaMode, min_delta_mode) = MinDeltaMode::kAbs;

 public:
  /// The options as text; throws c10::Error where one is out of its range.
  std::string describe() const;
};

/// Says when a metric has stopped improving, and keeps the weights of its best
/// step.
///
///     EarlyStopping stopping(*model, EarlyStoppingOptions().patience(5));
///     while (epoch < most) {
///       ...
///       if (stopping.step(validation_loss)) break;
///     }
///     stopping.restore_best();
///
/// A metric m improves on the best one b if it is the first finite one, or
///
///   m < b - d  (kMin),  m > b + d  (kMax),  d = min_delta or min_delta |b|
///
/// NaN and infinite metrics improve nothing and are counted. So a slow rise of
/// less than d a step is measured against the last improvement and not lost.
/// (Prechelt, Early Stopping - But When?, 1998.)
///
/// Cost: one copy of the weights, made at the first improvement and written at
/// each. The copies lie on the weights' devices.
///
/// `torch::save` and `torch::load` carry all of it, the best weights too, by
/// position; a run goes on bit for bit. Loading what another class, other
/// options or other weights have written throws c10::Error and changes nothing;
/// load() may let one side's options hold.
class EarlyStopping {
 public:
  /// Watches the metric alone.
  explicit EarlyStopping(const EarlyStoppingOptions& options = {});
  /// Keeps parameters and buffers of the module, those that it has now.
  explicit EarlyStopping(
      const torch::nn::Module& module,
      const EarlyStoppingOptions& options = {});
  /// The same for a module that is held: `torch::nn::Linear model(...)`, or
  /// `auto model = std::make_shared<Net>()`.
  template <typename Contained>
  explicit EarlyStopping(
      torch::nn::ModuleHolder<Contained> module,
      const EarlyStoppingOptions& options = {})
      : EarlyStopping(static_cast<const torch::nn::Module&>(*module), options) {
  }
  template <typename Contained>
  explicit EarlyStopping(
      const std::shared_ptr<Contained>& module,
      const EarlyStoppingOptions& options = {})
      : EarlyStopping(
            static_cast<const torch::nn::Module&>(*checked(module)), options) {}
  /// Keeps these tensors, which must be defined.
  explicit EarlyStopping(
      std::vector<at::Tensor> tensors,
      const EarlyStoppingOptions& options = {});

  // A copy would write to the same tensors.
  EarlyStopping(const EarlyStopping&) = delete;
  EarlyStopping& operator=(const EarlyStopping&) = delete;
  EarlyStopping(EarlyStopping&&) = default;
  EarlyStopping& operator=(EarlyStopping&&) = default;
  ~EarlyStopping() = default;

  /// Looks at a metric, and copies the weights where it is the best. True if it
  /// is time to stop. Where there is no memory for the copies it throws what
  /// LibTorch throws, and keeps the best step before as it was.
  bool step(double metric);

  /// What the last step() said; false before the first.
  bool stopped() const { return num_bad_steps_ > options_.patience(); }
  /// Best metric so far; infinite before the first, as in ReduceLROnPlateau.
  double best() const { return best_; }
  /// The step of the best metric, counted from 0; -1 before there is one.
  int64_t best_step() const { return best_step_; }
  /// Bad steps in a row.
  int64_t num_bad_steps() const { return num_bad_steps_; }
  /// Calls of step() so far.
  int64_t steps() const { return steps_; }
  /// Steps whose metric was NaN or infinite.
  int64_t non_finite_steps() const { return non_finite_steps_; }

  /// Writes the weights of the best step back, bit for bit, into the same
  /// tensors. Optimizer state stays as it is. Throws c10::Error, and changes
  /// nothing, where there is no best step yet, where no weights were given, or
  /// where one has changed its shape or type since.
  void restore_best() const;

  const EarlyStoppingOptions& options() const { return options_; }

  /// Loads what `torch::save` has written where the options differ: those of
  /// this hold, or the file's. Returns how they do, a sentence each. Of another
  /// mode a best metric says nothing: that is refused with kProgram.
  std::vector<std::string> load(
      torch::serialize::InputArchive& archive,
      OptionsFrom from = OptionsFrom::kMustAgree);

  /// What puts the present options back, and no more: for a checkpoint that is
  /// to undo a load.
  std::function<void()> keep_options();

  friend torch::serialize::OutputArchive& operator<<(
      torch::serialize::OutputArchive& archive, const EarlyStopping& stopping);
  friend torch::serialize::InputArchive& operator>>(
      torch::serialize::InputArchive& archive, EarlyStopping& stopping);

 private:
  template <typename Pointer>
  static const Pointer& checked(const Pointer& module) {
    TORCH_CHECK(module != nullptr, "EarlyStopping: the module is null");
    return module;
  }

  bool is_better(double metric) const;

  EarlyStoppingOptions options_;
  std::vector<at::Tensor> tensors_;
  std::vector<at::Tensor> best_tensors_;  // empty before the first best step
  double best_;
  int64_t best_step_ = -1;
  int64_t num_bad_steps_ = 0;
  int64_t steps_ = 0;
  int64_t non_finite_steps_ = 0;
};

}  // namespace stepsize
