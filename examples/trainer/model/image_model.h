#pragma once

#include <stepsize/optim/autocast.h>
#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace stepsize::trainer {

/// A network from images, float [B, C, H, W], to logits, float [B, classes].
class ImageModel : public torch::nn::Module {
 public:
  using torch::nn::Module::Module;
  virtual torch::Tensor forward(torch::Tensor images) = 0;

  /// The type that autocast() has products and convolutions computed in;
  /// nothing: that of the parameters, which stay what they are.
  void set_autocast(std::optional<at::ScalarType> type) { autocast_ = type; }
  /// To be held while the loss of these images is computed, and no longer: a
  /// step wants its end.
  std::optional<Autocast> autocast(const torch::Tensor& images) const;

 private:
  std::optional<at::ScalarType> autocast_;
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
