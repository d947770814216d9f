#pragma once

#include <stepsize/state/option_list.h>
#include <stepsize/state/options_from.h>
#include <torch/arg.h>
#include <torch/optim/optimizer.h>

#include <cstddef>
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
namespace detail {
class HeldWeights;
struct Weights;
}  // namespace detail

/// What the average weighs.
enum class AveragingMode : std::uint8_t {
  kMean,         ///< all updates alike: stochastic weight averaging
  kExponential,  ///< the last ones most, by a decay
  kTail,         ///< the last ones alone, and these alike
};

/// Options of AveragedModel.
class AveragedModelOptions {
 public:
  TORCH_ARG(AveragingMode, mode) = AveragingMode::kMean;
  /// kExponential: what stays of the average at an update; in [0, 1).
  TORCH_ARG(double, decay) = 0.999;
  /// kExponential: the decay is (1 + n) / (10 + n) where that is smaller, n
  /// being the updates before, so that the first weights are soon forgotten.
  TORCH_ARG(bool, warm_up_decay) = false;
  /// kTail: the share of the updates so far that is averaged; in (0, 1].
  TORCH_ARG(double, tail_fraction) = 0.5;
  /// kTail: so many of the last updates instead; 0: the share.
  TORCH_ARG(int64_t, tail_updates) = 0;
  /// Every call of so many is an update; >= 1.
  TORCH_ARG(int64_t, update_every) = 1;
  /// Whether buffers of floating point are averaged too; else they are copied,
  /// as Python's use_buffers has it.
  TORCH_ARG(bool, average_buffers) = false;

 public:
  static const OptionList<AveragedModelOptions>& option_list();
};

/// Averages of a module's weights over a run (Izmailov et al., Averaging
/// Weights Leads to Wider Optima, 2018; Polyak and Juditsky, 1992). For the
/// weights w at update n, from 1, which is a copy, on:
///
///   kMean         a = a + (w - a) / n
///   kExponential  a = decay a + (1 - decay) w
///   kTail         the mean over the last m updates exactly
///
/// where m is at least tail_fraction f of n and at most (2 - f) f n + 2, or in
/// [tail_updates, 2 tail_updates): two means are kept, the later of which takes
/// the place of the first when it is long enough. Cost: one pass over the
/// weights an update and one copy of them, of float32 for half precision; kTail
/// twice that. The weights must keep shape, type and device. `torch::save` and
/// `torch::load` carry all of it, bit for bit.
class AveragedModel {
 public:
  /// Averages the parameters of the module, and keeps its buffers: those that
  /// it has now. They are copied at the first update. Throws c10::Error where
  /// an option is out of range.
  explicit AveragedModel(
      const torch::nn::Module& module,
      const AveragedModelOptions& options = {});
  /// The same for a module that is held: `torch::nn::Linear model(...)`, or
  /// `auto model = std::make_shared<Net>()`.
  template <typename Contained>
  explicit AveragedModel(
      torch::nn::ModuleHolder<Contained> module,
      const AveragedModelOptions& options = {})
      : AveragedModel(static_cast<const torch::nn::Module&>(*module), options) {
  }
  template <typename Contained>
  explicit AveragedModel(
      const std::shared_ptr<Contained>& module,
      const AveragedModelOptions& options = {})
      : AveragedModel(
            static_cast<const torch::nn::Module&>(*checked(module)), options) {}
  /// Averages these tensors, which must be defined; of integers they are
  /// copied.
  explicit AveragedModel(
      const std::vector<at::Tensor>& tensors,
      const AveragedModelOptions& options = {});

  // A copy would write to the same tensors.
  AveragedModel(const AveragedModel&) = delete;
  AveragedModel& operator=(const AveragedModel&) = delete;
  AveragedModel(AveragedModel&&) = default;
  AveragedModel& operator=(AveragedModel&&) = default;
  ~AveragedModel() = default;

  /// To be called after each step of the optimizer. True where it was an
  /// update: call number update_every, 2 update_every, and so on. Throws
  /// c10::Error, and changes nothing, where a weight has changed its shape,
  /// type or device, and while an AveragedWeights lives.
  bool update();

  /// Updates so far.
  int64_t updates() const { return updates_; }
  /// How many of the last updates the average is over.
  int64_t covered() const { return covered_; }
  /// The averages, in the order of parameters and buffers, or of the tensors.
  /// None before the first update.
  const std::vector<at::Tensor>& averages() const { return averages_; }

  /// Writes the averages into the module for good. Throws c10::Error, and
  /// changes nothing, before the first update.
  void write_to_model() const;

  /// renew_batch_norm() with the averages in the module, which must be the one
  /// that is averaged. The renewed statistics go with the averages until the
  /// next update; the module's own weights and statistics are put back.
  void renew_batch_norm(
      torch::nn::Module& module, const std::function<void()>& forward_all);

  const AveragedModelOptions& options() const { return options_; }

  /// Loads what `torch::save` has written. Throws c10::Error, and changes
  /// nothing, where it does not fit the weights or the options differ, unless
  /// those of the program or of the file are to hold. Returns how they differ,
  /// a sentence each. Another mode or other tail is refused with kProgram.
  std::vector<std::string> load(
      torch::serialize::InputArchive& archive,
      OptionsFrom from = OptionsFrom::kMustAgree);
  /// What puts the present options back, for a checkpoint that undoes a load.
  std::function<void()> keep_options();

  friend torch::serialize::OutputArchive& operator<<(
      torch::serialize::OutputArchive& archive, const AveragedModel& averaged);
  friend torch::serialize::InputArchive& operator>>(
      torch::serialize::InputArchive& archive, AveragedModel& averaged);

 private:
  friend class AveragedWeights;

  template <typename Pointer>
  static const Pointer& checked(const Pointer& module) {
    check_not_null(module != nullptr);
    return module;
  }
  static void check_not_null(bool there);

  AveragedModel(
      const detail::Weights& weights, const AveragedModelOptions& options);

  void check_ready() const;
  void check_weights() const;
  double share_of_new() const;
  int64_t tail_wanted(int64_t updates) const;
  void take(std::vector<at::Tensor>& averages, double share) const;

  AveragedModelOptions options_;
  std::vector<at::Tensor> tensors_;
  std::vector<at::Tensor> forms_;  ///< their shapes, types and devices
  std::vector<bool> is_averaged_;
  std::vector<at::Tensor> averages_;
  std::vector<at::Tensor> later_;  ///< kTail: the mean that comes next
  int64_t calls_ = 0;
  int64_t updates_ = 0;
  int64_t covered_ = 0;
  int64_t later_covered_ = 0;
  bool is_swapped_ = false;
};

/// Has a module hold its averages while it lives, and then puts back bit for
/// bit what it held, buffers too, also when an exception ends it.
///
///     {
///       AveragedWeights guard(averaged);
///       ...
///     }
///
/// Cost: one copy of the weights while it lives. The AveragedModel must neither
/// be moved nor updated then. One that is in use refuses a second guard.
class AveragedWeights {
 public:
  /// Throws c10::Error, and changes nothing, before the first update, and what
  /// update() throws.
  explicit AveragedWeights(AveragedModel& averaged);
  ~AveragedWeights();
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  AveragedModel& averaged_;
  std::unique_ptr<detail::HeldWeights> held_;
};

}  // namespace stepsize
