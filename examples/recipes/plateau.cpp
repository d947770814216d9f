// A rate that is cut where the validation loss has stopped to fall, and a run
// that ends where it does not fall any more, with the best weights.
//
//     plateau [TRAINING IMAGES]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include "fashion_mnist.h"

int main(int argc, char** argv) {
  torch::manual_seed(0);
  const auto train =
      recipes::fashion_mnist(true, recipes::argument(argc, argv, 4000));
  const auto validation = recipes::fashion_mnist(false, 2000);
  constexpr int64_t kMostEpochs = 40;
  constexpr int64_t kBatch = 64;

  torch::nn::Sequential model(
      torch::nn::Flatten(),
      torch::nn::Linear(784, 128),
      torch::nn::ReLU(),
      torch::nn::Linear(128, 10));
  torch::optim::Adam optimizer(model->parameters(), /*lr=*/3e-3);
  // Two bad epochs are sat through, the third cuts the rate to a third. After
  // that the loss gets an epoch to settle before it counts again.
  stepsize::ReduceLROnPlateau scheduler(
      optimizer,
      stepsize::ReduceLROnPlateauOptions().factor(1.0 / 3).patience(2).cooldown(
          1));
  // Longer than the scheduler's patience: each rate is to get its chance.
  stepsize::EarlyStopping stopping(
      *model, stepsize::EarlyStoppingOptions().patience(7));

  std::printf("epoch      rate  train loss  validation loss\n");
  for (int64_t epoch = 1; epoch <= kMostEpochs && !stopping.stopped();
       ++epoch) {
    const auto order = torch::randperm(train.size());
    double loss_sum = 0;
    for (int64_t i = 0; i < train.size(); i += kBatch) {
      const auto batch = train.at(order.slice(0, i, i + kBatch));
      optimizer.zero_grad();
      const auto loss = torch::nn::functional::cross_entropy(
          model->forward(batch.pixels), batch.labels);
      loss.backward();
      optimizer.step();
      loss_sum += loss.item<double>() * double(batch.size());
    }
    double validation_loss = 0;
    {
      const torch::NoGradGuard no_grad;
      validation_loss =
          torch::nn::functional::cross_entropy(
              model->forward(validation.pixels), validation.labels)
              .item<double>();
    }
    std::printf(
        "%5d  %.6f  %10.4f  %15.4f\n",
        int(epoch),
        scheduler.get_last_lr()[0],
        loss_sum / double(train.size()),
        validation_loss);
    // Once an epoch, with the number that both go by.
    scheduler.step(validation_loss);
    stopping.step(validation_loss);
  }
  stopping.restore_best();
  std::printf(
      "best epoch %d: right %.3f\n",
      int(stopping.best_step() + 1),
      recipes::accuracy(model, validation));
  return 0;
}
