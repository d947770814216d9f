// Two processes train one model, each on its half of every batch:
//
//     recipes=build/release/examples/recipes
//     scripts/launch.sh -n 2 --program $recipes/two_processes
//
// starts them with --world-size N --rank R --master HOST:PORT. A number after
// `--` is that of the training images.
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include "fashion_mnist.h"

int main(int argc, char** argv) {
  int64_t world_size = 1;
  int64_t rank = 0;
  int64_t count = 20000;
  std::string master = "127.0.0.1:29500";
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "0";
    if (word == "--world-size") {
      world_size = std::atoll(value);
    } else if (word == "--rank") {
      rank = std::atoll(value);
    } else if (word == "--master") {
      master = value;
    } else {
      count = std::atoll(word.c_str());
      continue;
    }
    ++i;
  }
  const auto train = recipes::fashion_mnist(true, count);
  const auto test = recipes::fashion_mnist(false, 2000);
  // A process that is lost makes the others throw, and not wait for ever.
  const auto ranks = stepsize::connect(
      stepsize::ConnectOptions(master).rank(rank).world_size(world_size));

  torch::nn::Sequential model(
      torch::nn::Flatten(),
      torch::nn::Linear(784, 128),
      torch::nn::ReLU(),
      torch::nn::Linear(128, 10));
  // Each began with weights of its own.
  stepsize::broadcast_state(*model, *ranks);
  stepsize::ClippedSGD optimizer(
      model->parameters(),
      stepsize::ClippedSGDOptions(0.05).momentum(0.9).max_norm(5));
  // Gradients and loss are then the means over all processes, and norm and
  // clipping are alike everywhere.
  optimizer.set_reduction(ranks);

  constexpr int64_t kEpochs = 2;
  const int64_t own_batch = 128 / world_size;
  const int64_t batch_size = own_batch * world_size;
  for (int64_t epoch = 1; epoch <= kEpochs; ++epoch) {
    // The same order everywhere, of which each takes its share.
    torch::manual_seed(uint64_t(epoch));
    const auto order = torch::randperm(train.size());
    double loss_sum = 0;
    int64_t updates = 0;
    for (int64_t i = 0; i + batch_size <= train.size(); i += batch_size) {
      const int64_t first = i + rank * own_batch;
      const auto share = train.at(order.slice(0, first, first + own_batch));
      const auto loss = optimizer.step([&] {
        optimizer.zero_grad();
        auto own = torch::nn::functional::cross_entropy(
            model->forward(share.pixels), share.labels);
        own.backward();
        return own;
      });
      loss_sum += loss.item<double>();
      ++updates;
    }
    if (rank == 0) {
      std::printf(
          "epoch %d: %d updates by %d processes, loss %.4f, right %.3f\n",
          int(epoch),
          int(updates),
          int(world_size),
          loss_sum / double(updates),
          recipes::accuracy(model, test));
    }
  }
  // For as long as the copies are alike to the bit.
  stepsize::check_same(model->parameters(), *ranks);
  return 0;
}
