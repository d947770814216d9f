#pragma once

#include <stepsize/optim/clip_rule.h>
#include <torch/arg.h>

#include <cstdint>
#include <vector>

namespace stepsize {

/// Options of AGC, preset as in the paper.
class AGCOptions {
 public:
  /// `clipping`: the largest norm of a unit's gradient over that of its
  /// weights; finite and > 0. The paper's choice is 0.01 for large batches,
  /// more for small ones.
  AGCOptions(double clipping = 0.01) : clipping_(clipping) {}  // NOLINT

  TORCH_ARG(double, clipping);
  /// The least norm of weights that counts, so that a unit of zeros can leave
  /// them; finite and > 0.
  TORCH_ARG(double, eps) = 1e-3;
  /// The parameter groups up to this one are clipped; -1: all. The paper leaves
  /// the last linear layer out: make it a group of its own, behind the others.
  TORCH_ARG(int64_t, last_group) = -1;

 public:
  static const OptionList<AGCOptions>& option_list();
};

/// Adaptive gradient clipping (Brock et al., High-Performance Large-Scale Image
/// Recognition Without Normalization, 2021, equation 3). For each unit, a row
/// of a matrix, a filter of a convolution, or a whole vector, with weights W
/// and gradient G:
///
///   G = clipping max(|W|, eps) / |G| G    where |G| > clipping max(|W|, eps)
///
/// An update then changes a unit by a share of itself. Cost: two passes, and a
/// copy of each gradient that has such a unit; an accelerator is waited for.
class AGC : public ListedClipRule<AGC, AGCOptions> {
 public:
  using ListedClipRule::ListedClipRule;
  ClippedGradients clip(const ClipInput& input) override;
};

}  // namespace stepsize
