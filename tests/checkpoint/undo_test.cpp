#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/optim/clipped_sgd.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/sgd.h>
#include <torch/serialize/archive.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/checkpoint/temporary_folder.h"
#include "tests/checkpoint/training_run.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"

namespace stepsize {
namespace {

using test::message_of;
using testing::HasSubstr;

// Fails to load, after all else has been loaded.
struct Unwilling {
  void save(torch::serialize::OutputArchive& archive) const {
    archive.write("value", c10::IValue(int64_t{1}));
  }
  void load(torch::serialize::InputArchive& /*archive*/) {
    // When it is put back it does what it is asked.
    if (++loads == 1) throw std::runtime_error("unwilling");
  }
  int loads = 0;
};

TEST(CheckpointUndo, PutsEveryOptimizerAndSchedulerBackBitForBit) {
  const test::TemporaryFolder folder;
  for (const test::TrainingRow& row : test::training_rows()) {
    SCOPED_TRACE(row.optimizer + ", " + row.companion);
    const std::string path = folder.file("run.ckpt");
    test::TrainingRun source(row);
    source.train(5);
    Unwilling unwilling;
    save_checkpoint(path, source.checkpoint().state("unwilling", unwilling));

    test::TrainingRun untouched(row);
    untouched.train(3);
    const std::string before = untouched.state();
    untouched.train(3);
    const std::string after = untouched.state();

    test::TrainingRun run(row);
    run.train(3);
    Checkpoint checkpoint = run.checkpoint();
    checkpoint.state("unwilling", unwilling);
    ASSERT_THAT(
        message_of([&] { load_checkpoint(path, checkpoint); }),
        HasSubstr(": state 'unwilling': unwilling"));
    EXPECT_TRUE(run.state() == before);
    run.train(3);
    EXPECT_TRUE(run.state() == after);
  }
}

// A run that has diverged is what a checkpoint is for.
TEST(CheckpointUndo, LoadsOverARateThatIsNoNumber) {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("run.ckpt");
  auto weight = test::leaf({1, 2});
  ClippedSGD optimizer({weight}, ClippedSGDOptions(0.1).momentum(0.9));
  Unwilling unwilling;
  Checkpoint checkpoint;
  checkpoint.optimizer("sgd", optimizer).state("unwilling", unwilling);
  save_checkpoint(path, checkpoint);
  auto& options = optimizer.param_groups()[0].options();
  options.set_lr(std::nan(""));
  EXPECT_THAT(
      message_of([&] { load_checkpoint(path, checkpoint); }),
      testing::EndsWith("state 'unwilling': unwilling"));
  EXPECT_TRUE(std::isnan(options.get_lr()));
  load_checkpoint(path, checkpoint);
  EXPECT_EQ(options.get_lr(), 0.1);
  // Such a state could not be loaded again.
  options.set_lr(std::nan(""));
  EXPECT_THAT(
      message_of([&] { save_checkpoint(path, checkpoint); }),
      HasSubstr("optimizer 'sgd': ClippedSGD: lr must be"));
}

// A class of somebody's own, derived from one of LibTorch's.
struct CountingSGD : torch::optim::SGD {
  using SGD::SGD;
  torch::Tensor step(LossClosure closure = nullptr) override {
    ++count;
    return SGD::step(std::move(closure));
  }
  void save(torch::serialize::OutputArchive& archive) const override {
    SGD::save(archive);
    archive.write("count", c10::IValue(count));
  }
  void load(torch::serialize::InputArchive& archive) override {
    SGD::load(archive);
    c10::IValue value;
    archive.read("count", value);
    count = value.toInt();
  }
  int64_t count = 0;
};

TEST(CheckpointUndo, CarriesForeignOptimizersThroughTheirOwnSave) {
  const test::TemporaryFolder folder;
  const auto options = torch::optim::SGDOptions(0.1).momentum(0.9);
  const auto train = [](torch::Tensor& weight, CountingSGD& optimizer) {
    for (int i = 0; i < 3; ++i) {
      optimizer.zero_grad();
      weight.square().sum().backward();
      optimizer.step();
    }
  };
  auto weight = test::leaf({1, 2});
  CountingSGD whole({weight}, options);
  train(weight, whole);
  whole.param_groups()[0].options().set_lr(0.05);
  Checkpoint saved;
  saved.optimizer("sgd", whole).tensor("weight", weight);
  save_checkpoint(folder.file("run.ckpt"), saved);
  train(weight, whole);

  auto other = test::leaf({5, 6});
  CountingSGD resumed({other}, options);
  train(other, resumed);
  torch::Tensor values;
  Checkpoint loaded;
  loaded.optimizer("sgd", resumed).tensor("weight", values);
  load_checkpoint(folder.file("run.ckpt"), loaded);
  other.set_data(values);
  EXPECT_EQ(resumed.count, 3);
  EXPECT_EQ(resumed.param_groups()[0].options().get_lr(), 0.05);
  train(other, resumed);
  EXPECT_TRUE(torch::equal(other, weight));
}

struct OwnLBFGS : torch::optim::LBFGS {
  using LBFGS::LBFGS;
};

TEST(CheckpointUndo, RefusesAClassDerivedFromLBFGS) {
  OwnLBFGS optimizer(std::vector<torch::Tensor>{test::leaf({1})});
  Checkpoint checkpoint;
  checkpoint.optimizer("own", optimizer);
  const test::TemporaryFolder folder;
  EXPECT_THAT(
      message_of([&] { save_checkpoint(folder.file("x"), checkpoint); }),
      HasSubstr(
          "save_checkpoint: optimizer 'own': cannot put back the state of"));
  EXPECT_EQ(folder.count(), 0);
}

}  // namespace
}  // namespace stepsize
