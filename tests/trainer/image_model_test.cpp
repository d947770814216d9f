#include "examples/trainer/model/image_model.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>
#include <vector>

#include "examples/trainer/model/cnn.h"
#include "examples/trainer/model/resnet.h"

namespace stepsize::trainer {
namespace {

TEST(Cnn, HasTheParametersCountedByHand) {
  // Three 3x3 convolutions, scale and shift of three BatchNorms, one linear
  // layer on 128 channels of 3x3 or 4x4.
  EXPECT_EQ(
      parameter_count(Cnn({1, 28, 28, 10})),
      9 * (1 * 32 + 32 * 64 + 64 * 128) + 2 * (32 + 64 + 128) + 128 * 9 * 10 +
          10);
  EXPECT_EQ(
      parameter_count(Cnn({3, 32, 32, 10})),
      9 * (3 * 32 + 32 * 64 + 64 * 128) + 2 * (32 + 64 + 128) + 128 * 16 * 10 +
          10);
}

TEST(Cnn, RefusesImagesThatPoolingWouldUseUp) {
  EXPECT_THROW(Cnn({1, 7, 28, 10}), c10::Error);
}

TEST(ResNet, HasTheParametersOfThePaper) {
  // "0.27M" in table 6 of the paper; in full as in public reimplementations.
  EXPECT_EQ(
      parameter_count(ResNet({3, 32, 32, 10}, ResNetOptions::resnet20())),
      269722);
  EXPECT_EQ(
      parameter_count(ResNet({3, 32, 32, 10}, ResNetOptions::resnet18())),
      11173962);
}

TEST(ResNet, IsItsShortcutsWhereTheBlocksAreSilenced) {
  torch::manual_seed(0);
  ResNet model({3, 32, 32, 10}, ResNetOptions::resnet20());
  model.eval();
  const torch::NoGradGuard no_grad;
  // The last BatchNorm of every block scales by 0, which leaves x' of
  // relu(x' + f(x)): every second pixel, and zeros for the new channels.
  const auto parameters = model.named_parameters();
  for (const auto& parameter : parameters) {
    if (parameter.key().find("bn2.weight") != std::string::npos) {
      parameter.value().zero_();
    }
  }
  const auto images = torch::randn({2, 3, 32, 32});
  const auto stem = torch::relu(
      torch::conv2d(images, parameters["stem.0.weight"], {}, 1, 1) /
      std::sqrt(1 + 1e-5));  // BatchNorm as it starts: variance 1, epsilon
  const auto pixels = stem.slice(2, 0, 32, 4).slice(3, 0, 32, 4);
  const auto means =
      torch::cat({pixels.mean({2, 3}), torch::zeros({2, 48})}, 1);
  const auto expected =
      torch::linear(means, parameters["head.weight"], parameters["head.bias"]);
  EXPECT_TRUE(torch::allclose(model.forward(images), expected, 1e-4, 1e-5));
}

TEST(ResNet, RefusesNoStagesOrBlocks) {
  EXPECT_THROW(ResNet({3, 32, 32, 10}, {{}, 2, true}), c10::Error);
  EXPECT_THROW(ResNet({3, 32, 32, 10}, {{16}, 0, true}), c10::Error);
}

TEST(MakeModel, GivesOneLogitAClass) {
  const torch::NoGradGuard no_grad;
  for (const auto* name : {"cnn", "resnet20", "resnet18"}) {
    for (const ImageShape shape :
         {ImageShape{1, 28, 28, 10}, ImageShape{3, 32, 32, 100}}) {
      const auto model = make_model(name, shape);
      const auto images =
          torch::zeros({2, shape.channels, shape.height, shape.width});
      EXPECT_EQ(
          model->forward(images).sizes(),
          torch::IntArrayRef({2, shape.classes}))
          << name;
    }
  }
}

TEST(MakeModel, RefusesUnknownName) {
  EXPECT_THROW(make_model("vgg", {}), c10::Error);
}

}  // namespace
}  // namespace stepsize::trainer
