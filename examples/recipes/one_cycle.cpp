// One cycle (Smith and Topin 2018): the rate goes up to its peak and down to
// nearly nothing, the momentum the other way round. Beside it, the same number
// of updates at a constant rate.
//
//     one_cycle [TRAINING IMAGES]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include "fashion_mnist.h"

namespace {

constexpr int64_t kEpochs = 3;
constexpr int64_t kBatch = 128;

double train_and_test(
    bool cycles, const recipes::Images& train, const recipes::Images& test) {
  torch::manual_seed(0);
  torch::nn::Sequential model(
      torch::nn::Flatten(),
      torch::nn::Linear(784, 128),
      torch::nn::ReLU(),
      torch::nn::Linear(128, 10));
  torch::optim::SGD optimizer(
      model->parameters(), torch::optim::SGDOptions(0.05).momentum(0.9));
  const int64_t updates = (train.size() + kBatch - 1) / kBatch * kEpochs;
  std::optional<stepsize::OneCycleLR> scheduler;
  if (cycles) {
    // The peak may lie far above the best constant rate: it lasts a moment.
    // The optimizer's own rate does not count.
    scheduler.emplace(
        optimizer,
        stepsize::OneCycleLROptions(/*max_lr=*/0.3).total_steps(updates));
  }
  int64_t step = 0;
  for (int64_t epoch = 1; epoch <= kEpochs; ++epoch) {
    const auto order = torch::randperm(train.size());
    for (int64_t i = 0; i < train.size(); i += kBatch, ++step) {
      const auto batch = train.at(order.slice(0, i, i + kBatch));
      optimizer.zero_grad();
      torch::nn::functional::cross_entropy(
          model->forward(batch.pixels), batch.labels)
          .backward();
      if (scheduler && step % (updates / 8 + 1) == 0) {
        const auto& options = static_cast<const torch::optim::SGDOptions&>(
            optimizer.param_groups()[0].options());
        std::printf(
            "update %4d  rate %.4f  momentum %.3f\n",
            int(step),
            options.lr(),
            options.momentum());
      }
      optimizer.step();
      if (scheduler) scheduler->step();
    }
  }
  return recipes::accuracy(model, test);
}

}  // namespace

int main(int argc, char** argv) {
  const auto train =
      recipes::fashion_mnist(true, recipes::argument(argc, argv, 20000));
  const auto test = recipes::fashion_mnist(false, 2000);
  const double cycled = train_and_test(true, train, test);
  const double constant = train_and_test(false, train, test);
  std::printf("one cycle      right %.3f\n", cycled);
  std::printf("constant rate  right %.3f\n", constant);
  return 0;
}
