#pragma once

#include <stepsize/state/optimizer_state.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace stepsize::detail {

/// For a StatefulOptimizer, LibTorch's SGD, Adam, AdamW, RMSprop, Adagrad and
/// LBFGS, and every other class that saves something. Throws c10::Error, in the
/// name of `kind`, for what cannot be put back.
std::unique_ptr<OptimizerState> optimizer_state(
    const std::string& kind, torch::optim::Optimizer& optimizer);

/// The same for LibTorch's classes; null for others. A subclass of LBFGS is
/// refused, those of the others may keep anything and are not known here.
std::unique_ptr<OptimizerState> libtorch_state(
    const std::string& kind, torch::optim::Optimizer& optimizer);

/// A state that can be read by parameter: of a StatefulOptimizer that shows it,
/// of LibTorch's classes and of those that derive from them and keep the same.
/// Throws c10::Error, in the name of `kind`, for others.
std::unique_ptr<OptimizerState> state_by_parameter(
    const std::string& kind, torch::optim::Optimizer& optimizer);

/// The part of it that knows LibTorch's classes; null for others.
std::unique_ptr<OptimizerState> libtorch_state_by_parameter(
    const std::string& kind, torch::optim::Optimizer& optimizer);

/// The same through an optimizer's own save() and load().
std::unique_ptr<OptimizerState> foreign_state(
    const std::string& kind, torch::optim::Optimizer& optimizer);

/// Warns, once a class, of one derived from LibTorch's: its save() may be the
/// inherited one, which knows nothing of what the subclass has added.
void warn_of_subclass(
    const std::string& kind, const torch::optim::Optimizer& optimizer);

/// Makes `kept` a copy of `value`, in the memory that it has if that fits.
void copy_into(at::Tensor& kept, const at::Tensor& value);
void copy_into(ParameterState& kept, const ParameterState& value);

/// A deep copy of an optimizer's state.
class StateCopy {
 public:
  /// Throws as optimizer_state() does.
  StateCopy(const std::string& kind, torch::optim::Optimizer& optimizer);
  /// Throws c10::Error where the state is none that can be put back.
  void take();
  void put_back();

 private:
  torch::optim::Optimizer* optimizer_;
  std::unique_ptr<OptimizerState> state_;
  const bool has_bytes_;
  // Whether it is copied tensor by tensor, and the bytes hold the rest.
  const bool has_tensors_;
  std::vector<std::vector<ParameterState>> kept_;
  at::Tensor bytes_;
};

}  // namespace stepsize::detail
