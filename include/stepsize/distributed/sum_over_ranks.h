#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/distributed/reduction.h>

namespace stepsize {

/// The sum of a tensor over ranks, with a graph: its backward pass sums the
/// gradients over ranks, and can be differentiated again. For what a network
/// computes from the examples of all ranks, as BatchNorm does from their mean:
///
///     mean = sum_over_ranks(x.sum(0), *ranks) / examples_of_all_ranks;
///
/// Where each rank differentiates its own loss, the mean over ranks of the
/// gradients is the gradient of the mean loss, as it is without such sums.
///
/// One sum in each pass. All ranks must build the same graph, as a backward
/// pass is collective too; an exception between its sums shows on the other
/// ranks as a lost rank. The reduction must outlive the graph. The tensor is of
/// float32 or float64.
at::Tensor sum_over_ranks(const at::Tensor& tensor, Reduction& reduction);

}  // namespace stepsize
