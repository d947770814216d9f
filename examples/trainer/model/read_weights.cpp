// Reads what stepsize-train --export has written, with LibTorch alone:
//
//   stepsize-train --export weights.pt
//   read-weights weights.pt

#include <torch/torch.h>

#include <cstdint>
#include <iostream>

namespace nn = torch::nn;

// The network of --model cnn, with the same names.
struct CnnImpl : nn::Module {
  CnnImpl(std::int64_t channels, std::int64_t side, std::int64_t classes) {
    for (const std::int64_t width : {32, 64, 128}) {
      features->push_back(nn::Conv2d(
          nn::Conv2dOptions(channels, width, 3).padding(1).bias(false)));
      features->push_back(nn::BatchNorm2d(width));
      features->push_back(nn::ReLU());
      features->push_back(nn::MaxPool2d(2));
      channels = width;
    }
    register_module("features", features);
    const std::int64_t values = channels * (side / 8) * (side / 8);
    head = register_module("head", nn::Linear(values, classes));
  }

  torch::Tensor forward(const torch::Tensor& images) {
    return head(features->forward(images).flatten(1));
  }

  nn::Sequential features;
  nn::Linear head{nullptr};
};
TORCH_MODULE(Cnn);

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: read-weights FILE\n";
    return 2;
  }
  Cnn model(/*channels=*/1, /*side=*/28, /*classes=*/10);
  torch::load(model, argv[1]);
  model->eval();

  torch::serialize::InputArchive archive;
  archive.load_from(argv[1]);
  torch::Tensor scale;
  torch::Tensor shift;
  archive.read("input_scale", scale, /*is_buffer=*/true);
  archive.read("input_shift", shift, /*is_buffer=*/true);

  // Your images, bytes [N, C, H, W]; here a black one.
  const auto bytes = torch::zeros({1, 1, 28, 28}, torch::kUInt8);
  const auto images =
      bytes * scale.view({1, -1, 1, 1}) + shift.view({1, -1, 1, 1});
  const torch::NoGradGuard no_grad;
  const auto answer = model->forward(images).argmax(1);
  std::cout << "class " << answer.item<std::int64_t>() << '\n';
  return 0;
} catch (const c10::Error& error) {
  // Without the backtrace. That there is an argument has been looked at.
  std::cerr << "read-weights: " << argv[1] << ": "
            << error.what_without_backtrace() << '\n';
  return 1;
}
