// What LibTorch's own classes bring along: options, holders, devices, memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adam.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/sgd.h>
#include <torch/serialize.h>
#include <torch/serialize/archive.h>
#include <torch/types.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "csrc/core/archive.h"
#include "csrc/core/tensors.h"
#include "csrc/state/optimizer_state.h"
#include "tests/checkpoint/temporary_folder.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"

namespace stepsize {
namespace {

using test::message_of;
using testing::HasSubstr;

// Checkpoint::state() refuses these when it is compiled.
static_assert(detail::HoldsModule<torch::nn::Linear>::value);
static_assert(detail::HoldsModule<torch::nn::Sequential>::value);
static_assert(
    detail::HoldsModule<std::shared_ptr<torch::nn::LinearImpl>>::value);
static_assert(detail::HoldsModule<std::shared_ptr<torch::nn::Module>>::value);
static_assert(!detail::HoldsModule<torch::Tensor>::value);
static_assert(!detail::HoldsModule<torch::optim::Adam>::value);
static_assert(!detail::HoldsModule<std::vector<torch::Tensor>>::value);

// LibTorch's own way of saving fails here in all versions: its history holds
// tensors that are undefined until it is full. Where the first expectation
// turns red, LibTorch has mended that, and docs/checkpoint.md may say so.
TEST(
    CheckpointForeign, AnLBFGSWhoseHistoryIsNotFullGoesOnWhereTorchSaveThrows) {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("run.ckpt");
  const auto options = torch::optim::LBFGSOptions(0.1).max_iter(1);
  ASSERT_EQ(options.history_size(), 100);
  const torch::Tensor curvature = torch::tensor({1.0, 10.0, 3.0});
  auto weight = test::leaf({1, -2, 3});
  torch::optim::LBFGS optimizer(std::vector<torch::Tensor>{weight}, options);
  const auto step = [&](torch::optim::LBFGS& stepped, torch::Tensor& w) {
    stepped.step([&] {
      stepped.zero_grad();
      const torch::Tensor loss = (curvature * w * w * (1 + w * w)).sum();
      loss.backward();
      return loss;
    });
  };
  for (int i = 0; i < 5; ++i) step(optimizer, weight);
  std::ostringstream stream;
  EXPECT_THROW(torch::save(optimizer, stream), c10::Error);

  Checkpoint of_saved;
  of_saved.optimizer("lbfgs", optimizer).tensor("weight", weight);
  save_checkpoint(path, of_saved);
  auto other_weight = test::leaf({0, 0, 0});
  torch::optim::LBFGS other(std::vector<torch::Tensor>{other_weight}, options);
  torch::Tensor loaded;
  Checkpoint of_other;
  of_other.optimizer("lbfgs", other).tensor("weight", loaded);
  load_checkpoint(path, of_other);
  {
    const torch::NoGradGuard no_grad;
    other_weight.copy_(loaded);
  }
  for (int i = 0; i < 5; ++i) {
    step(optimizer, weight);
    step(other, other_weight);
    EXPECT_TRUE(torch::equal(weight, other_weight)) << i;
  }
}

TEST(CheckpointForeign, CarriesAllOptionsOfLBFGS) {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("run.ckpt");
  auto weight = test::leaf({1, 2});
  using torch::optim::LBFGSOptions;
  torch::optim::LBFGS saved(
      std::vector<torch::Tensor>{weight},
      LBFGSOptions(0.5)
          .max_iter(7)
          .max_eval(9)
          .tolerance_grad(1e-3)
          .tolerance_change(1e-4)
          .history_size(5)
          .line_search_fn("strong_wolfe"));
  torch::optim::LBFGS other(std::vector<torch::Tensor>{weight});
  Checkpoint of_saved;
  Checkpoint of_other;
  of_saved.optimizer("lbfgs", saved);
  of_other.optimizer("lbfgs", other);
  const auto options_of = [](torch::optim::LBFGS & optimizer) -> auto& {
    return static_cast<LBFGSOptions&>(optimizer.param_groups()[0].options());
  };
  // None of both, which the constructor does not leave.
  const LBFGSOptions plain = LBFGSOptions(1).max_iter(3);
  options_of(other) = plain;
  ASSERT_FALSE(options_of(other).max_eval());
  save_checkpoint(folder.file("plain.ckpt"), of_other);

  save_checkpoint(path, of_saved);
  load_checkpoint(path, of_other);
  EXPECT_TRUE(options_of(other) == options_of(saved));
  EXPECT_EQ(options_of(other).max_eval(), 9);
  EXPECT_EQ(options_of(other).line_search_fn(), "strong_wolfe");
  load_checkpoint(folder.file("plain.ckpt"), of_saved);
  EXPECT_TRUE(options_of(saved) == plain);
  EXPECT_FALSE(options_of(saved).max_eval());
  EXPECT_FALSE(options_of(saved).line_search_fn());
}

struct Masked : torch::nn::Module {
  explicit Masked(const torch::Tensor& mask) { register_buffer("mask", mask); }
};

TEST(CheckpointForeign, RefusesABufferThatCouldNotBeLoaded) {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("run.ckpt");
  const std::string why =
      "several of its elements are one place in memory (as expand() makes "
      "them), which a load cannot write; give the module a clone() of it";
  Masked expanded(torch::ones({1}).expand({4}));
  Checkpoint checkpoint;
  checkpoint.module("net", expanded);
  EXPECT_EQ(
      message_of([&] { save_checkpoint(path, checkpoint); }),
      "save_checkpoint: module 'net': buffer 'mask': " + why);
  EXPECT_EQ(folder.count(), 0);
  Masked whole(torch::zeros({4}));
  Checkpoint sound;
  save_checkpoint(path, sound.module("net", whole));
  EXPECT_EQ(
      message_of([&] { load_checkpoint(path, checkpoint); }),
      "load_checkpoint: " + path +
          ": the file does not fit:\n  module 'net': buffer 'mask': " + why);
  // A view with gaps is no trouble.
  auto memory = torch::zeros({4, 2});
  Masked spaced(memory.select(1, 0));
  save_checkpoint(path, Checkpoint().module("net", spaced));
  memory.fill_(3);
  Checkpoint gaps;
  load_checkpoint(path, gaps.module("net", spaced));
  EXPECT_TRUE(torch::equal(
      memory, torch::tensor({0.0F, 3.0F}).expand({4, 2}).contiguous()));
}

TEST(CheckpointForeign, ReadsTensorsOfADeviceThatIsNotHere) {
  const auto values = torch::tensor({1.5, -2.0, 3.25});
  std::string bytes =
      detail::archive_bytes([&](torch::serialize::OutputArchive& archive) {
        archive.write("values", values);
      });
  // The name of the device, of as many letters as that of another.
  const std::string name("X\x03\0\0\0cpu", 8);
  const auto at = bytes.find(name);
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at + 5, 3, "xla");
  ASSERT_EQ(bytes.find(name), std::string::npos);
  torch::Tensor read;
  detail::load_bytes(
      bytes.data(), bytes.size(), [&](torch::serialize::InputArchive& archive) {
        archive.read("values", read);
      });
  EXPECT_TRUE(read.is_cpu());
  EXPECT_TRUE(torch::equal(read, values));
}

// Counts whose sum, taken by modulo 2^64, is that of the tensors.
TEST(CheckpointForeign, RefusesCountsThatAreNotThoseOfTheClass) {
  const std::vector<torch::Tensor> weights = {
      test::leaf({1}), test::leaf({2}), test::leaf({3})};
  torch::optim::SGD sgd(weights, torch::optim::SGDOptions(0.1).momentum(0.9));
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const auto message = [&](const std::vector<int64_t>& counts,
                           int64_t tensors) {
    torch::serialize::OutputArchive written;
    detail::write_ints(written, "group0_there", {1, 1, 1});
    detail::write_ints(written, "group0_steps", {0, 0, 0});
    detail::write_ints(written, "group0_counts", counts);
    detail::write_tensors(
        written,
        "group0_tensors",
        std::vector<torch::Tensor>(
            static_cast<std::size_t>(tensors), torch::ones({1})));
    std::string bytes;
    written.save_to([&bytes](const void* data, std::size_t size) {
      bytes.append(static_cast<const char*>(data), size);
      return size;
    });
    torch::serialize::InputArchive archive;
    archive.load_from(bytes.data(), bytes.size());
    std::vector<std::string> mismatches;
    const auto state = detail::optimizer_state("optimizer 'sgd'", sgd);
    return message_of([&] { state->prepare(archive, mismatches); });
  };
  EXPECT_EQ(message({1, 1, 1}, 3), "nothing was thrown");
  const std::string refused =
      "optimizer 'sgd': the lists of group0 in the archive are of other "
      "lengths than its parameters and their states";
  EXPECT_EQ(message({kMost, kMost, 3}, 1), refused);
  EXPECT_EQ(message({kMost, kMost, 5}, 3), refused);
  EXPECT_EQ(message({3, 0, 0}, 3), refused);
  EXPECT_EQ(message({2, 2, -1}, 3), refused);
  EXPECT_EQ(message({1, 1, 1}, 4), refused);
}

}  // namespace
}  // namespace stepsize
