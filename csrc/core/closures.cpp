#include "csrc/core/closures.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <cstddef>

namespace stepsize::detail {
namespace {

constexpr char kBackwardText[] =
    ": the closure must not call backward(): it returns the loss with its "
    "graph, and the gradient is computed from that";

}  // namespace

BackwardWatch::BackwardWatch(std::vector<at::Tensor> parameters)
    : parameters_(std::move(parameters)) {
  before_.reserve(parameters_.size());
  for (const at::Tensor& parameter : parameters_) {
    before_.push_back(mark_of(parameter));
  }
}

BackwardWatch::Mark BackwardWatch::mark_of(const at::Tensor& parameter) {
  // What is no leaf has no gradient, and LibTorch warns of a look at it.
  if (!parameter.is_leaf() || !parameter.grad().defined()) return {};
  auto* const gradient = parameter.grad().unsafeGetTensorImpl();
  return {gradient, gradient->version_counter().current_version()};
}

void BackwardWatch::check(const std::string& kind) const {
  const c10::AutoGradMode no_grad(false);
  at::Tensor written;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Mark mark = mark_of(parameters_[i]);
    if (mark.first == nullptr || mark == before_[i]) continue;
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
      of_closure ? kBackwardText
                 : ": backward() has been called on the loss and has freed its "
                   "graph: call this before it");
}

}  // namespace stepsize::detail
