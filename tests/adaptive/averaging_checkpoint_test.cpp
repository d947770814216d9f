// A run that averages goes on from a checkpoint as if it had never ended.

#include <gtest/gtest.h>
#include <stepsize/adaptive/averaged_model.h>
#include <stepsize/adaptive/schedule_free_adamw.h>
#include <stepsize/adaptive/snapshot_ensemble.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <torch/torch.h>

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <string>

#include "tests/checkpoint/temporary_folder.h"

namespace stepsize::test {
namespace {

class AveragingRun {
 public:
  // Without a folder the snapshots lie in memory.
  explicit AveragingRun(const std::string& folder = "")
      : optimizer(
            net->parameters(), ScheduleFreeAdamWOptions(0.02).warmup_steps(10)),
        averaged(net, AveragedModelOptions().mode(AveragingMode::kTail)),
        ensemble(net, SnapshotEnsembleOptions().folder(folder)) {
    const torch::NoGradGuard no_grad;
    for (auto& parameter : net->parameters()) parameter.fill_(0.5);
  }

  void step(int count) {
    for (int i = 0; i < count; ++i) {
      optimizer.train();
      ++updates;
      optimizer.step([&] {
        optimizer.zero_grad();
        const auto inputs =
            torch::sin(torch::arange(12, torch::kFloat32) + updates)
                .view({4, 3});
        const auto loss = (net->forward(inputs) - 1).square().mean();
        loss.backward();
        return loss;
      });
      averaged.update();
      ensemble.step(1 + std::cos(updates));
    }
  }

  Checkpoint checkpoint() {
    Checkpoint all;
    all.module("net", net)
        .optimizer("optimizer", optimizer)
        .state("averaged", averaged)
        .state("ensemble", ensemble)
        .counter("updates", updates);
    return all;
  }

  torch::nn::Linear net{3, 2};
  ScheduleFreeAdamW optimizer;
  AveragedModel averaged;
  SnapshotEnsemble ensemble;
  int updates = 0;
};

TEST(AveragingCheckpoint, GoesOnBitForBitInEitherMode) {
  for (const bool in_training : {true, false}) {
    const TemporaryFolder folder;
    const std::string path = folder.path() + "/run.ckpt";
    AveragingRun run;
    run.step(25);
    if (!in_training) run.optimizer.eval();
    save_checkpoint(path, run.checkpoint());
    AveragingRun resumed;
    resumed.step(3);
    auto checkpoint = resumed.checkpoint();
    load_checkpoint(path, checkpoint);
    EXPECT_EQ(resumed.optimizer.is_training(), in_training);
    EXPECT_TRUE(torch::equal(resumed.net->weight, run.net->weight));
    run.step(25);
    resumed.step(25);
    run.optimizer.eval();
    resumed.optimizer.eval();
    EXPECT_TRUE(torch::equal(resumed.net->weight, run.net->weight));
    EXPECT_TRUE(torch::equal(
        resumed.averaged.averages()[0], run.averaged.averages()[0]));
    EXPECT_EQ(resumed.averaged.covered(), run.averaged.covered());
    EXPECT_EQ(resumed.ensemble.added(), run.ensemble.added());
    EXPECT_GT(run.ensemble.added(), 5);
    const SnapshotWeights one(run.ensemble, 4);
    const SnapshotWeights other(resumed.ensemble, 4);
    EXPECT_TRUE(torch::equal(resumed.net->weight, run.net->weight));
  }
}

// The files go along in another folder.
TEST(AveragingCheckpoint, SnapshotsInFilesGoOnWithTheRun) {
  const TemporaryFolder folder;
  const std::string path = folder.file("run.ckpt");
  AveragingRun run(folder.file("snapshots"));
  run.step(45);
  EXPECT_EQ(run.ensemble.size(), 5U);
  save_checkpoint(path, run.checkpoint());
  AveragingRun resumed(folder.file("moved"));
  resumed.step(8);
  std::filesystem::copy(
      folder.file("snapshots"),
      folder.file("moved"),
      std::filesystem::copy_options::recursive |
          std::filesystem::copy_options::overwrite_existing);
  auto checkpoint = resumed.checkpoint();
  load_checkpoint(path, checkpoint);
  run.step(15);
  resumed.step(15);
  EXPECT_EQ(resumed.ensemble.added(), run.ensemble.added());
  const auto forward = [](AveragingRun& of) {
    return of.ensemble.mean_output([&] {
      return of.net->forward(torch::ones({1, 3}));
    });
  };
  EXPECT_TRUE(torch::equal(forward(resumed), forward(run)));
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(
        read_bytes(resumed.ensemble.path(i)), read_bytes(run.ensemble.path(i)));
  }
  // One that is missing: all of the load is refused.
  std::filesystem::remove(resumed.ensemble.path(4));
  save_checkpoint(path, run.checkpoint());
  const auto before = resumed.net->weight.detach().clone();
  EXPECT_THROW(load_checkpoint(path, checkpoint), c10::Error);
  EXPECT_TRUE(torch::equal(resumed.net->weight, before));
}

}  // namespace
}  // namespace stepsize::test
