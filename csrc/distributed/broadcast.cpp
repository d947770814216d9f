#include <stepsize/distributed/broadcast.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cstddef>
#include <sstream>
#include <string>

#include "csrc/core/overlap.h"
#include "csrc/distributed/failure.h"

namespace stepsize {
namespace {

using Tensors = std::vector<at::Tensor>;

Tensors state_of(const torch::nn::Module& module) {
  Tensors tensors = module.parameters();
  for (const at::Tensor& buffer : module.buffers()) tensors.push_back(buffer);
  return tensors;
}

bool is_expanded(const at::Tensor& tensor) {
  return tensor.defined() && tensor.layout() == at::kStrided &&
         !detail::without_expansion(tensor).is_same(tensor);
}

// Shapes and types, one tensor after the other.
std::string layout_of(const Tensors& tensors) {
  std::ostringstream text;
  for (const at::Tensor& tensor : tensors) {
    if (tensor.defined()) text << tensor.scalar_type() << tensor.sizes();
    if (is_expanded(tensor)) {
      text << " of " << detail::without_expansion(tensor).sizes();
    }
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

// Empty, or what keeps the values of another rank from being written.
std::string obstacle_in(const Tensors& tensors) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].defined()) continue;
    const std::string which = "tensor " + std::to_string(i);
    if (tensors[i].layout() != at::kStrided) return which + " is sparse";
    if (detail::may_overlap(detail::without_expansion(tensors[i]))) {
      return which + " overlaps itself";
    }
  }
  return {};
}

void check_layout(
    const char* name,
    const Tensors& tensors,
    Reduction& reduction,
    const std::string& obstacle) {
  const std::string own = layout_of(tensors);
  const std::string first = reduction.broadcast_text(own);
  constexpr double kDiffers = 1;
  constexpr double kObstacle = 2;
  auto states = reduction.gather(
      own != first        ? kDiffers
      : !obstacle.empty() ? kObstacle
                          : 0.0);
  const auto blocked = std::find(states.begin(), states.end(), kObstacle);
  if (blocked != states.end()) {
    const int64_t rank = blocked - states.begin();
    const std::string text = reduction.broadcast_text(obstacle, rank);
    TORCH_CHECK(false, name, ": ", text, " (on rank ", rank, ")");
  }
  const auto differs = ranks_where(states);
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
  check_layout("broadcast_state", tensors, reduction, obstacle_in(tensors));
  for (const at::Tensor& tensor : tensors) {
    if (!tensor.defined() || tensor.numel() == 0) continue;
    at::Tensor bytes = bytes_of(tensor);
    reduction.broadcast(bytes, root);
    detail::put_back(
        tensor.detach(), bytes.view(tensor.scalar_type()).view(tensor.sizes()));
  }
}

void broadcast_state(
    const torch::nn::Module& module, Reduction& reduction, int64_t root) {
  broadcast_state(state_of(module), reduction, root);
}

void check_same(const Tensors& tensors, Reduction& reduction) {
  const c10::AutoGradMode no_grad(false);
  check_layout("check_same", tensors, reduction, "");
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
