// A schedule in a training loop: warm up over the first 5% of the updates, then
// half a cosine down to a hundredth of the rate.
//
//     schedule [TRAINING IMAGES]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include "fashion_mnist.h"

int main(int argc, char** argv) {
  torch::manual_seed(0);
  const auto train =
      recipes::fashion_mnist(true, recipes::argument(argc, argv, 20000));
  const auto test = recipes::fashion_mnist(false, 2000);
  constexpr int64_t kEpochs = 3;
  constexpr int64_t kBatch = 128;
  const int64_t updates_per_epoch = (train.size() + kBatch - 1) / kBatch;

  torch::nn::Sequential model(
      torch::nn::Flatten(),
      torch::nn::Linear(784, 128),
      torch::nn::ReLU(),
      torch::nn::Linear(128, 10));
  torch::optim::SGD optimizer(
      model->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));

  // What the text leaves open: updates in an epoch ("2ep") and in all ("5%").
  const stepsize::ParseContext context{
      double(updates_per_epoch), double(kEpochs * updates_per_epoch)};
  const auto schedule = stepsize::parse("warmup 5% > cosine to 0.01", context);
  // What is legal and yet unlikely to be meant.
  for (const auto& warning : stepsize::lint(schedule, context.run_length)) {
    std::cerr << "schedule: " << warning.message << '\n';
  }
  stepsize::ScheduleLR scheduler(optimizer, schedule);

  std::printf("epoch    rate    loss  right\n");
  for (int64_t epoch = 1; epoch <= kEpochs; ++epoch) {
    const auto order = torch::randperm(train.size());
    double loss_sum = 0;
    for (int64_t i = 0; i < train.size(); i += kBatch) {
      const auto batch = train.at(order.slice(0, i, i + kBatch));
      optimizer.zero_grad();
      const auto loss = torch::nn::functional::cross_entropy(
          model->forward(batch.pixels), batch.labels);
      loss.backward();
      optimizer.step();
      // Once an update, after the optimizer: the schedule counts updates.
      scheduler.step();
      loss_sum += loss.item<double>();
    }
    std::printf(
        "%5d  %.4f  %.4f  %.3f\n",
        int(epoch),
        scheduler.get_last_lr()[0],
        loss_sum / double(updates_per_epoch),
        recipes::accuracy(model, test));
  }
  return 0;
}
