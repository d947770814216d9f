// Finds the rate before training: a range test on the model as it is, which it
// leaves as it was, and then a run with what the test suggests for its
// schedule.
//
//     range_test [TRAINING IMAGES]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include "fashion_mnist.h"

int main(int argc, char** argv) {
  torch::manual_seed(0);
  const auto train =
      recipes::fashion_mnist(true, recipes::argument(argc, argv, 20000));
  const auto test = recipes::fashion_mnist(false, 2000);
  constexpr int64_t kUpdates = 300;
  constexpr int64_t kBatch = 128;

  torch::nn::Sequential model(
      torch::nn::Flatten(),
      torch::nn::Linear(784, 128),
      torch::nn::ReLU(),
      torch::nn::Linear(128, 10));
  torch::optim::SGD optimizer(
      model->parameters(), torch::optim::SGDOptions(1e-3).momentum(0.9));

  // All that the test knows of the data: a closure that computes the loss of
  // the next batch and its gradient.
  const auto next_loss = [&] {
    const auto batch =
        train.at(torch::randint(train.size(), {kBatch}, torch::kInt64));
    const auto loss = torch::nn::functional::cross_entropy(
        model->forward(batch.pixels), batch.labels);
    loss.backward();
    return loss;
  };
  const auto result = stepsize::lr_range_test(
      *model,
      optimizer,
      next_loss,
      stepsize::LRRangeTestOptions().start_lr(1e-4).num_iterations(200));
  std::cout << result.to_terminal() << '\n' << result.reason << "\n\n";
  result.write_svg("range_test.svg");

  // Not every curve has a rate in it: the reason says why.
  if (!result.has_suggestion()) return 1;
  const auto schedule =
      stepsize::warmup(30).then(stepsize::cosine(kUpdates - 30));
  // A schedule that is near its peak for a short time bears a higher one. It is
  // set before the scheduler is made, which takes the rate that it finds.
  const double lr = result.suggestion(schedule, kUpdates);
  result.apply(optimizer, lr);
  stepsize::ScheduleLR scheduler(optimizer, schedule);
  for (int64_t step = 0; step < kUpdates; ++step) {
    optimizer.zero_grad();
    next_loss();
    optimizer.step();
    scheduler.step();
  }
  std::printf(
      "%d updates at a base rate of %.3g: right %.3f\n",
      int(kUpdates),
      lr,
      recipes::accuracy(model, test));
  return 0;
}
