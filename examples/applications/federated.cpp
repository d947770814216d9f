// Federated learning: twenty clients, each with images of a few classes, teach
// one network and keep them to themselves. In a round five of them train it on
// their own images; the mean of what they changed, turned round, is the
// gradient that the server's optimizer gets, which may be any
// torch::optim::Optimizer:
//
//   SGD at rate 1       FedAvg (McMahan et al. 2017): the mean of the networks
//   SGD with momentum   FedAvgM (Hsu, Qi, Brown 2019)
//   Adam                FedAdam (Reddi et al. 2021, "Adaptive Federated
//                       Optimization")
//   any other           stepsize::Lion, to have one more in the table
//
// The clients' own rate stays, or falls from round to round. Each process
// stands for some of the clients:
//
//     applications=build/release/examples/applications
//     scripts/launch.sh -n 2 --program $applications/federated
//
// starts them, as torchrun and mpirun do. After `--`:
// [TRAINING IMAGES [FOLDER FOR THE PICTURE]].
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>

#include "../recipes/fashion_mnist.h"
#include "clients.h"
#include "outcome.h"

namespace {

constexpr std::size_t kClients = 20;
constexpr std::size_t kAsked = 5;  // a round
constexpr int64_t kBatch = 20;
constexpr double kEvenness = 0.1;  // of the classes, see clients.h
constexpr double kClientRate = 0.1;

using Optimizer = std::unique_ptr<torch::optim::Optimizer>;
using Weights = std::vector<torch::Tensor>;
using MakeOptimizer = std::function<Optimizer(const Weights&)>;

torch::nn::Sequential make_model() {
  return torch::nn::Sequential(
      torch::nn::Flatten(),
      torch::nn::Linear(784, 64),
      torch::nn::ReLU(),
      torch::nn::Linear(64, 10));
}

// Accuracy after each round.
std::vector<double> run(
    const MakeOptimizer& make_server,
    const stepsize::Schedule& client_rate,
    const recipes::Images& train,
    const recipes::Images& test,
    int64_t rounds,
    uint64_t seed,
    stepsize::Reduction& ranks) {
  std::mt19937_64 random(seed);
  const auto clients =
      applications::clients_of(train, kClients, kEvenness, random);
  std::vector<std::size_t> order(kClients);
  std::iota(order.begin(), order.end(), 0);
  torch::manual_seed(seed);
  auto model = make_model();  // the server's
  auto client = make_model();
  stepsize::broadcast_state(*model, ranks);
  const auto weights = model->parameters();
  const auto client_weights = client->parameters();
  const auto server = make_server(weights);

  std::vector<double> right;
  for (int64_t round = 0; round < rounds; ++round) {
    std::shuffle(order.begin(), order.end(), random);
    server->zero_grad();
    std::vector<torch::Tensor> changes;  // each times its client's images
    for (const auto& each : weights) changes.push_back(torch::zeros_like(each));
    int64_t images_here = 0;
    for (std::size_t i = 0; i < kAsked; ++i) {
      // This one is another process's.
      if (int64_t(i) % ranks.world_size() != ranks.rank()) continue;
      const auto& own = clients[order[i]];
      {
        const torch::NoGradGuard no_grad;
        for (std::size_t p = 0; p < weights.size(); ++p) {
          client_weights[p].copy_(weights[p]);
        }
      }
      torch::optim::SGD sgd(
          client_weights, kClientRate * client_rate(double(round)));
      torch::manual_seed(1000 * uint64_t(round) + order[i]);
      const auto epoch = torch::randperm(own.size());
      for (int64_t first = 0; first < own.size(); first += kBatch) {
        const auto batch = own.at(epoch.slice(0, first, first + kBatch));
        sgd.zero_grad();
        torch::nn::functional::cross_entropy(
            client->forward(batch.pixels), batch.labels)
            .backward();
        sgd.step();
      }
      const torch::NoGradGuard no_grad;
      for (std::size_t p = 0; p < weights.size(); ++p) {
        changes[p].add_(client_weights[p] - weights[p], double(own.size()));
      }
      images_here += own.size();
    }
    // With these weights the mean over ranks is that over all images.
    const double scale = stepsize::share_weight(images_here, ranks) /
                         double(std::max<int64_t>(1, images_here));
    for (std::size_t p = 0; p < weights.size(); ++p) {
      auto weight = weights[p];
      weight.mutable_grad() = changes[p] * -scale;
    }
    stepsize::average_gradients(weights, ranks);
    server->step();
    right.push_back(ranks.rank() == 0 ? recipes::accuracy(model, test) : 0);
  }
  stepsize::check_same(weights, ranks);
  return right;
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t images = recipes::argument(argc, argv, 20000, 1000);
  const bool full = images >= 10000;
  const int64_t rounds = full ? 60 : 20;
  const uint64_t seeds = full ? 5 : 2;
  const auto train = recipes::fashion_mnist(true, images);
  const auto test = recipes::fashion_mnist(false, 2000);
  const auto launched = stepsize::ConnectOptions::from_environment();
  const auto ranks = stepsize::connect(
      launched.value_or(stepsize::ConnectOptions("127.0.0.1:29500")));
  const int64_t rank = ranks->rank();
  const int64_t world_size = ranks->world_size();

  const std::vector<std::pair<std::string, MakeOptimizer>> servers{
      {"FedAvg",
       [](const Weights& weights) {
         return std::make_unique<torch::optim::SGD>(weights, 1.0);
       }},
      {"FedAvgM",
       [](const Weights& weights) {
         return std::make_unique<torch::optim::SGD>(
             weights, torch::optim::SGDOptions(0.1).momentum(0.9));
       }},
      {"FedAdam",
       [](const Weights& weights) {
         return std::make_unique<torch::optim::Adam>(
             weights,
             torch::optim::AdamOptions(0.01).betas({0.9, 0.99}).eps(1e-3));
       }},
      {"Lion", [](const Weights& weights) {
         return std::make_unique<stepsize::Lion>(
             weights, stepsize::LionOptions(1e-3).weight_decay(0));
       }}};
  const std::vector<std::pair<std::string, stepsize::Schedule>> client_rates{
      {"stays", stepsize::constant()},
      {"falls", stepsize::cosine(double(rounds), 0.01)}};

  if (rank == 0) {
    std::printf(
        "%d of %d clients in each of %d rounds, in %d processes. Shares of "
        "the\n"
        "test images that are told right, mean and deviation of %d seeds:\n\n"
        "server, and       after a quarter   in the last       from round\n"
        "clients' rate     of the rounds     ten rounds        to round\n",
        int(kAsked),
        int(kClients),
        int(rounds),
        int(world_size),
        int(seeds));
  }
  stepsize::LinePlot plot("Told right after each round, mean of the seeds");
  plot.x_label("round").y_label("told right").y_range(0.2, 0.9);
  std::vector<double> numbers(std::size_t(rounds), 1);
  std::partial_sum(numbers.begin(), numbers.end(), numbers.begin());
  // Of the last ten rounds, mean and deviation.
  std::map<std::string, std::pair<double, double>> ends;
  for (const auto& server : servers) {
    for (const auto& client_rate : client_rates) {
      std::vector<torch::Tensor> rows;
      for (uint64_t seed = 0; seed < seeds; ++seed) {
        rows.push_back(torch::tensor(
            run(server.second,
                client_rate.second,
                train,
                test,
                rounds,
                seed,
                *ranks),
            torch::kDouble));
      }
      if (rank > 0) continue;
      const auto right = torch::stack(rows);  // [seeds, rounds]
      const auto last = right.slice(1, -10);
      const auto name = server.first + ", " + client_rate.first;
      std::printf("%-16s", name.c_str());
      for (const auto& column :
           {right.select(1, rounds / 4 - 1), last.mean(1), last.std(1)}) {
        std::printf(
            "  %.3f +- %.3f ",
            column.mean().item<double>(),
            column.std().item<double>());
      }
      std::printf("\n");
      std::fflush(stdout);
      ends[name] = {
          last.mean().item<double>(), last.std(1).mean().item<double>()};
      if (server.first == "FedAvg" || server.first == "FedAdam") {
        const auto mean = right.mean(0).contiguous();
        const auto* first = mean.data_ptr<double>();
        plot.line(name, numbers, {first, first + rounds});
      }
    }
  }
  if (rank > 0) return 0;
  applications::write_picture(argc, argv, "federated", plot);
  const bool higher =
      ends["FedAdam, stays"].first > ends["FedAvg, stays"].first;
  const bool calmer =
      ends["FedAdam, stays"].second < ends["FedAvg, stays"].second;
  std::printf("\nWhere the clients' rate stays\n");
  applications::say("  FedAdam ends higher than FedAvg", higher);
  applications::say("  and differs less from round to round", calmer);
  return higher && calmer ? 0 : 1;
}
