#pragma once

#include <stepsize/tune/lr_range_result.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <string>

namespace stepsize {
class ClippedOptimizer;
class PowerMethodSGD;
class RollbackSGD;
}  // namespace stepsize

namespace stepsize::detail {

/// True for an optimizer that calls backward itself: PowerMethodSGD.
bool takes_graph(const torch::optim::Optimizer& optimizer);

/// Knows how the optimizers of this library say that a step went wrong.
class OptimizerWatch {
 public:
  /// A clipped optimizer that would throw is made to skip and count.
  explicit OptimizerWatch(torch::optim::Optimizer& optimizer);

  /// kFinished where the last step was an update. Else why not, in words.
  LRRangeStatus look(std::string& reason);

 private:
  int64_t skipped() const;

  const ClippedOptimizer* clipped_;
  const PowerMethodSGD* power_;
  const RollbackSGD* rollback_;
  int64_t skipped_before_;
};

}  // namespace stepsize::detail
