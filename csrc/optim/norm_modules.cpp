#include "csrc/optim/norm_modules.h"

#include <c10/util/Type.h>
#include <torch/nn/functional/instancenorm.h>  // missing in that of modules
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/instancenorm.h>
#include <torch/nn/modules/normalization.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <typeinfo>

namespace stepsize::detail {
namespace {

template <typename... Modules>
bool is_one_of(const torch::nn::Module& module) {
  return (... || (dynamic_cast<const Modules*>(&module) != nullptr));
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() &&
         text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool has_name_of_norm(const torch::nn::Module& module) {
  std::string name = c10::demangle(typeid(module).name());
  name = name.substr(0, name.find('<'));
  if (ends_with(name, "Impl")) name.resize(name.size() - 4);
  if (name.size() > 2 && ends_with(name, "d") && name[name.size() - 2] >= '1' &&
      name[name.size() - 2] <= '3') {
    name.resize(name.size() - 2);
  }
  return ends_with(name, "Norm");
}

}  // namespace

bool is_norm_parameter(
    const torch::nn::Module& module, const at::Tensor& parameter) {
  if (is_one_of<
          torch::nn::BatchNorm1dImpl,
          torch::nn::BatchNorm2dImpl,
          torch::nn::BatchNorm3dImpl,
          torch::nn::InstanceNorm1dImpl,
          torch::nn::InstanceNorm2dImpl,
          torch::nn::InstanceNorm3dImpl,
          torch::nn::LayerNormImpl,
          torch::nn::GroupNormImpl>(module)) {
    return true;
  }
  const auto sizes = parameter.sizes();
  const auto long_ones = std::count_if(
      sizes.begin(), sizes.end(), [](int64_t size) { return size > 1; });
  return long_ones <= 1 && has_name_of_norm(module);
}

bool is_bias_name(const std::string& name) {
  std::size_t start = 0;
  while (start <= name.size()) {
    const std::size_t end = std::min(name.find('_', start), name.size());
    if (name.compare(start, end - start, "bias") == 0) return true;
    start = end + 1;
  }
  return false;
}

}  // namespace stepsize::detail
