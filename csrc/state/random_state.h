#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstddef>
#include <vector>

namespace stepsize::detail {

/// A copy of a generator's state, under its lock, and the way back. The tensor
/// given is not kept.
at::Tensor state_of(const at::Generator& generator);
void set_state(const at::Generator& generator, const at::Tensor& state);

/// The default generator of the CPU, and of a CUDA device: of other devices
/// LibTorch's context knows none in all versions.
at::Generator default_generator(const at::Device& device);
/// How many CUDA devices there are.
std::size_t cuda_devices();

/// All that a computation with these tensors may draw from: the generators
/// given, the CPU's and those of the tensors' CUDA devices, each once.
std::vector<at::Generator> generators_of(
    const std::vector<at::Tensor>& tensors,
    const std::vector<at::Generator>& given = {});

/// The states of some generators, as they were when this was made.
class RandomState {
 public:
  explicit RandomState(std::vector<at::Generator> generators);
  void restore() const;

 private:
  std::vector<at::Generator> generators_;
  std::vector<at::Tensor> states_;
};

}  // namespace stepsize::detail
