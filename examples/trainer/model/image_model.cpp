#include "examples/trainer/model/image_model.h"

#include <utility>

#include "examples/trainer/model/cnn.h"
#include "examples/trainer/model/resnet.h"

namespace stepsize::trainer {

std::optional<Autocast> ImageModel::autocast(
    const torch::Tensor& images) const {
  if (!autocast_) {
    return std::nullopt;
  }
  return std::optional<Autocast>(std::in_place, images.device(), *autocast_);
}

std::shared_ptr<ImageModel> make_model(
    const std::string& name, const ImageShape& shape) {
  if (name == "cnn") {
    return std::make_shared<Cnn>(shape);
  }
  if (name == "resnet20") {
    return std::make_shared<ResNet>(shape, ResNetOptions::resnet20());
  }
  if (name == "resnet18") {
    return std::make_shared<ResNet>(shape, ResNetOptions::resnet18());
  }
  TORCH_CHECK(
      false,
      "make_model: the model must be cnn, resnet20 or resnet18, got ",
      name);
}

std::int64_t parameter_count(const torch::nn::Module& model) {
  std::int64_t count = 0;
  for (const auto& parameter : model.parameters()) {
    count += parameter.numel();
  }
  return count;
}

}  // namespace stepsize::trainer
