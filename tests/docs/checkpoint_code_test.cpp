// The code of docs/checkpoint.md, word for word: scripts/check_docs.py looks
// for it.

#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/checkpoint/checkpoint_folder.h>
#include <stepsize/checkpoint/checkpoint_info.h>
#include <stepsize/checkpoint/safetensors.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <string>

namespace stepsize {
namespace {

// A run in a folder of its own, which is the current one.
class CheckpointPage : public testing::Test {
 protected:
  CheckpointPage() : before(std::filesystem::current_path()) {
    const auto folder =
        std::filesystem::path(testing::TempDir()) / "stepsize_checkpoint_page";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directory(folder);
    std::filesystem::current_path(folder);
    testing::internal::CaptureStdout();
  }
  ~CheckpointPage() override {
    const auto folder = std::filesystem::current_path();
    std::filesystem::current_path(before);
    std::filesystem::remove_all(folder);
  }

  std::filesystem::path before;
};

TEST_F(CheckpointPage, ARunGoesOn) {
  torch::manual_seed(1);
  torch::nn::Linear model(3, 1);
  torch::optim::SGD optimizer(
      model->parameters(), torch::optim::SGDOptions(0.01).momentum(0.9));
  StepLR scheduler(optimizer, StepLROptions(30));
  int64_t step = 0;
  const auto next_loss = [&] {
    return model->forward(torch::ones({4, 3})).square().mean();
  };
  // clang-format off
stepsize::Checkpoint checkpoint;
checkpoint.module("model", *model)
    .optimizer("optimizer", optimizer)
    .state("scheduler", scheduler)
    .counter("step", step);

stepsize::CheckpointFolder folder("checkpoints");
folder.load_latest(checkpoint);  // goes on, or starts anew
while (step < 100) {
  optimizer.zero_grad();
  auto loss = next_loss();
  loss.backward();
  optimizer.step();
  scheduler.step();
  if (++step % 10 == 0) folder.save(step, checkpoint, loss.item<double>());
}
  // clang-format on
  EXPECT_EQ(folder.paths().size(), 3U);
  step = 0;
  EXPECT_EQ(folder.load_latest(checkpoint).step, 100);
  EXPECT_EQ(step, 100);

  // clang-format off
stepsize::save_checkpoint("run.ckpt", checkpoint);
stepsize::load_checkpoint("run.ckpt", checkpoint);

auto info = stepsize::read_checkpoint_info("run.ckpt");
std::cout << "step " << info.counters.at("step") << ", written by LibTorch "
          << info.torch_version << '\n';

stepsize::CheckpointFolder best_folder(
    "accurate", stepsize::CheckpointFolderOptions().keep_last(3).mode(
                    stepsize::MetricMode::kMax));
best_folder.save(step, checkpoint, /*metric=*/0.93);
for (const auto& failure : best_folder.load_latest(checkpoint).passed_over) {
  std::cerr << "damaged: " << failure.reason << '\n';
}
  // clang-format on
  EXPECT_EQ(
      testing::internal::GetCapturedStdout(),
      "step 100, written by LibTorch " + info.torch_version + "\n");
  EXPECT_TRUE(best_folder.best());
}

TEST_F(CheckpointPage, APartOfAFileAndARateThatStays) {
  torch::manual_seed(1);
  torch::nn::Linear model(3, 1);
  torch::optim::SGD optimizer(
      model->parameters(), torch::optim::SGDOptions(0.01));
  StepLR scheduler(optimizer, StepLROptions(30));
  scheduler.step();
  Checkpoint checkpoint;
  checkpoint.module("model", *model)
      .optimizer("optimizer", optimizer)
      .state("scheduler", scheduler);
  save_checkpoint("run.ckpt", checkpoint);
  // clang-format off
stepsize::Checkpoint weights;
weights.module("model", *model);
auto result = stepsize::load_checkpoint(
    "run.ckpt", weights, stepsize::LoadOptions().only({"model"}));
std::cout << result;  // what was loaded, left out and not found, and why
  // clang-format on
  EXPECT_EQ(
      testing::internal::GetCapturedStdout(),
      "loaded     module 'model'\n"
      "left out   optimizer 'optimizer': as asked\n"
      "           state 'scheduler': as asked\n");
  testing::internal::CaptureStdout();
  scheduler.seek(40);
  // clang-format off
stepsize::load_checkpoint("run.ckpt", checkpoint);
// A rate that is set in the options is gone after the next scheduler.step().
optimizer.param_groups()[0].options().set_lr(0.05);
// This one stays: the schedule goes on from it.
scheduler.set_base_lrs(0.05);
  // clang-format on
  EXPECT_EQ(scheduler.last_epoch(), 1);
  scheduler.step();
  EXPECT_EQ(optimizer.param_groups()[0].options().get_lr(), 0.05);
  testing::internal::GetCapturedStdout();
}

TEST_F(CheckpointPage, WeightsGoToPythonAndBack) {
  torch::nn::Linear model(3, 1);
  // clang-format off
stepsize::save_safetensors("model.safetensors", *model);
auto loaded = stepsize::load_safetensors("model.safetensors", *model);
std::cout << loaded;  // what was loaded, left out and not found

const auto names = stepsize::SafetensorsOptions()
                       .rename("bert.embeddings.word_embeddings", "embedding")
                       .rename("classifier", "head")  // and all that is in it
                       .rename("module", "");         // a wrapper's name
stepsize::load_safetensors("model.safetensors", *model, names);
stepsize::save_safetensors("again.safetensors", *model, names);

auto tensors = stepsize::load_safetensors("model.safetensors");
tensors["head.scale"] = torch::ones({10});
stepsize::save_safetensors("more.safetensors", tensors, {{"made by", "hand"}});
auto header = stepsize::read_safetensors_info("more.safetensors");
std::cout << header.tensors.front().dtype << ", " << header.metadata.size();
  // clang-format on
  EXPECT_EQ(
      testing::internal::GetCapturedStdout(), "loaded     the module\nF32, 1");
  const auto again = stepsize::load_safetensors("again.safetensors");
  EXPECT_EQ(again.count("module.weight"), 1U);
  EXPECT_EQ(header.tensors.size(), 3U);
}

}  // namespace
}  // namespace stepsize
