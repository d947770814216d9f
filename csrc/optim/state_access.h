#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/optim/indexed_optimizer.h>
#include <torch/optim/optimizer.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

namespace stepsize::detail {

/// What an optimizer keeps for one parameter, whatever its class.
struct ParameterState {
  bool there = false;
  int64_t steps = 0;
  std::vector<at::Tensor> tensors;  ///< undefined where there is none
};

/// Reads and writes an optimizer's state: parameter by parameter, or as a whole
/// where it is known to its own save() and load() alone.
class StateAccess {
 public:
  virtual ~StateAccess() = default;
  /// To be called before a read: throws c10::Error where the state has turned
  /// out to be none that can be put back.
  virtual void check() {}

  virtual bool is_whole() const { return false; }
  /// The bytes of all state. Only where is_whole(), the others only where not.
  virtual at::Tensor save_whole();
  /// Leaves the groups' options as they are.
  virtual void load_whole(const at::Tensor& bytes);

  /// How many tensors ParameterState has where it is there.
  virtual std::size_t tensor_count() const { return 0; }
  /// The tensors are the optimizer's own.
  virtual void read(
      std::size_t group, std::size_t index, ParameterState& state);
  /// Takes `state` over: its tensors become the optimizer's.
  virtual void write(
      std::size_t group, std::size_t index, const ParameterState& state);
};

/// For IndexedOptimizer, LibTorch's SGD, Adam, AdamW, RMSprop and Adagrad, and
/// every other class that saves something. Throws c10::Error for what it cannot
/// serve.
std::unique_ptr<StateAccess> state_access(
    const std::string& kind, torch::optim::Optimizer& optimizer);

/// IndexedOptimizer lets this class into its state.
class IndexedStateAccess : public StateAccess {
 public:
  explicit IndexedStateAccess(IndexedOptimizer& optimizer)
      : optimizer_(&optimizer) {}
  void check() override;
  /// Notes the state and the counters as they are, without a copy of the
  /// tensors. What it returns puts them back: as long as nobody has written to
  /// the tensors (load() puts others in their place) all is as it was.
  std::function<void()> keep();
  void read(
      std::size_t group, std::size_t index, ParameterState& state) override;
  void write(std::size_t group, std::size_t index, const ParameterState& state)
      override;

 private:
  IndexedOptimizer* optimizer_;
};

/// The key of a parameter in Optimizer::state(). LibTorch before 2.0 takes the
/// text of its address.
template <typename Key>
Key parameter_state_key(const at::Tensor& parameter) {
  if constexpr (std::is_same_v<Key, std::string>) {
    std::ostringstream text;
    text << parameter.unsafeGetTensorImpl();
    return text.str();
  } else {
    return parameter.unsafeGetTensorImpl();
  }
}

/// Makes `kept` a copy of `value`, in the memory that it has if that fits.
void copy_into(at::Tensor& kept, const at::Tensor& value);

}  // namespace stepsize::detail
