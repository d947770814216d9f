// The code of docs/data.md, word for word: scripts/check_docs.py looks for it.

#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/checkpoint/checkpoint_folder.h>
#include <stepsize/data/endless_loader.h>
#include <stepsize/data/resumable_sampler.h>
#include <stepsize/tune/lr_range_test.h>
#include <torch/torch.h>

#include <cstdint>
#include <filesystem>

namespace stepsize {
namespace {

// In a folder of its own, which is the current one.
class DataPage : public testing::Test {
 protected:
  DataPage() : before(std::filesystem::current_path()) {
    const auto folder =
        std::filesystem::path(testing::TempDir()) / "stepsize_data_page";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directory(folder);
    std::filesystem::current_path(folder);
  }
  ~DataPage() override {
    const auto folder = std::filesystem::current_path();
    std::filesystem::current_path(before);
    std::filesystem::remove_all(folder);
  }

  std::filesystem::path before;
};

TEST_F(DataPage, ARunGoesOnInTheMiddleOfAnEpoch) {
  torch::manual_seed(1);
  auto dataset =
      torch::data::datasets::TensorDataset(torch::ones({200, 3}))
          .map(torch::data::transforms::Stack<torch::data::TensorExample>());
  torch::nn::Linear model(3, 1);
  torch::optim::SGD optimizer(model->parameters(), 0.01);
  int64_t step = 0;
  int64_t validations = 0;
  const auto backward_of = [&](const torch::data::TensorExample& batch) {
    auto loss = model->forward(batch.data).square().mean();
    loss.backward();
    return loss;
  };
  const auto train = [&](const torch::data::TensorExample& batch) {
    optimizer.zero_grad();
    backward_of(batch);
    optimizer.step();
  };
  const auto validate = [&] { ++validations; };
  const auto options = LRRangeTestOptions().num_iterations(12);
  // clang-format off
stepsize::ResumableSampler sampler(dataset.size().value());
stepsize::EndlessLoader batches(
    torch::data::make_data_loader(
        dataset, sampler, torch::data::DataLoaderOptions(64).workers(2)),
    sampler);

stepsize::Checkpoint checkpoint;
checkpoint.module("model", *model)
    .optimizer("optimizer", optimizer)
    .state("sampler", sampler)
    .counter("step", step);
stepsize::CheckpointFolder folder("checkpoints");
folder.load_latest(checkpoint);  // goes on, or starts anew

while (batches.epoch() < 10) {
  while (auto batch = batches.next_in_epoch()) {
    train(*batch);
    if (++step % 100 == 0) folder.save(step, checkpoint);
  }
  validate();
}
  // clang-format on
  EXPECT_EQ(step, 40);
  EXPECT_EQ(validations, 10);

  // clang-format off
const auto start = sampler.place();
auto result = stepsize::lr_range_test(
    model, optimizer, [&] { return backward_of(batches.next()); }, options);
sampler.set_place(start);  // the training sees the epoch from its start
  // clang-format on
  EXPECT_EQ(result.losses.size(), 12U);
  EXPECT_EQ(batches.epoch(), 10);
  batches.next();
  EXPECT_EQ(batches.batches(), 1);

  const int64_t world_size = 3;
  const int64_t rank = 1;
  // clang-format off
stepsize::ResumableSampler own_share(
    stepsize::ResumableSamplerOptions(dataset.size().value())
        .seed(7)
        .num_replicas(world_size)
        .rank(rank));
  // clang-format on
  EXPECT_EQ(own_share.num_samples(), 67);

  auto loader = torch::data::make_data_loader(dataset, 64);
  // clang-format off
stepsize::EndlessLoader source(*loader);
auto first = source.next();   // the first batch of epoch 0
auto second = source.next();  // ... and after the last one, the first of epoch 1
source.start_epoch();         // gives up the rest of the epoch
  // clang-format on
  EXPECT_EQ(first.data.size(0) + second.data.size(0), 128);
  EXPECT_EQ(source.epoch(), 1);
}

}  // namespace
}  // namespace stepsize
