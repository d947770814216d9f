#pragma once

#include <stepsize/adaptive/schedule_free_optimizer.h>

namespace stepsize {

/// A parameter whose points y, z and x are apart.
struct ScheduleFreeOptimizer::Point {
  at::Tensor parameter;
  at::Tensor z;
  double beta;       ///< that y lies at
  double next_beta;  ///< that of the options

  /// parameter + share_of_z (z - parameter), computed in the type of z.
  void move(double share_of_z) const;
};

}  // namespace stepsize
