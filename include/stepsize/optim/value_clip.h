#pragma once

#include <stepsize/optim/clip_rule.h>
#include <torch/arg.h>

#include <vector>

namespace stepsize {

/// Options of ValueClip.
class ValueClipOptions {
 public:
  /// `max_value`: the largest magnitude of an element; finite and > 0.
  ValueClipOptions(double max_value = 1) : max_value_(max_value) {}  // NOLINT

  TORCH_ARG(double, max_value);

 public:
  static const OptionList<ValueClipOptions>& option_list();
};

/// Each element of the gradient kept within [-max_value, max_value], as
/// Python's clip_grad_value_. The direction changes with it.
class ValueClip : public ListedClipRule<ValueClip, ValueClipOptions> {
 public:
  using ListedClipRule::ListedClipRule;
  ClippedGradients clip(const ClipInput& input) override;
};

}  // namespace stepsize
