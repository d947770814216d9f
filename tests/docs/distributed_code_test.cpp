// The code of docs/distributed.md, word for word: scripts/check_docs.py looks
// for each of its blocks here.

#include <gtest/gtest.h>
#include <stepsize/distributed/agree.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/broadcast.h>
#include <stepsize/distributed/connect.h>
#include <stepsize/distributed/overlapped_reduction.h>
#include <stepsize/distributed/sync_batch_norm.h>
#include <stepsize/optim/rollback_sgd.h>
#include <stepsize/tune/gradient_noise_scale.h>
#include <stepsize/tune/lr_range_test.h>
#include <torch/torch.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/ranks.h"

namespace stepsize {
namespace {

torch::Tensor share_of_batch(int64_t step, int64_t rank, int64_t world_size) {
  const auto batch = torch::sin(torch::arange(16) * 0.7 + step).view({8, 2});
  const int64_t share = 8 / world_size;
  return batch.narrow(0, share * rank, share);
}

torch::Tensor loss_of(torch::nn::Linear& model, const torch::Tensor& rows) {
  const auto labels = (rows.sum(1) > 0).to(torch::kInt64);
  return torch::nn::functional::cross_entropy(model->forward(rows), labels);
}

// clang-format off
void train(int64_t rank, int64_t world_size, const std::string& master) {
  auto ranks = stepsize::connect(
      stepsize::ConnectOptions(master).rank(rank).world_size(world_size));
  torch::nn::Linear model(2, 3);
  stepsize::broadcast_state(*model, *ranks);
  stepsize::RollbackSGD optimizer(
      model->parameters(), stepsize::RollbackSGDOptions(0.1));
  optimizer.set_reduction(ranks);
  for (int step = 0; step < 20; ++step) {
    auto loss = optimizer.step([&] {
      optimizer.zero_grad();
      auto own = loss_of(model, share_of_batch(step, rank, world_size));
      own.backward();
      return own;
    });
    if (rank == 0) std::cout << loss.item<double>() << "\n";
  }
}

class OneRank : public stepsize::Reduction {
 public:
  int64_t rank() const override { return 0; }
  int64_t world_size() const override { return 1; }
  void sum(at::Tensor& /*tensor*/) override {}
  void broadcast(at::Tensor& /*bytes*/, int64_t /*root*/) override {}
};
// clang-format on

TEST(DistributedPage, TrainsOneModelOnTwoRanks) {
  torch::manual_seed(1);
  const std::string master = test::free_master();
  testing::internal::CaptureStdout();
  std::thread other([&] { train(1, 2, master); });
  train(0, 2, master);
  other.join();
  std::istringstream printed(testing::internal::GetCapturedStdout());
  std::vector<double> losses;
  for (double loss = 0; printed >> loss;) losses.push_back(loss);
  ASSERT_EQ(losses.size(), 20U);
  EXPECT_LT(losses.back(), losses.front());
}

TEST(DistributedPage, LearnsItsPlaceFromALauncher) {
  const std::string master = test::free_master();
  const std::vector<std::pair<std::string, std::string>> variables{
      {"RANK", "0"},
      {"WORLD_SIZE", "1"},
      {"MASTER_ADDR", "127.0.0.1"},
      {"MASTER_PORT", master.substr(master.rfind(':') + 1)}};
  for (const auto& [name, value] : variables) {
    setenv(name.c_str(), value.c_str(), 1);
  }
  // clang-format off
auto launched = stepsize::ConnectOptions::from_environment();
auto ranks = stepsize::connect(
    launched.value_or(stepsize::ConnectOptions("127.0.0.1:29500")));
  // clang-format on
  for (const auto& variable : variables) unsetenv(variable.first.c_str());
  ASSERT_TRUE(launched);
  EXPECT_EQ(launched->master(), master);
  EXPECT_EQ(ranks->world_size(), 1);
}

TEST(DistributedPage, AveragesForAnyOptimizer) {
  test::run_ranks(2, [](const std::shared_ptr<Reduction>& ranks) {
    torch::nn::Linear model(2, 3);
    broadcast_state(*model, *ranks);
    torch::optim::SGD optimizer(model->parameters(), 0.1);
    // clang-format off
optimizer.zero_grad();
auto loss = loss_of(model, share_of_batch(0, ranks->rank(), 2));
loss.backward();
stepsize::average_gradients(model->parameters(), *ranks);
optimizer.step();
    // clang-format on
    check_same(model->parameters(), *ranks);

    const auto share = share_of_batch(0, ranks->rank(), 2);
    // clang-format off
auto own = loss_of(model, share);
auto weighted = own * stepsize::share_weight(share.size(0), *ranks);
    // clang-format on
    EXPECT_EQ(weighted.item<double>(), own.item<double>());
  });
}

TEST(DistributedPage, SendsGradientsWhileBackwardComputes) {
  test::run_ranks(2, [](const std::shared_ptr<Reduction>& ranks) {
    torch::nn::Linear model(2, 3);
    broadcast_state(*model, *ranks);
    // clang-format off
stepsize::RollbackSGD optimizer(
    model->parameters(), stepsize::RollbackSGDOptions(0.1));
auto overlapped = std::make_shared<stepsize::OverlappedReduction>(
    ranks, model->parameters());
optimizer.set_reduction(overlapped);
    // clang-format on
    optimizer.step([&] {
      optimizer.zero_grad();
      auto own = loss_of(model, share_of_batch(0, ranks->rank(), 2));
      own.backward();
      return own;
    });
    check_same(model->parameters(), *ranks);
    EXPECT_GT(overlapped->sent_early(), 0);
  });
}

TEST(DistributedPage, NormalizesOverTheBatchOfAllRanks) {
  test::run_ranks(2, [](const std::shared_ptr<Reduction>& ranks) {
    // clang-format off
torch::nn::Sequential model(
    torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 8, 3).bias(false)),
    stepsize::SyncBatchNorm(8),
    torch::nn::ReLU());
stepsize::broadcast_state(*model, *ranks);
stepsize::set_reduction(*model, ranks);  // to each SyncBatchNorm in it
    // clang-format on
    // One image each, and yet the same statistics.
    torch::manual_seed(static_cast<std::uint64_t>(ranks->rank()));
    model->forward(torch::randn({1, 1, 5, 5}));
    check_same(model->buffers(), *ranks);
  });
}

TEST(DistributedPage, ComparesFactsOfYourOwn) {
  test::run_ranks(2, [](const std::shared_ptr<Reduction>& ranks) {
    const auto say = [&](double momentum, const torch::Tensor& inputs) {
      // clang-format off
stepsize::agree(
    {{"examples", std::to_string(inputs.size(0))},
     {"momentum", std::to_string(momentum)}},
    *ranks);
      // clang-format on
    };
    say(0.9, torch::zeros({8, 2}));
    EXPECT_THROW(say(0.9, torch::zeros({8 + ranks->rank(), 2})), c10::Error);
  });
}

TEST(DistributedPage, FindsARateAndMeasuresTheNoise) {
  test::run_ranks(2, [](const std::shared_ptr<Reduction>& ranks) {
    torch::nn::Linear model(2, 3);
    broadcast_state(*model, *ranks);
    torch::optim::SGD optimizer(model->parameters(), 0.1);
    // clang-format off
auto result = stepsize::lr_range_test(
    *model,
    optimizer,
    [&] {
      auto own = loss_of(model, share_of_batch(0, ranks->rank(), 2));
      own.backward();
      return own;
    },
    stepsize::LRRangeTestOptions().num_iterations(30).reduction(ranks));
result.apply(optimizer);
    // clang-format on
    const double rate = optimizer.param_groups()[0].options().get_lr();
    EXPECT_EQ(ranks->max(rate), rate);

    stepsize::GradientNoiseScale noise(optimizer, /*micro_batch=*/4);
    auto loss = loss_of(model, share_of_batch(1, ranks->rank(), 2));
    // clang-format off
noise.begin_update();
loss.backward();
noise.add_micro_batch();
noise.finish_update(*ranks);  // averages the gradients, too
optimizer.step();
    // clang-format on
    EXPECT_EQ(noise.total().updates, 1);
    check_same(model->parameters(), *ranks);
  });
}

TEST(DistributedPage, HasAReductionOfYourOwn) {
  EXPECT_EQ(OneRank().mean(3), 3);
}

}  // namespace
}  // namespace stepsize
