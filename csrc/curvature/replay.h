#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <stepsize/curvature/hessian_operator.h>

#include <vector>

#include "csrc/state/random_state.h"

namespace stepsize::detail {

/// Evaluates a closure again and again from one random state, that of its
/// construction, and leaves no trace: the random state and the buffers are put
/// back bit for bit after each evaluation, also when the closure throws. What
/// autocast has cached is dropped before and after.
class Replay {
 public:
  /// What to compute besides the loss.
  enum class Graph {
    kNone,      ///< the gradients' values
    kRequired,  ///< the gradients with their graph
    kTried,     ///< the graph too, unless that throws
  };

  struct Evaluation {
    at::Tensor loss;         ///< without a graph
    TensorVector gradients;  ///< undefined for unused parameters
  };

  Replay(
      GraphClosure closure,
      const TensorVector& parameters,
      const HessianOptions& options);

  Evaluation evaluate(Graph graph) const;

 private:
  GraphClosure closure_;
  TensorVector parameters_;
  TensorVector buffers_;
  std::vector<at::Generator> generators_;
  RandomState start_;
};

/// The gradients of a loss, made dense. Undefined where it does not depend on a
/// parameter. What goes wrong in that names `function`.
TensorVector gradients_of(
    const char* function,
    const at::Tensor& loss,
    const TensorVector& parameters,
    bool create_graph);

}  // namespace stepsize::detail
