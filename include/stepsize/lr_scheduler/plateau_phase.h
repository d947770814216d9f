#pragma once

#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <torch/arg.h>

#include <cstdint>
#include <optional>
#include <utility>

namespace stepsize {

/// A phase of a PhasedLR in which the rates stay, and are cut where a metric
/// has stopped improving, by the rule of ReduceLROnPlateau:
///
///     PlateauPhase(ReduceLROnPlateauOptions().factor(0.5).patience(3))
///         .steps(20000)
///         .cuts(2)
///
/// It ends by time or by the metric, whichever comes first. cuts(0) cuts
/// nothing and waits for a plateau: a stable stretch that ends by itself.
class PlateauPhase {
 public:
  explicit PlateauPhase(ReduceLROnPlateauOptions rule = {})
      : rule_(std::move(rule)) {}

  /// When to cut, and by how much. min_lr may have one entry a group.
  TORCH_ARG(ReduceLROnPlateauOptions, rule);
  /// Steps of the scheduler after which the phase ends; >= 0, and with 0 it is
  /// left out. Unset: time does not end it.
  TORCH_ARG(std::optional<int64_t>, steps);
  /// Cuts to make, in [0, 1000000]: the plateau after the last of them ends
  /// the phase. Unset: no plateau ends it.
  TORCH_ARG(std::optional<int64_t>, cuts);

 public:
  /// For the library's own use: the options by name. Throws c10::Error where
  /// one is out of its range.
  detail::NamedOptions options() const;
};

}  // namespace stepsize
