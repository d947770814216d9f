// Rates of its own for each layer, as in fine-tuning: the head learns at the
// full rate, each layer below at less, and norms and biases do not decay. All
// follow one schedule.
//
//     param_groups [TRAINING IMAGES]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include "fashion_mnist.h"

namespace {

struct NetImpl : torch::nn::Module {
  NetImpl() {
    // The order of registration is that of the layers, from body to head.
    register_module("conv1", conv1);
    register_module("norm", norm);
    register_module("conv2", conv2);
    register_module("head", head);
  }
  torch::Tensor forward(torch::Tensor x) {
    x = torch::relu(norm(conv1(x)));
    x = torch::relu(conv2(x));
    return head(torch::adaptive_avg_pool2d(x, {4, 4}).flatten(1));
  }
  torch::nn::Conv2d conv1{torch::nn::Conv2dOptions(1, 16, 3).stride(2)};
  torch::nn::BatchNorm2d norm{16};
  torch::nn::Conv2d conv2{torch::nn::Conv2dOptions(16, 32, 3).stride(2)};
  torch::nn::Linear head{512, 10};
};
TORCH_MODULE(Net);

}  // namespace

int main(int argc, char** argv) {
  torch::manual_seed(0);
  const auto train =
      recipes::fashion_mnist(true, recipes::argument(argc, argv, 10000));
  const auto test = recipes::fashion_mnist(false, 2000);
  constexpr int64_t kEpochs = 2;
  constexpr int64_t kBatch = 64;

  Net model;
  // Half the rate a layer further from the head.
  stepsize::ParamGroups groups(
      *model, torch::optim::AdamWOptions(4e-3).weight_decay(0.05));
  groups.layer_decay(0.5).no_decay_for_norms_and_biases();
  std::cout << groups << '\n';
  auto optimizer = groups.make_optimizer<torch::optim::AdamW>();

  // The schedule multiplies the rate of each group.
  const int64_t updates = (train.size() + kBatch - 1) / kBatch * kEpochs;
  stepsize::ScheduleLR scheduler(
      optimizer, "warmup 10% > cosine", {0, double(updates)});
  for (int64_t epoch = 1; epoch <= kEpochs; ++epoch) {
    const auto order = torch::randperm(train.size());
    for (int64_t i = 0; i < train.size(); i += kBatch) {
      const auto batch = train.at(order.slice(0, i, i + kBatch));
      optimizer.zero_grad();
      torch::nn::functional::cross_entropy(
          model->forward(batch.pixels), batch.labels)
          .backward();
      optimizer.step();
      scheduler.step();
    }
    const auto rates = scheduler.get_last_lr();
    std::printf(
        "epoch %d: rate of the first layer %.5f, of the head %.5f, right "
        "%.3f\n",
        int(epoch),
        *std::min_element(rates.begin(), rates.end()),
        *std::max_element(rates.begin(), rates.end()),
        recipes::accuracy(model, test));
  }
  return 0;
}
