#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "csrc/state/optimizer_state.h"

namespace stepsize::detail {

using Tensors = std::vector<at::Tensor>;

/// A copy of parameters, optimizer state, buffers and, if asked for, gradients.
/// Copies go into memory that is kept, and back to the parameters that they
/// were made of, wherever those stand by then. What joined the optimizer after
/// the copy was made is left as it is, what has left it too.
///
/// A parameter that asks for no gradient and has neither one nor a state is
/// left out until that changes: its updates are none. Whoever writes to it
/// otherwise does not see that undone.
class RollbackPoint {
 public:
  RollbackPoint(
      torch::optim::Optimizer& optimizer, std::unique_ptr<OptimizerState> state)
      : optimizer_(&optimizer), state_(std::move(state)) {}

  void keep(const Tensors& buffers, bool with_gradients);
  /// To be called before an update: copies what keep() has left out and the
  /// update may change.
  void complete();
  /// False where it cannot be put back: the state is kept as a whole and the
  /// parameters of the optimizer are others now, or it is not kept as the
  /// optimizer's state is now.
  bool fits() const;

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
    Tensors owners;
    // Undefined where it was left out.
    Tensors parameters;
    Tensors gradients;
    std::vector<ParameterState> states;
  };
  void restore_whole();
  template <typename Function>
  void for_each_kept(const Function& function) const;

  torch::optim::Optimizer* optimizer_;
  std::unique_ptr<OptimizerState> state_;
  std::vector<Group> groups_;
  // The bytes of all state, where it is not known by parameter.
  at::Tensor whole_;
  Tensors buffers_;
  bool has_gradients_ = false;
};

}  // namespace stepsize::detail
