#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/autograd/function.h>

#include <memory>
#include <optional>
#include <utility>

namespace stepsize::test {

/// Sees a node of a graph without keeping it. Versions of LibTorch hold nodes
/// by pointers of different kinds.
class WeakNode {
 public:
  void watch(const at::Tensor& tensor) {
    node_.emplace(weak(tensor.grad_fn()));
  }
  bool expired() const { return !node_ || node_->expired(); }

 private:
  template <typename T>
  static std::weak_ptr<T> weak(const std::shared_ptr<T>& node) {
    return node;
  }
  template <typename T, typename Null>
  static c10::weak_intrusive_ptr<T, Null> weak(
      const c10::intrusive_ptr<T, Null>& node) {
    return c10::weak_intrusive_ptr<T, Null>(node);
  }

  std::optional<decltype(weak(std::declval<const at::Tensor&>().grad_fn()))>
      node_;
};

}  // namespace stepsize::test
