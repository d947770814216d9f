#pragma once

#include <stepsize/kernels/grad_norm.h>
#include <stepsize/optim/clip_rule.h>
#include <stepsize/optim/indexed_optimizer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace stepsize {

class GradScaler;

/// What becomes of a step whose gradient has a NaN or an Inf.
enum class NonFiniteGradient : std::uint8_t {
  kSkip,   ///< nothing is changed; skipped_steps() counts it
  kThrow,  ///< c10::Error, and nothing is changed
  /// It is not looked for, and gets into the parameters. Wants max_norm
  /// infinite: no norm is taken then, unless a clip rule or a GradScaler wants
  /// it, and last_grad_norm() is NaN.
  kUnchecked,
};

/// The part of the options that holds for all groups alike.
struct ClipOptions {
  double max_norm;
  NormType norm_type;
  NonFiniteGradient non_finite;
};

/// An optimizer that scales the gradient g of all groups together to a norm of
/// at most max_norm before each step:
///
///   s = max_norm / max(|g|, max_norm)
///
/// (Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural
/// networks, 2013, algorithm 1). The gradients themselves stay as they are: s
/// is folded into the update, and so is the scale of a GradScaler that makes
/// the step. On a quadratic, a rate above 2/lambda then no longer diverges, but
/// ends on a cycle of bounded size.
///
/// Cost: one more pass over the gradients, for the norm; none with kUnchecked.
/// On an accelerator the
/// host does not wait for the device, but where it is asked for a number
/// (last_grad_norm(), clipped_steps(), skipped_steps(), kThrow).
class ClippedOptimizer : public IndexedOptimizer {
 public:
  /// One update. With a closure, which computes the loss and calls backward(),
  /// the loss is returned. Throws c10::Error where a gradient does not fit its
  /// parameter or is sparse; nothing has been changed then.
  at::Tensor step(LossClosure closure = nullptr) override;

  /// From the next step on clips by a copy of this rule, and no longer by
  /// max_norm; its state begins anew. A save carries its name, options and
  /// state, and a load wants the same rule here. On an accelerator each step
  /// waits for the norm. Other ranks must be given the same.
  void set_clip_rule(const ClipRule& rule);
  /// The rule with its state; null where max_norm clips.
  const ClipRule* clip_rule() const { return rule_.get(); }

  /// Norm of the gradient in the last step, before clipping and without the
  /// scale of a GradScaler; NaN before the first. It is kept by a save.
  double last_grad_norm() const;
  /// Steps so far whose gradient was longer than max_norm, or changed by the
  /// rule.
  int64_t clipped_steps() const;
  /// Steps so far that were left out, since their gradient was not finite.
  int64_t skipped_steps() const;

 protected:
  /// As those of IndexedOptimizer.
  explicit ClippedOptimizer(
      std::unique_ptr<torch::optim::OptimizerOptions> defaults);
  ClippedOptimizer(
      std::string kind,
      std::vector<std::string> slots,
      std::unique_ptr<torch::optim::OptimizerOptions> defaults);

  /// The clipping that options ask for.
  virtual ClipOptions clip_options(
      const torch::optim::OptimizerOptions& options) const = 0;

  /// Steps one group, each gradient times `grad_scale` where that is defined.
  virtual void update_group(
      std::size_t group,
      const std::vector<at::Tensor>& parameters,
      const std::vector<at::Tensor>& gradients,
      const at::Tensor& grad_scale) = 0;

  bool has_deciding_counters() const override { return rule_ != nullptr; }
  void save_counters(torch::serialize::OutputArchive& archive) const override;
  std::function<void()> read_counters(
      torch::serialize::InputArchive& archive) override;

 private:
  friend class GradScaler;

  /// The factor of the gradients; false where the step is to be left out.
  bool measure(
      const std::vector<at::Tensor>& gradients,
      const ClipOptions& clip,
      at::Tensor& grad_scale);

  /// Puts what the rule leaves of them in the gradients' place, all checked,
  /// and a factor in grad_scale; returns whether anything is another. `rule`
  /// has its state after it.
  bool clip_by(
      ClipRule& rule,
      std::vector<std::vector<at::Tensor>>& gradients,
      at::Tensor& grad_scale) const;

  std::shared_ptr<const ClipRule> rule_;
  at::Tensor last_norm_;
  int64_t clipped_ = 0;
  int64_t skipped_ = 0;
  // Those of an accelerator, which the host has not read.
  at::Tensor clipped_there_;
  at::Tensor skipped_there_;
  // Of the step at hand, where a GradScaler makes it: what the gradients are
  // too long by, 0-dim, and whether the step was left out.
  at::Tensor scale_;
  at::Tensor left_out_;
};

}  // namespace stepsize
