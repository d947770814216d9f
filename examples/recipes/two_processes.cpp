// Several processes train one model, each on its share of every batch. A
// launcher tells each its place: PyTorch's torchrun, mpirun, srun or
//
//     recipes=build/release/examples/recipes
//     scripts/launch.sh -n 2 --program $recipes/two_processes
//
//     two_processes [TRAINING IMAGES]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include "fashion_mnist.h"

int main(int argc, char** argv) {
  const auto train =
      recipes::fashion_mnist(true, recipes::argument(argc, argv, 20000));
  const auto test = recipes::fashion_mnist(false, 2000);
  const auto launched = stepsize::ConnectOptions::from_environment();
  // A process that is lost makes the others throw, and not wait for ever.
  const auto ranks = stepsize::connect(
      launched.value_or(stepsize::ConnectOptions("127.0.0.1:29500")));
  const int64_t rank = ranks->rank();
  const int64_t world_size = ranks->world_size();

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
