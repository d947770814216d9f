#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "examples/trainer/model/image_model.h"

namespace stepsize::trainer {

/// What tells one residual network from another.
struct ResNetOptions {
  /// Channels of each stage; all but the first halve the image.
  std::vector<std::int64_t> channels;
  /// Residual blocks in each stage, two convolutions in each, >= 1.
  std::int64_t blocks = 2;
  /// Where the shape changes: a 1x1 convolution with BatchNorm (option B of
  /// the paper), or every second pixel with the new channels zero (option A).
  bool projection = true;

  /// The CIFAR form of the paper (section 4.2): 3 stages of 3 blocks with 16,
  /// 32 and 64 channels, option A.
  static ResNetOptions resnet20();
  /// The ImageNet form (table 1): 4 stages of 2 blocks with 64 to 512
  /// channels, option B.
  static ResNetOptions resnet18();
};

/// A residual network for small images: a 3x3 convolution as the stem, stages
/// of residual blocks with BatchNorm, mean pooling over the image, one linear
/// layer.
///
/// For 3 channels and 10 classes, resnet20 has 269,722 values, resnet18
/// 11,173,962. The convolutions start with He's initialization (normal,
/// variance 2 / fan-out).
///
/// K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image
/// Recognition", CVPR 2016.
class ResNet : public ImageModel {
 public:
  /// Throws c10::Error for options without stages or blocks.
  ResNet(const ImageShape& shape, const ResNetOptions& options);

  torch::Tensor forward(torch::Tensor images) override;

 private:
  torch::nn::Sequential stem_;
  torch::nn::Sequential stages_;
  torch::nn::Linear head_{nullptr};
};

}  // namespace stepsize::trainer
