#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/distributed/reduction.h>

#include <cstdint>
#include <vector>

namespace torch::nn {
class Module;
}  // namespace torch::nn

namespace stepsize {

/// Gives all ranks the root's values: of the tensors, or of a module's
/// parameters and buffers. To be called once before training. Throws c10::Error
/// on all ranks, and changes nothing, where root is no rank and where ranks
/// have tensors of other number, shape or type; the message says how many and
/// of how many elements this rank has. So too where a tensor of a rank is
/// sparse or overlaps itself, other than by being expanded alike on all ranks.
/// Memory: one copy.
void broadcast_state(
    const std::vector<at::Tensor>& tensors,
    Reduction& reduction,
    int64_t root = 0);
void broadcast_state(
    const torch::nn::Module& module, Reduction& reduction, int64_t root = 0);

/// Throws c10::Error on all ranks unless all have the same tensors, bit for
/// bit; the message names the ranks that differ from rank 0. For tests, and
/// once in a while in a run whose ranks should not drift apart. Costs what
/// broadcast_state() does.
void check_same(const std::vector<at::Tensor>& tensors, Reduction& reduction);

}  // namespace stepsize
