#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace stepsize::detail {

/// The squared norm to be expected of what rounding has put into gradients of
/// half precision: an error is uniform within half a unit of the last digit
/// either way, and has the variance unit^2 / 12.
class RoundingSum {
 public:
  /// Elements that were rounded once, by backward(), say; of type `type`, but
  /// widened to float32.
  void add_rounded(const at::Tensor& wide, at::ScalarType type);

  /// Terms that backward() has rounded, and what they were added up to. A sum
  /// of coarser digits rounds its term again, and from the grid that this has:
  /// then the variance is sum_unit^2 / 12 + term_unit^2 / 6.
  void add_terms(
      const at::Tensor& wide, const at::Tensor& wide_sums, at::ScalarType type);

  /// Undefined where there was nothing; no host waits for it.
  at::Tensor square() const;

 private:
  std::vector<at::Tensor> units_;
};

/// Of gradients that were rounded once; 0 of those that are not of half
/// precision.
double rounding_of(const std::vector<at::Tensor>& gradients);

}  // namespace stepsize::detail
