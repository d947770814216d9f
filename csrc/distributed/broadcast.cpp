#include <stepsize/distributed/broadcast.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <torch/nn/module.h>

#include <cstddef>
#include <sstream>
#include <string>

#include "csrc/distributed/failure.h"

namespace stepsize {
namespace {

using Tensors = std::vector<at::Tensor>;

Tensors state_of(const torch::nn::Module& module) {
  Tensors tensors = module.parameters();
  for (const at::Tensor& buffer : module.buffers()) tensors.push_back(buffer);
  return tensors;
}

// Shapes and types, one tensor after the other.
std::string layout_of(const Tensors& tensors) {
  std::ostringstream text;
  for (const at::Tensor& tensor : tensors) {
    if (tensor.defined()) text << tensor.scalar_type() << tensor.sizes();
    text << ';';
  }
  return text.str();
}

std::string size_of(const Tensors& tensors) {
  int64_t elements = 0;
  for (const at::Tensor& tensor : tensors) {
    if (tensor.defined()) elements += tensor.numel();
  }
  return std::to_string(tensors.size()) + " tensors of " +
         std::to_string(elements) + " elements in all";
}

// "rank 2", "ranks 2, 3"; empty where there is none.
std::string ranks_where(const std::vector<double>& flags) {
  std::string text;
  int count = 0;
  for (std::size_t rank = 0; rank < flags.size(); ++rank) {
    if (flags[rank] == 0) continue;
    text += (count++ > 0 ? ", " : "") + std::to_string(rank);
  }
  return count == 0 ? text : (count == 1 ? "rank " : "ranks ") + text;
}

void check_layout(
    const char* name, const Tensors& tensors, Reduction& reduction) {
  const std::string own = layout_of(tensors);
  const std::string first = reduction.broadcast_text(own);
  const auto differs = ranks_where(reduction.gather(own == first ? 0.0 : 1.0));
  TORCH_CHECK(
      differs.empty(),
      name,
      ": every rank must have the same number of tensors, of the same shapes "
      "and types; those of rank 0 are not those of ",
      differs,
      " (here, on rank ",
      reduction.rank(),
      ": ",
      size_of(tensors),
      ")");
}

// The tensor's bytes in a row, in memory of their own.
at::Tensor bytes_of(const at::Tensor& tensor) {
  return tensor.detach().contiguous().clone().reshape({-1}).view(at::kByte);
}

}  // namespace

void broadcast_state(
    const Tensors& tensors, Reduction& reduction, int64_t root) {
  detail::check_root("broadcast_state", reduction, root);
  const c10::AutoGradMode no_grad(false);
  check_layout("broadcast_state", tensors, reduction);
  for (const at::Tensor& tensor : tensors) {
    if (!tensor.defined() || tensor.numel() == 0) continue;
    at::Tensor bytes = bytes_of(tensor);
    reduction.broadcast(bytes, root);
    tensor.detach().copy_(
        bytes.view(tensor.scalar_type()).view(tensor.sizes()));
  }
}

void broadcast_state(
    const torch::nn::Module& module, Reduction& reduction, int64_t root) {
  broadcast_state(state_of(module), reduction, root);
}

void check_same(const Tensors& tensors, Reduction& reduction) {
  const c10::AutoGradMode no_grad(false);
  check_layout("check_same", tensors, reduction);
  bool same = true;
  for (const at::Tensor& tensor : tensors) {
    if (!tensor.defined() || tensor.numel() == 0) continue;
    const at::Tensor own = bytes_of(tensor);
    at::Tensor first = own.clone();
    reduction.broadcast(first, 0);
    same = same && own.equal(first);
  }
  const auto differs = ranks_where(reduction.gather(same ? 0.0 : 1.0));
  TORCH_CHECK(
      differs.empty(),
      "check_same: the values of ",
      differs,
      " are not those of rank 0");
}

}  // namespace stepsize
