// The default generators, those of CUDA devices too.

#include "csrc/checkpoint/random_items.h"

#include <ATen/Context.h>
#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/serialize.h>
#include <torch/types.h>

#include <sstream>
#include <string>
#include <vector>

#include "csrc/core/archive.h"
#include "csrc/core/tensors.h"

namespace stepsize {
namespace {

using detail::RandomStates;

// The archive of these states.
torch::serialize::InputArchive archive_of(const RandomStates& states) {
  torch::serialize::OutputArchive written;
  detail::write_tensors(written, "cpu", {states.cpu});
  detail::write_tensors(written, "cuda", states.cuda);
  std::stringstream stream;
  written.save_to(stream);
  torch::serialize::InputArchive archive;
  archive.load_from(stream);
  return archive;
}

// Loads them, or changes nothing and returns why they do not fit.
std::string load(const RandomStates& states) {
  auto archive = archive_of(states);
  detail::Mismatches mismatches;
  const detail::Change change =
      detail::prepare_random_states(archive, mismatches);
  if (mismatches.empty()) change.apply();
  return mismatches.text();
}

torch::Tensor bytes(int64_t count) {
  return torch::zeros({count}, torch::kUInt8);
}

torch::Tensor cpu_draw() { return torch::rand({4}); }

TEST(RandomState, ComesBackOnTheCpu) {
  torch::manual_seed(3);
  const RandomStates states = detail::present_random_states();
  const auto expected = cpu_draw();
  EXPECT_EQ(load(states), "");
  EXPECT_TRUE(torch::equal(cpu_draw(), expected));
}

TEST(RandomState, PassesOverCudaDevicesThatAreNotThere) {
  torch::manual_seed(4);
  RandomStates states = detail::present_random_states();
  const std::size_t here = states.cuda.size();
  // Of no length that any generator has: nothing may look at them.
  states.cuda.push_back(bytes(16));
  states.cuda.push_back(bytes(1));
  const auto expected = cpu_draw();
  EXPECT_EQ(load(states), "");
  EXPECT_TRUE(torch::equal(cpu_draw(), expected));
  EXPECT_EQ(detail::present_random_states().cuda.size(), here);
}

TEST(RandomState, RefusesAStateOfAnotherLengthOrType) {
  const RandomStates states = detail::present_random_states();
  const std::string refusal =
      "\n  the random state: that of the CPU is of another length";
  const auto before = detail::present_random_states().cpu;
  EXPECT_EQ(load({bytes(before.numel() - 1), states.cuda}), refusal);
  EXPECT_EQ(load({bytes(before.numel() + 8), states.cuda}), refusal);
  EXPECT_EQ(load({before.to(torch::kInt64), states.cuda}), refusal);
  EXPECT_TRUE(torch::equal(detail::present_random_states().cpu, before));
}

TEST(RandomState, ComesBackOnEachCudaDevice) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "there is no CUDA device";
  torch::manual_seed(5);
  const RandomStates states = detail::present_random_states();
  ASSERT_EQ(states.cuda.size(), torch::cuda::device_count());
  const auto draw = [](std::size_t device) {
    const torch::Device place(
        torch::kCUDA, static_cast<c10::DeviceIndex>(device));
    return torch::rand({4}, place).cpu();
  };
  std::vector<torch::Tensor> expected;
  for (std::size_t i = 0; i < states.cuda.size(); ++i) {
    expected.push_back(draw(i));
  }
  EXPECT_EQ(load(states), "");
  for (std::size_t i = 0; i < states.cuda.size(); ++i) {
    EXPECT_TRUE(torch::equal(draw(i), expected[i])) << i;
  }
}

TEST(RandomState, RefusesACudaStateOfAnotherLengthOrType) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "there is no CUDA device";
  const RandomStates states = detail::present_random_states();
  const auto& first = states.cuda.at(0);
  const std::string refusal =
      "\n  the random state: that of CUDA device 0 is of another length";
  EXPECT_EQ(load({states.cpu, {bytes(first.numel() + 1)}}), refusal);
  EXPECT_EQ(load({states.cpu, {first.to(torch::kInt64)}}), refusal);
  EXPECT_EQ(load({states.cpu, {torch::Tensor()}}), refusal);
}

}  // namespace
}  // namespace stepsize
