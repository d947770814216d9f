#pragma once

#include <stepsize/state/option_list.h>
#include <stepsize/state/options_from.h>
#include <torch/arg.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace stepsize {

class ClippedOptimizer;
class Reduction;

/// Options of GradScaler: names and defaults are Python's.
class GradScalerOptions {
 public:
  /// A positive normal number of float32.
  TORCH_ARG(double, init_scale) = 65536;
  /// What the scale grows by; finite and > 1. Powers of two round nothing.
  TORCH_ARG(double, growth_factor) = 2;
  /// What the scale counts for after an overflow; in (0, 1).
  TORCH_ARG(double, backoff_factor) = 0.5;
  /// After so many updates in a row without an overflow it grows; >= 1.
  TORCH_ARG(int64_t, growth_interval) = 2000;
  /// False: nothing is scaled, checked or counted, and step() is that of the
  /// optimizer, so that one loop serves every precision.
  TORCH_ARG(bool, enabled) = true;

 public:
  /// Of all but `enabled`.
  static const OptionList<GradScalerOptions>& option_list();
};

/// Multiplies the loss, so that gradients of half precision do not vanish, and
/// leaves steps out whose gradients have overflowed (Micikevicius et al., Mixed
/// Precision Training, 2018, section 3.2). As Python's torch.amp.GradScaler:
///
///     optimizer.zero_grad();
///     scaler.scale(loss).backward();
///     scaler.step(optimizer);
///     scaler.update();
///
/// After an overflow update() lowers the scale, and after growth_interval good
/// updates it raises it. One scaler may serve several optimizers: each has its
/// own overflow, and update() comes once after all of them. What is called out
/// of turn throws c10::Error and changes nothing.
///
/// Cost: see step(). It is not for copies or moves: schedulers refer to it.
class GradScaler {
 public:
  explicit GradScaler(const GradScalerOptions& options = {});
  GradScaler(const GradScaler&) = delete;
  GradScaler& operator=(const GradScaler&) = delete;

  /// The loss, or whatever backward() starts from, times the scale.
  at::Tensor scale(const at::Tensor& output) const;

  /// Divides the gradients of an optimizer by the scale in place, to look at
  /// them or to clip them before step(), and notes whether one is not finite.
  /// One pass; no host waits, but with ranks. Refused are float16 gradients,
  /// which would vanish, as Python refuses them.
  void unscale_(torch::optim::Optimizer& optimizer);

  /// Steps the optimizer by its gradients without the scale, unless one is not
  /// finite: then optimizer and parameters stay as they are, and the step is
  /// counted. With a closure, which calls scale(loss).backward() and returns
  /// the loss, that computes them first and step() returns what it does.
  ///
  /// A ClippedOptimizer without a clip rule takes the scale into the factor
  /// that it clips by: no pass more, no gradient is written, float16 ones lose
  /// nothing, and no host waits for an accelerator. Others get unscale_(), and
  /// the host waits once, to know. What a step evaluates again, as RollbackSGD
  /// may, is unscaled too. Refused is what calls backward() by itself.
  at::Tensor step(
      torch::optim::Optimizer& optimizer,
      const torch::optim::Optimizer::LossClosure& closure = nullptr);

  /// Adapts the scale to what the steps since the last update() have found.
  void update();
  /// Sets it instead: a positive normal number of float32.
  void update(double new_scale);

  /// The scale in force; 1 where it is not enabled. Waits for an accelerator,
  /// and so do the counts.
  double scale() const;
  /// Updates without an overflow since the scale has changed.
  int64_t growth_tracker() const;
  /// Steps left out so far, of all optimizers; saved and loaded.
  int64_t skipped_steps() const;
  /// Of one of them, by this object.
  int64_t skipped_steps(const torch::optim::Optimizer& optimizer) const;

  /// Makes ranks agree on an overflow where an optimizer does not: unscale_()
  /// and step() are then collective. One of this library that has a reduction
  /// needs none here.
  void set_reduction(std::shared_ptr<Reduction> reduction);

  const GradScalerOptions& options() const { return options_; }

  /// Loads what `torch::save` has written, where the options differ: those of
  /// this hold, or the file's, `enabled` aside. Returns how they do. Scale and
  /// counts are the file's.
  std::vector<std::string> load(
      torch::serialize::InputArchive& archive,
      OptionsFrom from = OptionsFrom::kMustAgree);
  /// What puts the present options back, and no more: for a checkpoint that is
  /// to undo a load.
  std::function<void()> keep_options();

  /// Throws c10::Error between step() and update().
  friend torch::serialize::OutputArchive& operator<<(
      torch::serialize::OutputArchive& archive, const GradScaler& scaler);
  friend torch::serialize::InputArchive& operator>>(
      torch::serialize::InputArchive& archive, GradScaler& scaler);

 private:
  enum class Stage : std::uint8_t { kReady, kUnscaled, kStepped };
  struct Record {
    Stage stage = Stage::kReady;
    at::Tensor found;    // whether something was not finite: bool, 0-dim
    at::Tensor skipped;  // steps left out: int64, 0-dim
  };

  Reduction* reduction_for(const torch::optim::Optimizer& optimizer) const;
  void check_ready(
      const torch::optim::Optimizer& optimizer, const char* call) const;
  at::Tensor unscaled(torch::optim::Optimizer& optimizer) const;
  at::Tensor step_clipped(
      ClippedOptimizer& optimizer,
      const torch::optim::Optimizer::LossClosure& closure);
  at::Tensor step_unscaled(
      torch::optim::Optimizer& optimizer,
      const torch::optim::Optimizer::LossClosure& closure);
  void note_step(Record& record, const at::Tensor& left_out);
  void begin_iteration();

  GradScalerOptions options_;
  // Each 0-dim, on the device that has decided last: float32, int64, int64.
  at::Tensor scale_;
  at::Tensor growth_;
  at::Tensor skipped_;
  std::unordered_map<const torch::optim::Optimizer*, Record> records_;
  std::shared_ptr<Reduction> reduction_;
};

}  // namespace stepsize
