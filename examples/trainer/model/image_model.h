#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>

namespace stepsize::trainer {

/// A network from images, float [B, C, H, W], to logits, float [B, classes].
class ImageModel : public torch::nn::Module {
 public:
  using torch::nn::Module::Module;
  virtual torch::Tensor forward(torch::Tensor images) = 0;
};

/// The size of an image and the number of classes to tell apart, all >= 1.
struct ImageShape {
  std::int64_t channels = 3;
  std::int64_t height = 32;
  std::int64_t width = 32;
  std::int64_t classes = 10;
};

/// A model by its name: "cnn" (Cnn), "resnet20" or "resnet18" (ResNet).
/// Throws c10::Error for another name or for images too small for it.
std::shared_ptr<ImageModel> make_model(
    const std::string& name, const ImageShape& shape);

/// Number of trained values in a model.
std::int64_t parameter_count(const torch::nn::Module& model);

}  // namespace stepsize::trainer
