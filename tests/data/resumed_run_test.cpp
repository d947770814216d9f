// A run that is saved and resumed in the midst of an epoch, and at its end, is
// the uninterrupted one bit for bit.

#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/data/endless_loader.h>
#include <stepsize/data/resumable_sampler.h>
#include <stepsize/tune/lr_range_test.h>
#include <torch/torch.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace stepsize {
namespace {

using Examples = torch::data::datasets::TensorDataset;

constexpr int64_t kExamples = 50;
constexpr int64_t kBatch = 8;  // seven batches an epoch
constexpr int64_t kUpdates = 20;

torch::Tensor inputs() {
  return torch::linspace(-1, 1, kExamples * 4, torch::kFloat64)
      .sin()
      .view({kExamples, 4});
}

// A network with dropout, which draws from the default generator; each
// process has one of these.
struct Training {
  explicit Training(int workers)
      : net(torch::nn::Linear(torch::nn::LinearOptions(4, 8)),
            torch::nn::Dropout(0.25),
            torch::nn::Linear(8, 1)),
        sampler(ResumableSamplerOptions(kExamples).seed(3)),
        batches(
            torch::data::make_data_loader(
                Examples(inputs()),
                sampler,
                torch::data::DataLoaderOptions(kBatch).workers(workers)),
            sampler) {
    net->to(torch::kFloat64);
    optimizer = std::make_unique<torch::optim::SGD>(
        net->parameters(), torch::optim::SGDOptions(0.05).momentum(0.9));
    checkpoint.module("net", *net)
        .optimizer("optimizer", *optimizer)
        .state("sampler", sampler)
        .counter("step", step);
  }

  torch::Tensor next_loss() {
    std::vector<torch::Tensor> rows;
    for (const auto& example : batches.next()) rows.push_back(example.data);
    const auto x = torch::stack(rows);
    return torch::mse_loss(net->forward(x), x.prod(1, /*keepdim=*/true));
  }

  void go_to(int64_t last) {
    for (; step < last; ++step) {
      optimizer->zero_grad();
      next_loss().backward();
      optimizer->step();
    }
  }

  torch::Tensor weights() const {
    std::vector<torch::Tensor> parts;
    for (const auto& p : net->parameters()) parts.push_back(p.flatten());
    return torch::cat(parts).detach();
  }

  torch::nn::Sequential net;
  ResumableSampler sampler;
  EndlessLoader<torch::data::StatelessDataLoader<Examples, ResumableSampler>>
      batches;
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  int64_t step = 0;
  Checkpoint checkpoint;
};

std::unique_ptr<Training> seeded_run(int workers) {
  torch::manual_seed(1);
  return std::make_unique<Training>(workers);
}

class ResumedRun : public testing::TestWithParam<int> {
 protected:
  ~ResumedRun() override { std::remove(path.c_str()); }
  std::string path = testing::TempDir() + "stepsize_resumed_run.ckpt";
};

INSTANTIATE_TEST_SUITE_P(Workers, ResumedRun, testing::Values(0, 2));

TEST_P(ResumedRun, IsTheUninterruptedOneBitForBit) {
  const auto whole = seeded_run(GetParam());
  whole->go_to(kUpdates);
  for (const int64_t update : {0, 1, 3, 7, 8, 12, 14, 19}) {
    const auto first = seeded_run(GetParam());
    first->go_to(update);
    save_checkpoint(path, first->checkpoint);
    torch::manual_seed(77);
    Training second(2 - GetParam());  // other workers, too
    load_checkpoint(path, second.checkpoint);
    EXPECT_EQ(second.step, update);
    second.go_to(kUpdates);
    EXPECT_TRUE(torch::equal(second.weights(), whole->weights())) << update;
  }
}

// As after a divergence: the loader is in the midst of another epoch, with
// batches under way.
TEST_P(ResumedRun, GoesBackToItsCheckpointWithoutANewLoader) {
  const auto run = seeded_run(GetParam());
  run->go_to(3);
  save_checkpoint(path, run->checkpoint);
  run->go_to(12);
  const auto expected = run->weights();
  run->go_to(16);
  load_checkpoint(path, run->checkpoint);
  EXPECT_EQ(run->sampler.place().batches, 3);
  run->go_to(12);
  EXPECT_TRUE(torch::equal(run->weights(), expected));
}

// The range test draws from the loader of the training, whose workers go on.
TEST_P(ResumedRun, IsTheSameAfterARangeTestInTheMidstOfIt) {
  const auto whole = seeded_run(GetParam());
  whole->go_to(kUpdates);
  const auto run = seeded_run(GetParam());
  run->go_to(5);
  const auto place = run->sampler.place();
  const auto result = lr_range_test(
      run->net,
      *run->optimizer,
      [&] {
        const auto loss = run->next_loss();
        loss.backward();
        return loss;
      },
      LRRangeTestOptions().start_lr(1e-4).end_lr(0.1).num_iterations(16));
  EXPECT_EQ(result.losses.size(), 16U);
  EXPECT_EQ(run->sampler.place().epoch, 2);
  run->sampler.set_place(place);
  run->go_to(kUpdates);
  EXPECT_TRUE(torch::equal(run->weights(), whole->weights()));
}

TEST_P(ResumedRun, IsAnotherOneFromTheStartOfTheEpoch) {
  const auto whole = seeded_run(GetParam());
  whole->go_to(kUpdates);
  const auto first = seeded_run(GetParam());
  first->go_to(3);
  save_checkpoint(path, first->checkpoint);
  Training second(GetParam());
  load_checkpoint(path, second.checkpoint);
  second.sampler.set_place({0, 0, 0});
  second.go_to(kUpdates);
  EXPECT_FALSE(torch::equal(second.weights(), whole->weights()));
}

}  // namespace
}  // namespace stepsize
