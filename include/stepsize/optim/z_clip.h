#pragma once

#include <stepsize/optim/clip_rule.h>
#include <torch/arg.h>

#include <cstdint>
#include <vector>

namespace stepsize {

/// Options of ZClip, named and preset as in the authors' own code.
class ZClipOptions {
 public:
  /// Share of mean and variance that stays from step to step; in [0, 1).
  TORCH_ARG(double, alpha) = 0.97;
  /// The z-score beyond which a norm is clipped; finite and > 0.
  TORCH_ARG(double, z_thresh) = 2.5;
  /// The first updates, which mean and variance start from; >= 1. None of them
  /// is clipped but by max_norm.
  TORCH_ARG(int64_t, warmup_steps) = 25;
  /// The longest gradient in any case; > 0, infinity sets no limit.
  TORCH_ARG(double, max_norm) = 1.0;

 public:
  static const OptionList<ZClipOptions>& option_list();
};

/// Clips a norm that is an outlier among those of late (Kumar et al., ZClip:
/// Adaptive Spike Mitigation for LLM Pre-Training, 2025). With mean mu and
/// standard deviation sigma of the norms so far, z = (|g| - mu) / sigma:
///
///   |g| -> mu + z_thresh^2 / z sigma      where z > z_thresh
///
/// so that the longer it was the shorter it becomes; then at most max_norm.
/// Mean and variance go on with the norm that is left before max_norm.
class ZClip : public ListedClipRule<ZClip, ZClipOptions> {
 public:
  using ListedClipRule::ListedClipRule;
  ClippedGradients clip(const ClipInput& input) override;

  /// NaN before there are any.
  double mean() const;
  double variance() const;

  std::vector<double> state() const override;
  void restore(const std::vector<double>& state) override;

 private:
  // Of the first norms: how many, their mean, and their sum of squared
  // distances from it.
  int64_t seen_ = 0;
  double mean_ = 0;
  double spread_ = 0;
};

}  // namespace stepsize
