// Gradients that are clipped as part of the update: at a rate that is too high
// for plain SGD, SGD beside ClippedSGD.
//
//     clipping [TRAINING IMAGES]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include "fashion_mnist.h"

namespace {

constexpr int64_t kBatch = 64;

template <typename Optimizer>
double train_and_test(
    torch::nn::Sequential& model,
    Optimizer& optimizer,
    const recipes::Images& train,
    const recipes::Images& test) {
  const auto order = torch::randperm(train.size());
  for (int64_t i = 0; i < train.size(); i += kBatch) {
    const auto batch = train.at(order.slice(0, i, i + kBatch));
    optimizer.zero_grad();
    torch::nn::functional::cross_entropy(
        model->forward(batch.pixels), batch.labels)
        .backward();
    optimizer.step();
  }
  return recipes::accuracy(model, test);
}

torch::nn::Sequential make_model() {
  torch::manual_seed(0);
  return torch::nn::Sequential(
      torch::nn::Flatten(),
      torch::nn::Linear(784, 128),
      torch::nn::ReLU(),
      torch::nn::Linear(128, 10));
}

}  // namespace

int main(int argc, char** argv) {
  const auto train =
      recipes::fashion_mnist(true, recipes::argument(argc, argv, 20000));
  const auto test = recipes::fashion_mnist(false, 2000);
  constexpr double kRate = 1.5;

  auto model = make_model();
  torch::optim::SGD plain(
      model->parameters(), torch::optim::SGDOptions(kRate).momentum(0.9));
  std::printf(
      "SGD         right %.3f\n", train_and_test(model, plain, train, test));

  // One pass over the gradients for the norm; the factor goes into the update,
  // and the gradients stay as they are. A step whose gradient is not finite is
  // left out.
  model = make_model();
  stepsize::ClippedSGD clipped(
      model->parameters(),
      stepsize::ClippedSGDOptions(kRate).momentum(0.9).max_norm(0.05));
  const double right = train_and_test(model, clipped, train, test);
  std::printf(
      "ClippedSGD  right %.3f, %d of %d updates clipped, %d left out, the last "
      "norm %.3g\n",
      right,
      int(clipped.clipped_steps()),
      int((train.size() + kBatch - 1) / kBatch),
      int(clipped.skipped_steps()),
      clipped.last_grad_norm());
  return 0;
}
