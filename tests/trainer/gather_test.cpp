#include "examples/trainer/data/gather.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace stepsize::trainer {
namespace {

constexpr std::int64_t kCount = 6;
constexpr std::int64_t kChannels = 3;
constexpr std::int64_t kHeight = 5;
constexpr std::int64_t kWidth = 7;

torch::Tensor sample_images() {
  torch::manual_seed(1);
  return torch::randint(
      1, 256, {kCount, kChannels, kHeight, kWidth}, torch::kUInt8);
}

// Leaves every byte as it is, so that equality is exact.
Normalization none() { return {{1, 1, 1}, {0, 0, 0}}; }

// The definition, pixel by pixel: pad by more than any move, crop, mirror.
torch::Tensor pad_crop_flip(
    const torch::Tensor& image,
    std::int64_t down,
    std::int64_t right,
    bool flip) {
  constexpr std::int64_t kPadding = 9;
  auto padded =
      torch::zeros({kChannels, kHeight + 2 * kPadding, kWidth + 2 * kPadding});
  padded.slice(1, kPadding, kPadding + kHeight)
      .slice(2, kPadding, kPadding + kWidth)
      .copy_(image);
  auto out = torch::zeros({kChannels, kHeight, kWidth});
  for (std::int64_t c = 0; c < kChannels; ++c) {
    for (std::int64_t y = 0; y < kHeight; ++y) {
      for (std::int64_t x = 0; x < kWidth; ++x) {
        const std::int64_t to = flip ? kWidth - 1 - x : x;
        out[c][y][to] = padded[c][y + down + kPadding][x + right + kPadding];
      }
    }
  }
  return out;
}

using Gather = torch::Tensor (*)(
    const torch::Tensor&,
    const torch::Tensor&,
    const Moves&,
    const Normalization&);

torch::Tensor gather_by_operations(
    const torch::Tensor& images,
    const torch::Tensor& index,
    const Moves& moves,
    const Normalization& normalization) {
  return gather_images_on_device(
      images, index, moves, {normalization, images.device()});
}

class GatherTest : public testing::TestWithParam<Gather> {};

TEST_P(GatherTest, MovesLikePaddingCroppingAndMirroring) {
  const auto images = sample_images();
  // Both directions, both mirrorings, and moves out of the picture.
  const std::vector<std::int64_t> index{0, 5, 2, 2, 1, 3, 4, 0};
  const std::vector<std::int64_t> down{0, 2, -3, 1, -1, 4, 6, 0};
  const std::vector<std::int64_t> right{0, -3, 2, 5, -6, 1, 0, -8};
  const std::vector<bool> flip{
      false, false, false, true, true, true, false, true};
  auto flips = torch::zeros({8}, torch::kBool);
  for (std::int64_t i = 0; i < 8; ++i) {
    flips[i] = static_cast<bool>(flip[static_cast<std::size_t>(i)]);
  }
  const auto batch = GetParam()(
      images,
      torch::tensor(index),
      {torch::tensor(down), torch::tensor(right), flips},
      none());
  for (std::size_t i = 0; i < index.size(); ++i) {
    EXPECT_TRUE(torch::equal(
        batch[static_cast<std::int64_t>(i)],
        pad_crop_flip(images[index[i]], down[i], right[i], flip[i])))
        << "image " << i;
  }
}

TEST_P(GatherTest, FlipsWithoutMoving) {
  const auto images = sample_images();
  const auto batch = GetParam()(
      images,
      torch::tensor(std::vector<std::int64_t>{4}),
      {{}, {}, torch::ones({1}, torch::kBool)},
      none());
  EXPECT_TRUE(torch::equal(batch[0], images[4].flip({2}).to(torch::kFloat32)));
}

TEST_P(GatherTest, ScalesAndShiftsEachChannel) {
  const auto images = sample_images();
  const auto index = torch::tensor(std::vector<std::int64_t>{1, 0});
  const auto batch =
      GetParam()(images, index, {}, {{0.5F, 2, 0.25F}, {-1, 0, 3}});
  const auto wide = images.index_select(0, index).to(torch::kFloat32);
  // Powers of two: no rounding.
  EXPECT_TRUE(torch::equal(batch.select(1, 0), wide.select(1, 0) / 2 - 1));
  EXPECT_TRUE(torch::equal(batch.select(1, 1), wide.select(1, 1) * 2));
  EXPECT_TRUE(torch::equal(batch.select(1, 2), wide.select(1, 2) / 4 + 3));
}

TEST_P(GatherTest, LeavesTheMeanColourOutside) {
  const auto images = sample_images();
  const auto one = torch::ones({1}, torch::kInt64);
  const auto batch = GetParam()(
      images, one, {one * kHeight, one * 0, {}}, {{1, 1, 1}, {-9, -9, -9}});
  EXPECT_TRUE(torch::equal(batch, torch::zeros_like(batch)));
}

TEST_P(GatherTest, RefusesIllShapedArguments) {
  const auto images = sample_images();
  const auto index = torch::zeros({2}, torch::kInt64);
  const auto three = torch::zeros({3}, torch::kInt64);
  const Gather gather = GetParam();
  EXPECT_THROW(
      gather(images.to(torch::kFloat32), index, {}, none()), c10::Error);
  EXPECT_THROW(gather(images, index.to(torch::kInt32), {}, none()), c10::Error);
  EXPECT_THROW(gather(images, index, {}, {{1}, {0}}), c10::Error);
  EXPECT_THROW(gather(images, index, {three, three, {}}, none()), c10::Error);
  EXPECT_THROW(gather(images, index, {index, {}, {}}, none()), c10::Error);
}

INSTANTIATE_TEST_SUITE_P(
    Paths,
    GatherTest,
    testing::Values(&gather_images, &gather_by_operations),
    [](const testing::TestParamInfo<Gather>& path) {
      return path.index == 0 ? "Fused" : "ByIndex";
    });

TEST(GatherImages, RefusesIndexOutOfRange) {
  const auto images = sample_images();
  for (const std::int64_t bad : {std::int64_t{-1}, kCount}) {
    EXPECT_THROW(
        gather_images(images, torch::full({1}, bad, torch::kInt64), {}, none()),
        c10::Error);
  }
}

TEST(NormalizationOf, GivesMeanZeroAndVarianceOne) {
  const auto images = sample_images();
  const auto batch = gather_images(
      images, torch::arange(kCount), {}, normalization_of(images));
  const auto channels = batch.transpose(0, 1).flatten(1).to(torch::kFloat64);
  // Single precision of values of size 1.
  EXPECT_LT(channels.mean(1).abs().max().item<double>(), 1e-6);
  EXPECT_LT(
      (channels.var(1, /*unbiased=*/false) - 1).abs().max().item<double>(),
      1e-5);
}

TEST(NormalizationOf, CentresAChannelOfOneValue) {
  const auto images = torch::full({2, 1, 3, 3}, 7, torch::kUInt8);
  const auto normalization = normalization_of(images);
  EXPECT_EQ(normalization.scale[0], 1);
  EXPECT_EQ(normalization.shift[0], -7);
}

}  // namespace
}  // namespace stepsize::trainer
