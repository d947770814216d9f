#pragma once

#include <stepsize/state/option_list.h>
#include <torch/arg.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <vector>

namespace stepsize {

/// When a step is taken back, and what becomes of the rate: for RollbackSGD
/// and GradientNormRollback. RollbackRule says how the numbers work together.
class RollbackOptions {
 public:
  /// The plain rule: where the norm of the gradient is more than 1.5 times that
  /// of the step before, halve the rate and take the step back. It asks nobody,
  /// and the rate never recovers. (One thing is added: NaN counts as growth.)
  /// On a quadratic it sees a rate only beyond 2.5 / lambda, and the noise of
  /// mini-batches drives the rate to nothing, below 1e-12 of itself in 1000
  /// steps of a small network at batch 8: for full batches and for comparison.
  static RollbackOptions seed_rule();

  /// Growth of the gradient's norm since the earlier point that is too much;
  /// finite and > 1.
  TORCH_ARG(double, ratio) = 1.5;
  /// The rate is multiplied by it in a rollback, and divided in a recovery; in
  /// (0, 1).
  TORCH_ARG(double, factor) = 0.5;
  /// The most updates between the earlier point and the present one; >= 1. On a
  /// quadratic any rate beyond (1 + ratio^(1 / window)) / lambda is seen in
  /// that time: 2.041 with 10, 2.5 with 1. A rollback undoes up to that many
  /// updates; up to ten times as many where the mean loss has risen by `ratio`
  /// meanwhile.
  TORCH_ARG(int64_t, window) = 10;
  /// Growth counts only where its logarithm lies so many standard deviations
  /// above its mean; finite and >= 0, 0 for no such gate.
  TORCH_ARG(double, z_score) = 3;
  /// Decay of that mean and deviation from step to step; in (0, 1).
  TORCH_ARG(double, gate_decay) = 0.97;
  /// Steps that they are built from before the gate is used; >= 1. With
  /// confirm(), growth that the gate holds back is looked into once in so many
  /// steps too: noise may hide a growth that is slow but does not end.
  TORCH_ARG(int64_t, gate_steps) = 25;
  /// In place of the gate before that, where nothing can confirm; finite and
  /// > 1.
  TORCH_ARG(double, early_ratio) = 10;
  /// Growth of the norm, however slow, that is too much where the loss has
  /// risen all the while: GrowthTrend says when it counts. Where the loss is
  /// not known the norm must have grown by `early_ratio` times that. > 1;
  /// infinity for never. At 3 neither noise nor an oscillation that is stable
  /// looks like it: docs/optimizers.md.
  TORCH_ARG(double, slow_ratio) = 3;
  /// Suspect steps in a row before a rollback that nothing can confirm, so that
  /// one odd mini-batch is none; >= 1. NaN and Inf do not wait.
  TORCH_ARG(int64_t, patience) = 2;
  /// With a closure: evaluate it at the earlier point too, and roll back only
  /// where the loss on this very mini-batch has risen by more than the mean
  /// loss. Where the two cannot be told apart, or losses are not positive, the
  /// gradient must have grown by `ratio`.
  TORCH_ARG(bool, confirm) = true;
  /// So many rollbacks in a row, then the point is taken as it is; >= 1.
  TORCH_ARG(int64_t, max_in_a_row) = 5;
  /// Steps without a rollback until the rate recovers by one factor; >= 0, 0
  /// for never. Doubled each time that a recovery is soon taken back, and until
  /// it is as long as slow growth took to show.
  TORCH_ARG(int64_t, recovery_steps) = 200;
  /// The smallest share of its rate that a group keeps; in [0, 1].
  TORCH_ARG(double, floor) = 1e-6;
  /// What else goes back to the earlier point, such as the running statistics
  /// of BatchNorm: module->buffers(). A save does not hold on to which they
  /// are, but to what they were at the earlier point.
  TORCH_ARG(std::vector<at::Tensor>, buffers);

 public:
  /// All but the buffers, which are in no archive.
  static const OptionList<RollbackOptions>& option_list();
};

}  // namespace stepsize
