// The code of docs/tuning.md, word for word: scripts/check_docs.py looks for
// it.

#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/tune/batch_scaling.h>
#include <stepsize/tune/batch_size_schedule.h>
#include <stepsize/tune/early_stopping.h>
#include <stepsize/tune/gradient_noise_scale.h>
#include <stepsize/tune/lr_range_test.h>
#include <stepsize/tune/lr_search.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdint>

#include <filesystem>
#include <iostream>
#include <string>
#include <tuple>
#include <vector>

namespace stepsize {
namespace {

// Three classes of points around three centres, and a model of them.
class TuningPage : public testing::Test {
 protected:
  TuningPage() {
    torch::manual_seed(1);
    model = torch::nn::Linear(2, 3);
    labels = torch::randint(0, 3, {64}, torch::kInt64);
    const auto centres =
        torch::tensor({{2.0F, 0.0F}, {-1.0F, 2.0F}, {-1.0F, -2.0F}});
    inputs = centres.index_select(0, labels) + torch::randn({64, 2});
  }

  torch::Tensor next_inputs() { return inputs; }
  torch::Tensor next_labels() { return labels; }
  torch::Tensor next_loss() {
    const auto part = torch::randint(0, 64, {32}, torch::kInt64);
    return torch::nn::functional::cross_entropy(
        model->forward(inputs.index_select(0, part)),
        labels.index_select(0, part));
  }

  torch::nn::Linear model{nullptr};
  torch::Tensor inputs;
  torch::Tensor labels;
};

TEST_F(TuningPage, TheRangeTestSetsARate) {
  const auto folder = std::filesystem::current_path();
  std::filesystem::current_path(testing::TempDir());
  torch::optim::SGD optimizer(model->parameters(), 123);
  testing::internal::CaptureStdout();
  // clang-format off
auto result = stepsize::lr_range_test(*model, optimizer, [&] {
  auto loss = torch::nn::functional::cross_entropy(
      model->forward(next_inputs()), next_labels());
  loss.backward();
  return loss;
});
if (result.has_suggestion()) {
  result.apply(optimizer);
}
result.write_svg("range.svg");
std::cout << result.to_terminal() << '\n';

  {
auto schedule = stepsize::warmup(500).then(stepsize::cosine(9500));
result.apply(optimizer, result.suggestion(schedule, /*updates=*/10000));
stepsize::ScheduleLR scheduler(optimizer, schedule);
  }
result.apply(optimizer);
  // clang-format on
  EXPECT_NE(
      testing::internal::GetCapturedStdout().find("suggested"),
      std::string::npos);
  EXPECT_TRUE(std::filesystem::exists("range.svg"));
  std::filesystem::current_path(folder);
  const double rate = optimizer.param_groups()[0].options().get_lr();
  EXPECT_GT(rate, 1e-3);
  EXPECT_LT(rate, 10);
}

TEST(TuningPageSearch, FindsWhatTrainsBest) {
  const auto folder = std::filesystem::current_path();
  const auto own =
      std::filesystem::path(testing::TempDir()) / "stepsize_search_page";
  std::filesystem::remove_all(own);
  std::filesystem::create_directory(own);
  std::filesystem::current_path(own);
  const auto inputs = torch::randn({40, 3}, torch::kFloat64);
  const auto outputs = inputs.sum(1, /*keepdim=*/true);
  const auto make_model = [] {
    torch::nn::Linear made(3, 1);
    made->to(torch::kFloat64);
    return made;
  };
  const auto loss_of = [&](torch::nn::Linear& made) {
    return torch::mse_loss(made->forward(inputs), outputs);
  };
  const auto train_epoch = [&](torch::nn::Linear& made,
                               torch::optim::Optimizer& optimizer,
                               ScheduleLR& scheduler) {
    optimizer.zero_grad();
    loss_of(made).backward();
    optimizer.step();
    scheduler.step();
  };
  const auto validation_loss = [&](torch::nn::Linear& made) {
    return loss_of(made).item<double>();
  };
  testing::internal::CaptureStdout();
  // clang-format off
auto train = [&](stepsize::Trial& trial) {
  auto model = make_model();
  torch::optim::SGD sgd(
      model->parameters(),
      torch::optim::SGDOptions(trial.lr()).momentum(trial["momentum"]));
  stepsize::ScheduleLR scheduler(sgd, trial.schedule());
  double loss = 0;
  for (int64_t epoch = 1; epoch <= 10; ++epoch) {
    train_epoch(model, sgd, scheduler);
    loss = validation_loss(model);
    if (!trial.report(epoch, loss)) break;
  }
  return loss;
};
stepsize::SearchSpace numbers("momentum:0.5..0.99 log1m");
numbers.add_schedule(
    "warmup {w:1%..20% log} > cosine to {f:0..0.3}",
    {/*steps_per_epoch=*/100, /*run_length=*/1000});
auto result = stepsize::lr_search(
    train,
    stepsize::LRSearchOptions(1e-5, 10)
        .numbers(numbers)
        .trials(40)
        .journal("search.jsonl"));
std::cout << result << result.to_terminal();
result.write_csv("search.csv");
result.write_svg("search.svg");
  // clang-format on
  EXPECT_NE(
      testing::internal::GetCapturedStdout().find("best of 40 trials"),
      std::string::npos);
  EXPECT_TRUE(std::filesystem::exists("search.svg"));
  EXPECT_LT(result.best().loss, 1e-2);
  std::filesystem::current_path(folder);
  std::filesystem::remove_all(own);
}

TEST_F(TuningPage, RatesFollowTheBatch) {
  torch::optim::AdamW adamw(
      model->parameters(), torch::optim::AdamWOptions(1e-3).betas({0.9, 0.99}));
  // clang-format off
double lr = stepsize::scale_lr(
    /*lr=*/0.1, /*base_batch=*/256, /*batch=*/8192,
    stepsize::BatchRule::linear());  // 3.2
stepsize::scale_lr(adamw, 256, 1024, stepsize::BatchRule::adam_sde());
double effective = stepsize::effective_lr(lr, /*momentum=*/0.9);  // 32
  // clang-format on
  EXPECT_DOUBLE_EQ(lr, 3.2);
  EXPECT_NEAR(effective, 32, 1e-12);
  const auto& options = static_cast<const torch::optim::AdamWOptions&>(
      adamw.param_groups()[0].options());
  EXPECT_DOUBLE_EQ(options.lr(), 2e-3);
  EXPECT_NEAR(std::get<0>(options.betas()), 0.6, 1e-12);
}

TEST_F(TuningPage, TheNoiseScaleAdvises) {
  torch::optim::SGD optimizer(model->parameters(), 0.01);
  const int64_t updates = 20;
  testing::internal::CaptureStdout();
  // clang-format off
stepsize::GradientNoiseScale noise(optimizer, /*micro_batch=*/32);
for (int64_t update = 0; update < updates; ++update) {
  optimizer.zero_grad();
  noise.begin_update();
  for (int64_t part = 0; part < 4; ++part) {
    (next_loss() / 4).backward();
    noise.add_micro_batch();
  }
  noise.finish_update(/*factor=*/0.25);
  optimizer.step();
}
std::cout << noise.total().advice(/*batch=*/128) << '\n';
  // clang-format on
  EXPECT_NE(
      testing::internal::GetCapturedStdout().find("twice the batch"),
      std::string::npos);
  EXPECT_EQ(noise.total().updates, updates);
}

TEST_F(TuningPage, TheBatchGrowsToItsCap) {
  torch::optim::SGD optimizer(model->parameters(), 0.01);
  const Schedule curve = warmup(500).then(cosine(9500));
  std::vector<int64_t> seen;
  int64_t examples = 0;
  // The optimizer's rate over the batch is that of the schedule, where it
  // stands after so many examples.
  const auto train = [&](int64_t micro_batch, int64_t accumulation) {
    seen.push_back(micro_batch * accumulation);
    EXPECT_EQ(micro_batch % 128, 0);
    const double rate = optimizer.param_groups()[0].options().get_lr();
    EXPECT_NEAR(
        rate / static_cast<double>(seen.back()),
        0.01 / 128 * curve(static_cast<double>(examples) / 128),
        1e-18)
        << "update " << seen.size();
    examples += seen.back();
  };
  // clang-format off
stepsize::BatchSizeSchedule batches(
    stepsize::warmup(500).then(stepsize::cosine(9500)),
    stepsize::BatchSizeScheduleOptions(/*base_batch=*/128, /*max_batch=*/4096)
        .max_micro_batch(512)
        .multiple_of(128));
stepsize::ScheduleLR scheduler(optimizer, batches.lr_schedule());
for (int64_t n = 0; n < batches.updates(); ++n) {
  const stepsize::BatchPlan plan = batches.at_update(n);
  train(plan.micro_batch, plan.accumulation);
  scheduler.step();
}
  // clang-format on
  EXPECT_EQ(seen.front(), 128);
  EXPECT_EQ(seen.back(), 4096);
  EXPECT_LT(seen.size(), 10000U);
  EXPECT_GE(examples, 128 * 10000);
}

TEST_F(TuningPage, StoppingPutsTheBestWeightsBack) {
  const int64_t epochs = 50;
  int64_t trained = 0;
  const auto train_epoch = [&] {
    const torch::NoGradGuard no_grad;
    model->bias.fill_(static_cast<double>(++trained));
  };
  // Best in the third epoch.
  const auto validation_loss = [&] {
    return 1 + std::abs(static_cast<double>(trained) - 3);
  };
  // clang-format off
stepsize::EarlyStopping stopping(
    *model, stepsize::EarlyStoppingOptions().patience(5).min_delta(1e-3));
for (int64_t epoch = 0; epoch < epochs; ++epoch) {
  train_epoch();
  if (stopping.step(validation_loss())) break;
}
stopping.restore_best();
  // clang-format on
  EXPECT_EQ(trained, 3 + 5 + 1);
  EXPECT_EQ(model->bias[0].item<double>(), 3);
}

}  // namespace
}  // namespace stepsize
