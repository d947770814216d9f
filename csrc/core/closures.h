#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <exception>
#include <string>
#include <utility>
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
  // The gradient of a parameter, and how often it has been written to.
  using Mark = std::pair<const void*, uint32_t>;
  static Mark mark_of(const at::Tensor& parameter);

  std::vector<at::Tensor> parameters_;
  std::vector<Mark> before_;
};

/// To be called with what autograd has thrown: where a backward() before has
/// freed the graph, throws c10::Error that says so.
void check_graph_was_there(
    const std::string& kind, const std::exception& error, bool of_closure);

}  // namespace stepsize::detail
