#include "examples/trainer/model/resnet.h"

#include <stepsize/distributed/sync_batch_norm.h>

namespace stepsize::trainer {
namespace {

namespace F = torch::nn::functional;

torch::nn::Conv2d conv3x3(
    std::int64_t in, std::int64_t out, std::int64_t stride) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3)
                               .stride(stride)
                               .padding(1)
                               .bias(false));
}

// relu(x' + bn(conv(relu(bn(conv(x)))))), x' being x in the shape of the sum.
class BlockImpl : public torch::nn::Module {
 public:
  BlockImpl(
      std::int64_t in, std::int64_t out, std::int64_t stride, bool projection)
      : stride_(stride), new_channels_(out - in) {
    conv1_ = register_module("conv1", conv3x3(in, out, stride));
    bn1_ = register_module("bn1", SyncBatchNorm(out));
    conv2_ = register_module("conv2", conv3x3(out, out, 1));
    bn2_ = register_module("bn2", SyncBatchNorm(out));
    if (projection && (stride != 1 || in != out)) {
      shortcut_ = register_module(
          "shortcut",
          torch::nn::Sequential(
              torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 1)
                                    .stride(stride)
                                    .bias(false)),
              SyncBatchNorm(out)));
    }
  }

  torch::Tensor forward(const torch::Tensor& x) {
    auto y = bn1_(conv1_(x)).relu_();
    y = bn2_(conv2_(y));
    return y.add_(shortcut(x)).relu_();
  }

 private:
  torch::Tensor shortcut(const torch::Tensor& x) {
    if (!shortcut_.is_empty()) {
      return shortcut_->forward(x);
    }
    if (stride_ == 1 && new_channels_ == 0) {
      return x;
    }
    const auto pixels =
        x.slice(2, 0, x.size(2), stride_).slice(3, 0, x.size(3), stride_);
    return F::pad(pixels, F::PadFuncOptions({0, 0, 0, 0, 0, new_channels_}));
  }

  std::int64_t stride_;
  std::int64_t new_channels_;
  torch::nn::Conv2d conv1_{nullptr};
  SyncBatchNorm bn1_{nullptr};
  torch::nn::Conv2d conv2_{nullptr};
  SyncBatchNorm bn2_{nullptr};
  torch::nn::Sequential shortcut_{nullptr};
};
TORCH_MODULE(Block);

}  // namespace

ResNetOptions ResNetOptions::resnet20() { return {{16, 32, 64}, 3, false}; }

ResNetOptions ResNetOptions::resnet18() {
  return {{64, 128, 256, 512}, 2, true};
}

ResNet::ResNet(const ImageShape& shape, const ResNetOptions& options) {
  TORCH_CHECK(
      !options.channels.empty() && options.blocks >= 1,
      "ResNet: at least one stage of at least one block is needed, got ",
      options.channels.size(),
      " stages of ",
      options.blocks,
      " blocks");

  std::int64_t in = options.channels.front();
  stem_->push_back(conv3x3(shape.channels, in, 1));
  stem_->push_back(SyncBatchNorm(in));
  stem_->push_back(torch::nn::ReLU(torch::nn::ReLUOptions().inplace(true)));
  for (std::size_t stage = 0; stage < options.channels.size(); ++stage) {
    const std::int64_t out = options.channels[stage];
    for (std::int64_t block = 0; block < options.blocks; ++block) {
      const std::int64_t stride = stage > 0 && block == 0 ? 2 : 1;
      stages_->push_back(Block(in, out, stride, options.projection));
      in = out;
    }
  }
  register_module("stem", stem_);
  register_module("stages", stages_);
  head_ = register_module("head", torch::nn::Linear(in, shape.classes));

  for (auto& module : modules(/*include_self=*/false)) {
    if (auto* conv = module->as<torch::nn::Conv2d>()) {
      torch::nn::init::kaiming_normal_(
          conv->weight, 0, torch::kFanOut, torch::kReLU);
    }
  }
}

torch::Tensor ResNet::forward(torch::Tensor images) {
  const auto features = stages_->forward(stem_->forward(images));
  return head_(features.mean({2, 3}));
}

}  // namespace stepsize::trainer
