#pragma once

#include <stepsize/optim/clip_rule.h>
#include <torch/arg.h>

#include <cstdint>
#include <vector>

namespace stepsize {

/// Options of AdaGC, preset as in the paper.
class AdaGCOptions {
 public:
  /// How many times its usual norm a parameter's gradient may be long; finite
  /// and > 0.
  TORCH_ARG(double, lambda_rel) = 1.05;
  /// The longest gradient of all parameters together in the warm-up; > 0.
  TORCH_ARG(double, lambda_abs) = 1.0;
  /// Share of the usual norm that stays from step to step; in [0, 1).
  TORCH_ARG(double, beta) = 0.98;
  /// The number of the first update that is clipped by parameter; >= 1.
  TORCH_ARG(int64_t, warmup_steps) = 100;

 public:
  static const OptionList<AdaGCOptions>& option_list();
};

/// Clips each parameter's gradient by its own usual norm (Wang et al., AdaGC:
/// Improving Training Stability for Large Language Model Pretraining, 2025,
/// algorithm 1). For each parameter's gradient g with usual norm u:
///
///   update < warmup_steps:  g = min(1, lambda_abs / |all|) g,  u = min(u, |g|)
///   then:                   g = min(1, lambda_rel u / |g|) g
///                           u = beta u + (1 - beta) |g|
///
/// A gradient of zeros leaves u as it is, which the paper does not say: u would
/// be 0 from then on, and so would every gradient. Usual norms go by the
/// parameter's position in the optimizer: where parameters are erased or change
/// places, set the rule anew.
class AdaGC : public ListedClipRule<AdaGC, AdaGCOptions> {
 public:
  using ListedClipRule::ListedClipRule;
  ClippedGradients clip(const ClipInput& input) override;

  /// By the parameter's position, counted over all groups; 0 where there is
  /// none yet.
  const std::vector<double>& usual_norms() const { return usual_; }

  std::vector<double> state() const override;
  void restore(const std::vector<double>& state) override;

 private:
  int64_t seen_ = 0;
  std::vector<double> usual_;
};

}  // namespace stepsize
