// The README against the library. Its code stands here, word for word.

#include <gtest/gtest.h>
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include <filesystem>

#include "tests/docs/page.h"

namespace stepsize {
namespace {

TEST(Readme, LoopLowersTheRateAndTheLoss) {
  torch::manual_seed(1);
  const torch::Tensor inputs = torch::randn({64, 10});
  const torch::Tensor targets = inputs.sum(1, /*keepdim=*/true);
  torch::nn::Linear model(10, 1);
  torch::optim::SGD optimizer(model->parameters(), /*lr=*/0.1);
  stepsize::ScheduleLR scheduler(optimizer, "warmup 100 > cosine 900 to 0.01");
  for (int step = 0; step < 1000; ++step) {
    optimizer.zero_grad();
    torch::mse_loss(model->forward(inputs), targets).backward();
    optimizer.step();
    scheduler.step();
  }
  EXPECT_DOUBLE_EQ(scheduler.get_last_lr().at(0), 0.1 * 0.01);
  // A linear target: the least loss is zero.
  EXPECT_LT(
      torch::mse_loss(model->forward(inputs), targets).item<double>(), 1e-6);
}

TEST(Readme, OneCycleStartsAtATwentyFifthAndIsSaved) {
  torch::nn::Linear model(2, 1);
  torch::optim::SGD optimizer(
      model->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  stepsize::OneCycleLR scheduler(
      optimizer, stepsize::OneCycleLROptions(/*max_lr=*/0.1).total_steps(1000));
  scheduler.step();
  torch::save(scheduler, "scheduler.pt");
  EXPECT_DOUBLE_EQ(scheduler.lr_at(0).at(0), 0.1 / 25);
  const double saved = scheduler.get_last_lr().at(0);
  scheduler.seek(500);
  torch::load(scheduler, "scheduler.pt");
  EXPECT_EQ(scheduler.get_last_lr().at(0), saved);
  EXPECT_EQ(scheduler.last_epoch(), 1);
  std::filesystem::remove("scheduler.pt");
}

TEST(Readme, EveryScheduleInATableParses) {
  ParseContext context;
  context.steps_per_epoch = 100;
  context.run_length = 10000;
  std::size_t found = 0;
  for (const auto& cells : table_rows("README.md")) {
    if (cells.size() == 3 && is_code(cells[2])) {
      EXPECT_NO_THROW(parse(code_in(cells[2]), context)) << cells[2];
      ++found;
    }
  }
  EXPECT_EQ(found, 20U);
}

}  // namespace
}  // namespace stepsize
