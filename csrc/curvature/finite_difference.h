#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/curvature/hessian_operator.h>

#include <cstdint>
#include <vector>

#include "csrc/curvature/replay.h"

namespace stepsize::detail {

/// Hessian-vector products as differences of gradients at moved parameters,
/// which are back bit for bit afterwards, also when the closure throws.
class FiniteDifference {
 public:
  /// epsilon 0 stands for the default; see HessianOptions.
  FiniteDifference(
      const TensorVector& parameters, bool central, double epsilon);

  /// (gradient(w + a v) - gradient) / a, or the central form, where the
  /// parameters move by the step's length.
  TensorVector product(
      const Replay& replay,
      const TensorVector& gradient,
      const TensorVector& v);

 private:
  TensorVector gradient_at(
      const Replay& replay, const TensorVector& v, const at::Tensor& alpha);

  TensorVector parameters_;
  bool central_;
  double step_;
  TensorVector moved_;
};

}  // namespace stepsize::detail
