#pragma once

#include <torch/torch.h>

#include "examples/trainer/model/image_model.h"

namespace stepsize::trainer {

/// A small network for a CPU: three times a 3x3 convolution (32, 64 and 128
/// channels), BatchNorm, ReLU and 2x2 max pooling, then one linear layer.
///
/// For images of 28x28 with 1 channel and 10 classes it has 104,426 values and
/// takes 7.4 million multiplications an image; for 32x32 with 3 channels
/// 113,962 and 10.3 million. The weights start as LibTorch's defaults.
class Cnn : public ImageModel {
 public:
  /// Throws c10::Error for images smaller than 8x8, of which pooling would
  /// leave nothing.
  explicit Cnn(const ImageShape& shape);

  torch::Tensor forward(torch::Tensor images) override;

 private:
  torch::nn::Sequential features_;
  torch::nn::Linear head_{nullptr};
};

}  // namespace stepsize::trainer
