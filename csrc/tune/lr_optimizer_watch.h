#pragma once

#include <stepsize/state/optimizer_traits.h>
#include <stepsize/tune/lr_range_result.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <string>

namespace stepsize::detail {

/// True for an optimizer that calls backward itself.
bool takes_graph(const torch::optim::Optimizer& optimizer);

/// Asks what is known of the optimizer whether a step went wrong.
class OptimizerWatch {
 public:
  /// One that would throw is made to skip and count.
  explicit OptimizerWatch(torch::optim::Optimizer& optimizer);

  /// kFinished where the last step was an update. Else why not, in words.
  LRRangeStatus look(std::string& reason);

 private:
  int64_t count(const OptimizerTraits::Count& of) const;

  const torch::optim::Optimizer* optimizer_;
  const OptimizerTraits* traits_;
  int64_t skipped_before_ = 0;
  int64_t back_before_ = 0;
};

}  // namespace stepsize::detail
