#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/UndefinedTensorImpl.h>
#include <c10/util/intrusive_ptr.h>

#include <cstdint>
#include <exception>
#include <string>
#include <vector>

namespace stepsize::detail {

/// Notices a backward() of a closure that must return its graph instead.
class BackwardWatch {
 public:
  /// Before the closure is called.
  explicit BackwardWatch(std::vector<at::Tensor> parameters);

  /// After it: throws c10::Error, naming `kind`, where gradients are new and
  /// not zero. zero_grad() is allowed.
  void check(const std::string& kind) const;

 private:
  // The gradient of a parameter, and how often it has been written to. A weak
  // pointer lets its memory go, and no other gradient come to the same address.
  struct Mark {
    explicit Mark(const at::Tensor& parameter);
    bool operator==(const Mark& other) const;

    c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl> gradient;
    bool defined = false;
    uint32_t version = 0;
  };

  std::vector<at::Tensor> parameters_;
  std::vector<Mark> before_;
};

/// To be called with what autograd has thrown: where a backward() before has
/// freed the graph, or a part of it, throws c10::Error that says so.
void check_graph_was_there(
    const std::string& kind, const std::exception& error, bool of_closure);

/// Whether one of the gradients has a graph.
bool has_graph(const std::vector<at::Tensor>& gradients);

}  // namespace stepsize::detail
