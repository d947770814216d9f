#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "csrc/optim/rollback_state_copy.h"

namespace stepsize::detail {

using Tensors = std::vector<at::Tensor>;

/// A copy of parameters, optimizer state, buffers and, if asked for, gradients.
/// Copies go into memory that is kept. What joined the optimizer after the copy
/// was made is left as it is.
class RollbackPoint {
 public:
  RollbackPoint(
      torch::optim::Optimizer& optimizer, std::unique_ptr<StateAccess> access)
      : optimizer_(&optimizer), access_(std::move(access)) {}

  void keep(const Tensors& buffers, bool with_gradients);

  void restore_parameters() const;
  void restore_state();
  void restore_buffers(const Tensors& buffers) const;
  /// False where none were kept.
  bool restore_gradients() const;

  void write(torch::serialize::OutputArchive& archive) const;
  /// Reads and checks, and returns what takes it over. `buffers`: how many of
  /// which shapes there must be.
  std::function<void()> read(
      torch::serialize::InputArchive& archive,
      const std::string& kind,
      const Tensors& buffers);

 private:
  struct Group {
    Tensors parameters;
    Tensors gradients;
    std::vector<ParameterState> states;
  };

  torch::optim::Optimizer* optimizer_;
  std::unique_ptr<StateAccess> access_;
  std::vector<Group> groups_;
  Tensors buffers_;
  std::vector<double> scalars_;
  bool has_gradients_ = false;
};

}  // namespace stepsize::detail
