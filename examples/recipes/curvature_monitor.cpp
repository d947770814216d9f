// Watches the curvature of a run and changes nothing: the largest eigenvalue of
// the Hessian, and how far the rate is from the limit 2 (1 + momentum) / lambda
// at which gradient descent with momentum turns unstable.
//
//     curvature_monitor [TRAINING IMAGES]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include "fashion_mnist.h"

int main(int argc, char** argv) {
  torch::manual_seed(0);
  const auto train =
      recipes::fashion_mnist(true, recipes::argument(argc, argv, 10000));
  constexpr int64_t kUpdates = 200;
  constexpr int64_t kBatch = 128;
  constexpr double kMomentum = 0.9;

  torch::nn::Sequential model(
      torch::nn::Flatten(),
      torch::nn::Linear(784, 64),
      torch::nn::Tanh(),
      torch::nn::Linear(64, 10));
  torch::optim::SGD optimizer(
      model->parameters(), torch::optim::SGDOptions(0.02).momentum(kMomentum));

  // Of images that stay the same, so that what changes is the network.
  const auto watched =
      train.at(torch::arange(std::min<int64_t>(train.size(), 500)));
  const auto loss_of_watched = [&] {
    return torch::nn::functional::cross_entropy(
        model->forward(watched.pixels), watched.labels);
  };
  // Each measurement starts from the eigenvector of the one before.
  stepsize::CurvatureMeter meter(stepsize::CurvatureMeterOptions().products(5));

  std::printf("update    loss  sharpness  limit of the rate  rate\n");
  for (int64_t step = 0; step <= kUpdates; ++step) {
    if (step % 25 == 0) {
      meter.measure(loss_of_watched, model->parameters());
      const torch::NoGradGuard no_grad;
      std::printf(
          "%6d  %.4f  %9.2f  %17.4f  %.4f\n",
          int(step),
          loss_of_watched().item<double>(),
          meter.sharpness(),
          stepsize::max_stable_lr(meter.sharpness(), kMomentum),
          optimizer.param_groups()[0].options().get_lr());
    }
    const auto batch =
        train.at(torch::randint(train.size(), {kBatch}, torch::kInt64));
    optimizer.zero_grad();
    torch::nn::functional::cross_entropy(
        model->forward(batch.pixels), batch.labels)
        .backward();
    optimizer.step();
  }
  return 0;
}
