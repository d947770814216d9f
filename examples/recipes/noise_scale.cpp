// Gradient accumulation, and the noise scale that it gives for free: whether a
// larger batch would pay.
//
//     noise_scale [TRAINING IMAGES]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include "fashion_mnist.h"

int main(int argc, char** argv) {
  torch::manual_seed(0);
  const auto train =
      recipes::fashion_mnist(true, recipes::argument(argc, argv, 20000));
  constexpr int64_t kEpochs = 2;
  constexpr int64_t kMicroBatch = 32;
  constexpr int64_t kParts = 4;  // micro-batches in an update
  constexpr int64_t kBatch = kParts * kMicroBatch;

  torch::nn::Sequential model(
      torch::nn::Flatten(),
      torch::nn::Linear(784, 128),
      torch::nn::ReLU(),
      torch::nn::Linear(128, 10));
  // A rate meant for batches of 32, scaled to the batch of an update.
  const double lr = stepsize::scale_lr(
      0.03, kMicroBatch, kBatch, stepsize::BatchRule::linear());
  torch::optim::SGD optimizer(
      model->parameters(), torch::optim::SGDOptions(lr).momentum(0.9));
  stepsize::GradientNoiseScale noise(optimizer, kMicroBatch);

  std::printf("epoch  update    loss  noise scale\n");
  int64_t update = 0;
  for (int64_t epoch = 1; epoch <= kEpochs; ++epoch) {
    const auto order = torch::randperm(train.size());
    for (int64_t i = 0; i + kBatch <= train.size(); i += kBatch) {
      optimizer.zero_grad();
      double loss_sum = 0;
      noise.begin_update();
      for (int64_t part = 0; part < kParts; ++part) {
        const int64_t first = i + part * kMicroBatch;
        const auto batch = train.at(order.slice(0, first, first + kMicroBatch));
        // The mean over the parts, so that the gradient is that of one batch.
        const auto loss = torch::nn::functional::cross_entropy(
                              model->forward(batch.pixels), batch.labels) /
                          double(kParts);
        loss.backward();
        // `grad` is the growing sum: what this part has added is measured.
        noise.add_micro_batch();
        loss_sum += loss.item<double>();
      }
      noise.finish_update(/*factor=*/1.0 / double(kParts));
      optimizer.step();
      if (++update % std::max<int64_t>(train.size() / kBatch / 3, 1) == 0) {
        std::printf(
            "%5d  %6d  %.4f  %11.0f\n",
            int(epoch),
            int(update),
            loss_sum,
            noise.total().value);
      }
    }
  }
  std::cout << noise.total().advice(kBatch) << '\n';
  return 0;
}
