#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <stepsize/distributed/reduction.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace torch::nn {
class Module;
template <typename Contained>
class ModuleHolder;
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
/// The same for a module that is held: `torch::nn::Linear model(...)`, or
/// `auto model = std::make_shared<Net>()`.
template <typename Contained>
void broadcast_state(
    torch::nn::ModuleHolder<Contained> module,
    Reduction& reduction,
    int64_t root = 0) {
  const torch::nn::Module& its_module = *module;
  broadcast_state(its_module, reduction, root);
}
template <typename Contained>
void broadcast_state(
    const std::shared_ptr<Contained>& module,
    Reduction& reduction,
    int64_t root = 0) {
  TORCH_CHECK(module != nullptr, "broadcast_state: the module is null");
  const torch::nn::Module& its_module = *module;
  broadcast_state(its_module, reduction, root);
}

/// Throws c10::Error on all ranks unless all have the same tensors, bit for
/// bit; the message names the ranks that differ from rank 0. For tests, and
/// once in a while in a run whose ranks should not drift apart. Costs what
/// broadcast_state() does.
void check_same(const std::vector<at::Tensor>& tensors, Reduction& reduction);

}  // namespace stepsize
