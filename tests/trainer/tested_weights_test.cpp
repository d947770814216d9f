#include "examples/trainer/loop/tested_weights.h"

#include <gtest/gtest.h>
#include <stepsize/distributed/sync_batch_norm.h>
#include <torch/torch.h>

#include <functional>
#include <vector>

#include "examples/trainer/loop/optimizer_table.h"
#include "examples/trainer/loop/train.h"
#include "sample_files.h"

namespace stepsize::trainer {
namespace {

// A few updates of a network with BatchNorm, on images of bars.
class TestedWeightsTest : public testing::Test {
 protected:
  void SetUp() override {
    write_bars(folder_ / "data", 24, 8);
    sets_ = load_sets("fashion-mnist", folder_ / "data");
    torch::manual_seed(1);
    model_ = make_model("cnn", {1, kBarsSide, kBarsSide, 10});
  }

  BatchSource images() const {
    BatchSourceOptions options;
    options.batch_size = 8;
    options.shuffle = true;
    options.seed = 3;
    return {sets_.train, {{1.0F / 255}, {0}}, options, torch::kCPU};
  }

  std::unique_ptr<TrainedOptimizer> trained(const std::string& name) {
    OptimizerChoice choice;
    choice.name = name;
    choice.lr = 0.01;
    choice.momentum = 0.9;
    auto optimizer = make_optimizer(*model_, choice);
    auto source = images();
    PhaseTimer timer;
    model_->train();
    source.start_epoch();
    while (auto batch = source.next()) {
      make_update(*optimizer, {*batch}, timer);
    }
    return optimizer;
  }

  static std::vector<torch::Tensor> copies(std::vector<torch::Tensor> tensors) {
    for (auto& tensor : tensors) tensor = tensor.detach().clone();
    return tensors;
  }

  static void expect_same(
      const std::vector<torch::Tensor>& a,
      const std::vector<torch::Tensor>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_TRUE(torch::equal(a[i], b[i])) << i;
    }
  }

  TemporaryFolder folder_;
  TrainTestSets sets_;
  std::shared_ptr<ImageModel> model_;
};

TEST_F(TestedWeightsTest, AreTheMeanAndLeaveNoTrace) {
  const auto optimizer = trained("schedule-free-sgd");
  auto& own = *optimizer->schedule_free();
  const auto weights = copies(model_->parameters());
  const auto buffers = copies(model_->buffers());
  own.eval();
  const auto mean = copies(model_->parameters());
  own.train();
  // Going to the mean and back may change the last bits.
  {
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      model_->parameters()[i].copy_(weights[i]);
    }
  }
  auto source = images();
  for (int again = 0; again < 2; ++again) {
    {
      const TestedWeights tested(*optimizer, &source);
      expect_same(copies(model_->parameters()), mean);
      EXPECT_FALSE(torch::equal(model_->buffers().front(), buffers.front()));
    }
    expect_same(copies(model_->parameters()), weights);
    expect_same(copies(model_->buffers()), buffers);
    EXPECT_TRUE(own.is_training());
  }
}

// The mean of a channel over the first convolution's outputs, by hand: batches
// are of one size, so it is that over all images.
TEST_F(TestedWeightsTest, HaveTheStatisticsOfTrainingImages) {
  const auto optimizer = trained("schedule-free-adamw");
  auto source = images();
  const TestedWeights tested(*optimizer, &source);
  const torch::NoGradGuard no_grad;
  auto all = images();
  all.start_epoch();
  std::vector<torch::Tensor> batches;
  while (auto batch = all.next()) batches.push_back(batch->images);
  torch::nn::Conv2dImpl* first = nullptr;
  SyncBatchNormImpl* norm = nullptr;
  for (const auto& module : model_->modules()) {
    if (first == nullptr) first = module->as<torch::nn::Conv2dImpl>();
    if (norm == nullptr) norm = module->as<SyncBatchNormImpl>();
  }
  ASSERT_NE(first, nullptr);
  ASSERT_NE(norm, nullptr);
  const auto outputs = first->forward(torch::cat(batches));
  EXPECT_TRUE(
      torch::allclose(norm->running_mean, outputs.mean({0, 2, 3}), 1e-4, 1e-5));
}

TEST_F(TestedWeightsTest, AreTakenForGood) {
  const auto optimizer = trained("schedule-free-sgd");
  auto source = images();
  std::vector<torch::Tensor> weights;
  std::vector<torch::Tensor> buffers;
  {
    const TestedWeights tested(*optimizer, &source);
    weights = copies(model_->parameters());
    buffers = copies(model_->buffers());
  }
  take_tested_weights(*optimizer, buffers);
  expect_same(copies(model_->parameters()), weights);
  expect_same(copies(model_->buffers()), buffers);
}

// One image more than three batches: it alone would weigh as a batch does.
TEST_F(TestedWeightsTest, LeaveAShortBatchOutAndHearASignal) {
  const auto optimizer = trained("schedule-free-sgd");
  const auto statistics = [&](std::int64_t batch_size,
                              const std::function<bool()>& stop) {
    BatchSourceOptions options;
    options.batch_size = batch_size;
    BatchSource source(sets_.train, {{1.0F / 255}, {0}}, options, torch::kCPU);
    return TestedWeights(*optimizer, &source, stop).buffers();
  };
  const auto kept = sets_.train;
  sets_.train.images = kept.images.narrow(0, 0, 17);
  sets_.train.labels = kept.labels.narrow(0, 0, 17);
  const auto of_two = statistics(8, nullptr);
  sets_.train.images = kept.images.narrow(0, 0, 16);
  sets_.train.labels = kept.labels.narrow(0, 0, 16);
  expect_same(statistics(8, nullptr), of_two);
  // After the first batch there are no more.
  int asked = 0;
  const auto of_one = statistics(8, [&] { return ++asked > 1; });
  EXPECT_EQ(asked, 2);
  EXPECT_FALSE(torch::equal(of_one.front(), of_two.front()));
}

TEST_F(TestedWeightsTest, AreThoseTrainedWithOtherOptimizers) {
  const auto optimizer = trained("sgd");
  const auto weights = copies(model_->parameters());
  const auto buffers = copies(model_->buffers());
  const TestedWeights tested(*optimizer, nullptr);
  EXPECT_TRUE(tested.buffers().empty());
  take_tested_weights(*optimizer, tested.buffers());
  expect_same(copies(model_->parameters()), weights);
  expect_same(copies(model_->buffers()), buffers);
}

}  // namespace
}  // namespace stepsize::trainer
