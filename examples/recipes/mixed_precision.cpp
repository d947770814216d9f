// Mixed precision: the forward pass in bfloat16, or in float16 on CUDA, with a
// loss that is scaled and a schedule that holds still where a step is left out.
//
//     mixed_precision [TRAINING IMAGES]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include "fashion_mnist.h"

int main(int argc, char** argv) {
  const auto train =
      recipes::fashion_mnist(true, recipes::argument(argc, argv, 20000));
  const auto test = recipes::fashion_mnist(false, 2000);
  constexpr int64_t kBatch = 64;
  const int64_t updates = (train.size() + kBatch - 1) / kBatch;

  torch::manual_seed(0);
  torch::nn::Sequential model(
      torch::nn::Flatten(),
      torch::nn::Linear(784, 128),
      torch::nn::ReLU(),
      torch::nn::Linear(128, 10));
  const torch::Device device =
      torch::cuda::is_available() ? torch::kCUDA : torch::kCPU;
  model->to(device);
  // The scale becomes a part of the factor that it clips by: no pass over the
  // gradients more.
  stepsize::ClippedAdamW optimizer(
      model->parameters(), stepsize::ClippedAdamWOptions(2e-3));
  stepsize::GradScaler scaler;
  stepsize::ScheduleLR scheduler(
      optimizer,
      stepsize::warmup(double(updates) / 10)
          .then(stepsize::cosine(double(updates) * 0.9)));
  scheduler.follow_skipped_steps(scaler);

  const auto order = torch::randperm(train.size());
  for (int64_t i = 0; i < train.size(); i += kBatch) {
    const auto batch = train.at(order.slice(0, i, i + kBatch));
    optimizer.zero_grad();
    torch::Tensor loss;
    {
      const stepsize::Autocast autocast(device);
      loss = torch::nn::functional::cross_entropy(
          model->forward(batch.pixels.to(device)), batch.labels.to(device));
    }
    scaler.scale(loss).backward();
    scaler.step(optimizer);
    scaler.update();
    scheduler.step();
  }
  model->to(torch::kCPU);
  std::printf(
      "right %.3f, scale %.0f, %d of %d updates left out\n",
      recipes::accuracy(model, test),
      scaler.scale(),
      int(scaler.skipped_steps()),
      int(updates));
  return 0;
}
