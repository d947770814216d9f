#include "csrc/core/closures.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace stepsize::detail {
namespace {

constexpr char kBackwardText[] =
    ": the closure must not call backward(): it returns the loss with its "
    "graph, and the gradient is computed from that";

}  // namespace

BackwardWatch::Mark::Mark(const at::Tensor& parameter)
    : gradient(at::Tensor().getIntrusivePtr()) {
  // What is no leaf has no gradient, and LibTorch warns of a look at it.
  if (!parameter.is_leaf() || !parameter.grad().defined()) return;
  const auto& pointer = parameter.grad().getIntrusivePtr();
  gradient = decltype(gradient)(pointer);
  defined = true;
  version = pointer->version_counter().current_version();
}

bool BackwardWatch::Mark::operator==(const Mark& other) const {
  return gradient == other.gradient && version == other.version;
}

BackwardWatch::BackwardWatch(std::vector<at::Tensor> parameters)
    : parameters_(std::move(parameters)) {
  before_.reserve(parameters_.size());
  for (const at::Tensor& parameter : parameters_) {
    before_.emplace_back(parameter);
  }
}

void BackwardWatch::check(const std::string& kind) const {
  const c10::AutoGradMode no_grad(false);
  at::Tensor written;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Mark mark(parameters_[i]);
    if (!mark.defined || mark == before_[i]) continue;
    const at::Tensor& gradient = parameters_[i].grad();
    const at::Tensor values =
        gradient.is_sparse() ? gradient._values() : gradient;
    const at::Tensor here = values.ne(0).any();
    written = written.defined() ? written.logical_or(here.to(written.device()))
                                : here;
  }
  // An accelerator is waited for once.
  TORCH_CHECK(!written.defined() || !written.item<bool>(), kind, kBackwardText);
}

void check_graph_was_there(
    const std::string& kind, const std::exception& error, bool of_closure) {
  TORCH_CHECK(
      std::string(error.what()).find("a second time") == std::string::npos,
      kind,
      ": backward() has freed the graph of the loss, or a part of it: ",
      of_closure ? "the closure must not call backward(), and what it keeps of "
                   "an earlier evaluation must be detached"
                 : "call this before it, and detach what is of an earlier "
                   "evaluation");
}

bool has_graph(const std::vector<at::Tensor>& gradients) {
  return std::any_of(gradients.begin(), gradients.end(), [](const auto& part) {
    return part.defined() && part.requires_grad();
  });
}

}  // namespace stepsize::detail
