#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/optim/indexed_optimizer.h>
#include <torch/optim/optimizer.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace stepsize::detail {

/// What an optimizer keeps for one parameter, whatever its class.
struct ParameterState {
  bool there = false;
  int64_t steps = 0;
  std::vector<at::Tensor> tensors;  ///< undefined where there is none
};

/// Reads and writes an optimizer's state parameter by parameter.
class StateAccess {
 public:
  virtual ~StateAccess() = default;
  /// The tensors are the optimizer's own.
  virtual void read(
      std::size_t group, std::size_t index, ParameterState& state) = 0;
  /// Takes `state` over: its tensors become the optimizer's.
  virtual void write(
      std::size_t group, std::size_t index, const ParameterState& state) = 0;
  /// Numbers of the whole optimizer that steer its updates.
  virtual std::vector<double> scalars() const { return {}; }
  virtual void set_scalars(const std::vector<double>& /*scalars*/) {}
};

/// For IndexedOptimizer and LibTorch's SGD, Adam, AdamW, RMSprop and Adagrad.
/// Throws c10::Error for another class.
std::unique_ptr<StateAccess> state_access(
    const std::string& kind, torch::optim::Optimizer& optimizer);

/// IndexedOptimizer lets this class into its state.
class IndexedStateAccess : public StateAccess {
 public:
  explicit IndexedStateAccess(IndexedOptimizer& optimizer)
      : optimizer_(&optimizer) {}
  void read(
      std::size_t group, std::size_t index, ParameterState& state) override;
  void write(std::size_t group, std::size_t index, const ParameterState& state)
      override;
  std::vector<double> scalars() const override;
  void set_scalars(const std::vector<double>& scalars) override;

 private:
  IndexedOptimizer* optimizer_;
};

/// Makes `kept` a copy of `value`, in the memory that it has if that fits.
void copy_into(at::Tensor& kept, const at::Tensor& value);

}  // namespace stepsize::detail
