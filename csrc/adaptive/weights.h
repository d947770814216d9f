#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <string>
#include <vector>

namespace torch::nn {
class Module;
}  // namespace torch::nn

namespace stepsize::detail {

/// Tensors of a module, each once: parameters, then buffers.
struct Weights {
  std::vector<at::Tensor> tensors;
  std::size_t parameters = 0;
};

/// Throws c10::Error, in the name of `kind`, where there are none.
Weights weights_of(const torch::nn::Module& module, const std::string& kind);
/// The same of a list, all of which must be defined and counts as parameters.
Weights weights_of(
    const std::vector<at::Tensor>& tensors, const std::string& kind);

/// Shape, type and device of each, with the memory of one element.
std::vector<at::Tensor> forms_of(const std::vector<at::Tensor>& tensors);
/// Throws c10::Error, in the name of `kind`, where a tensor has another form.
void check_forms(
    const std::vector<at::Tensor>& tensors,
    const std::vector<at::Tensor>& forms,
    const std::string& kind);

/// What tensors held when it was made, which it puts back bit for bit when it
/// goes. Where that fails it warns in the name of `kind`.
class HeldWeights {
 public:
  HeldWeights(std::vector<at::Tensor> tensors, std::string kind);
  ~HeldWeights();
  HeldWeights(const HeldWeights&) = delete;
  HeldWeights& operator=(const HeldWeights&) = delete;

 private:
  std::vector<at::Tensor> tensors_;
  std::vector<at::Tensor> held_;
  std::string kind_;
};

/// Writes values into tensors of their shapes, without a graph.
void write_weights(
    const std::vector<at::Tensor>& tensors,
    const std::vector<at::Tensor>& values);

}  // namespace stepsize::detail
