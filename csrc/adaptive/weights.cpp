#include "csrc/adaptive/weights.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <torch/nn/module.h>

#include <exception>
#include <unordered_set>
#include <utility>

#include "csrc/core/overlap.h"
#include "csrc/core/tensors.h"

namespace stepsize::detail {

Weights weights_of(const torch::nn::Module& module, const std::string& kind) {
  Weights weights;
  std::unordered_set<const void*> known;
  const auto add = [&](const std::vector<at::Tensor>& all) {
    for (const at::Tensor& tensor : all) {
      // One that is shared comes more than once.
      if (tensor.defined() &&
          known.insert(tensor.unsafeGetTensorImpl()).second) {
        weights.tensors.push_back(tensor);
      }
    }
  };
  add(module.parameters());
  weights.parameters = weights.tensors.size();
  add(module.buffers());
  TORCH_CHECK(
      !weights.tensors.empty(),
      kind,
      ": the module has no parameters or buffers");
  return weights;
}

Weights weights_of(
    const std::vector<at::Tensor>& tensors, const std::string& kind) {
  TORCH_CHECK(!tensors.empty(), kind, ": the list of tensors is empty");
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    TORCH_CHECK(
        tensors[i].defined(),
        kind,
        ": tensors must be defined; number ",
        i,
        " is not");
  }
  return {tensors, tensors.size()};
}

std::vector<at::Tensor> forms_of(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> forms;
  for (const at::Tensor& tensor : tensors) {
    forms.push_back(at::empty({}, tensor.options().requires_grad(false))
                        .expand(tensor.sizes()));
  }
  return forms;
}

void check_forms(
    const std::vector<at::Tensor>& tensors,
    const std::vector<at::Tensor>& forms,
    const std::string& kind) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    TORCH_CHECK(
        tensors[i].sizes() == forms[i].sizes() &&
            tensors[i].scalar_type() == forms[i].scalar_type() &&
            tensors[i].device() == forms[i].device(),
        kind,
        ": weight ",
        i,
        " must keep shape, type and device: it is ",
        type_and_shape(tensors[i]),
        " on ",
        tensors[i].device(),
        " and was ",
        type_and_shape(forms[i]),
        " on ",
        forms[i].device());
  }
}

void write_weights(
    const std::vector<at::Tensor>& tensors,
    const std::vector<at::Tensor>& values) {
  const c10::AutoGradMode no_grad(false);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    put_back(tensors[i], values[i]);
  }
}

HeldWeights::HeldWeights(std::vector<at::Tensor> tensors, std::string kind)
    : tensors_(std::move(tensors)), kind_(std::move(kind)) {
  const c10::AutoGradMode no_grad(false);
  for (const at::Tensor& tensor : tensors_) {
    held_.push_back(tensor.detach().clone());
  }
}

HeldWeights::~HeldWeights() {
  try {
    write_weights(tensors_, held_);
  } catch (const std::exception& error) {
    TORCH_WARN(kind_, ": not everything could be put back: ", error.what());
  }
}

}  // namespace stepsize::detail
