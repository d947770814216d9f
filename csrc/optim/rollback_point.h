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

/// Whether it is of a class whose step leaves a parameter without a gradient,
/// and its state, as they are: LibTorch's and the IndexedOptimizers.
bool steps_by_gradients_alone(const torch::optim::Optimizer& optimizer);

/// The number of writes to the tensor that autograd knows of.
int64_t version_of(const at::Tensor& tensor);

/// A copy of parameters, optimizer state, buffers and, if asked for, gradients.
/// Copies go into memory that is kept, and back to the parameters that they
/// were made of, wherever those stand by then. What joined the optimizer after
/// the copy was made is left as it is, what has left it too.
///
/// A parameter without a gradient, which the update that follows does not
/// change, is not copied until it has one, nor is its state: complete() does
/// it.
class RollbackPoint {
 public:
  RollbackPoint(
      torch::optim::Optimizer& optimizer, std::unique_ptr<OptimizerState> state)
      : optimizer_(&optimizer),
        state_(std::move(state)),
        may_be_partial_(steps_by_gradients_alone(optimizer)) {}

  void keep(const Tensors& buffers, bool with_gradients);
  /// Copies what the update to come changes and keep() did not have to copy.
  void complete();
  /// False where it cannot be put back: the state is kept as a whole and the
  /// parameters of the optimizer are others now, or one that was not copied has
  /// been written to. From then on all are copied.
  bool fits();
  /// From now on all are copied.
  void copy_all() { may_be_partial_ = false; }

  void restore_parameters() const;
  /// The same for a visit. With `exchange` the copies take the values that the
  /// parameters have here, for which there is no other memory then: nobody but
  /// this class may write to the parameters until it ends. Where it throws,
  /// nothing has been changed.
  void visit(bool exchange);
  /// Ends a visit. Nothing where there is none.
  void return_from_visit();
  void stay_after_visit();
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
    Tensors parameters;
    Tensors gradients;
    std::vector<ParameterState> states;
    // The version of a parameter that is not copied; else kCopied.
    std::vector<int64_t> versions;
  };
  struct Visited {
    at::Tensor parameter;
    at::Tensor copy;
    // What the parameter was where the two have not been exchanged.
    at::Tensor here;
    // To exchange them through; null with `here`.
    at::Tensor scratch;
  };
  static constexpr int64_t kCopied = -1;

  void copy(Group& kept, std::size_t k, std::size_t g, std::size_t i);
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
  std::vector<Visited> visited_;
  // Whether there are any that are not copied.
  bool is_partial_ = false;
  bool may_be_partial_ = true;
};

}  // namespace stepsize::detail
