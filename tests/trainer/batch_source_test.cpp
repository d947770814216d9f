#include "examples/trainer/data/batch_source.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <set>
#include <sstream>
#include <vector>

namespace stepsize::trainer {
namespace {

// Image i is 1x1 and has i for its pixel and its label.
ImageSet numbered(std::int64_t count) {
  const auto numbers = torch::arange(count);
  return {numbers.to(torch::kUInt8).view({-1, 1, 1, 1}), numbers};
}

BatchSource make_source(
    const ImageSet& set, const BatchSourceOptions& options) {
  return {set, {{1}, {0}}, options, torch::kCPU};
}

torch::Tensor labels_of_epoch(BatchSource& source) {
  std::vector<torch::Tensor> labels;
  source.start_epoch();
  while (const auto batch = source.next()) {
    labels.push_back(batch->labels);
  }
  return torch::cat(labels);
}

TEST(BatchSource, ServesTheSetInOrderWithARestAtTheEnd) {
  BatchSourceOptions options;
  options.batch_size = 4;
  auto source = make_source(numbered(10), options);
  EXPECT_EQ(source.batches(), 3);
  source.start_epoch();
  for (const std::int64_t size : {4, 4, 2}) {
    const auto batch = source.next();
    ASSERT_TRUE(batch);
    EXPECT_EQ(batch->images.sizes(), torch::IntArrayRef({size, 1, 1, 1}));
  }
  EXPECT_FALSE(source.next());
  EXPECT_TRUE(torch::equal(labels_of_epoch(source), torch::arange(10)));
}

TEST(BatchSource, ShufflesEachEpochAnewAndLosesNone) {
  BatchSourceOptions options;
  options.batch_size = 7;
  options.shuffle = true;
  auto source = make_source(numbered(100), options);
  const auto first = labels_of_epoch(source);
  const auto second = labels_of_epoch(source);
  EXPECT_FALSE(torch::equal(first, second));
  EXPECT_TRUE(torch::equal(std::get<0>(first.sort()), torch::arange(100)));
  EXPECT_TRUE(torch::equal(std::get<0>(second.sort()), torch::arange(100)));
}

TEST(BatchSource, KeepsImagesAndLabelsTogether) {
  BatchSourceOptions options;
  options.shuffle = true;
  auto source = make_source(numbered(100), options);
  source.start_epoch();
  const auto batch = source.next();
  EXPECT_TRUE(
      torch::equal(batch->images.flatten(), batch->labels.to(torch::kFloat32)));
}

TEST(BatchSource, RepeatsItselfForASeed) {
  BatchSourceOptions options;
  options.shuffle = true;
  auto a = make_source(numbered(100), options);
  auto b = make_source(numbered(100), options);
  options.seed = 1;
  auto other = make_source(numbered(100), options);
  const auto order = labels_of_epoch(a);
  EXPECT_TRUE(torch::equal(order, labels_of_epoch(b)));
  EXPECT_FALSE(torch::equal(order, labels_of_epoch(other)));
}

TEST(BatchSource, MovesByEveryOffsetUpToThePadding) {
  ImageSet set{
      torch::zeros({500, 1, 5, 5}, torch::kUInt8),
      torch::zeros({500}, torch::kInt64)};
  set.images.select(2, 2).select(2, 2).fill_(1);
  BatchSourceOptions options;
  options.batch_size = 500;
  options.padding = 1;
  auto source = make_source(set, options);
  source.start_epoch();
  const auto spots = source.next()->images.flatten(1).argmax(1);
  std::set<std::int64_t> seen;
  for (std::int64_t i = 0; i < spots.size(0); ++i) {
    seen.insert(spots[i].item<std::int64_t>());
  }
  EXPECT_EQ(seen, (std::set<std::int64_t>{6, 7, 8, 11, 12, 13, 16, 17, 18}));
}

TEST(BatchSource, FlipsAboutHalfOfTheImages) {
  ImageSet set{
      torch::zeros({1000, 1, 1, 2}, torch::kUInt8),
      torch::zeros({1000}, torch::kInt64)};
  set.images.select(3, 0).fill_(1);
  BatchSourceOptions options;
  options.batch_size = 1000;
  options.flip = true;
  auto source = make_source(set, options);
  source.start_epoch();
  const auto flipped = source.next()->images.select(3, 1).sum().item<double>();
  // Six standard deviations of a fair coin thrown 1000 times are 95.
  EXPECT_NEAR(flipped, 500, 95);
}

// All that is left of this epoch, and all of the next one.
torch::Tensor what_follows(BatchSource& source) {
  std::vector<torch::Tensor> pixels{torch::empty({0, 1, 1, 1})};
  for (int epoch = 0; epoch < 2; ++epoch) {
    while (const auto batch = source.next()) {
      pixels.push_back(batch->images);
    }
    source.start_epoch();
  }
  return torch::cat(pixels);
}

TEST(BatchSource, GoesOnFromAnyPlaceWithTheSameBatches) {
  BatchSourceOptions options;
  options.batch_size = 4;
  options.shuffle = true;
  options.flip = true;
  options.padding = 1;
  options.seed = 3;
  // Before the first epoch, at the start of the second, in its midst, at its
  // end.
  for (const int batches : {-1, 0, 1, 3}) {
    auto source = make_source(numbered(10), options);
    if (batches >= 0) {
      labels_of_epoch(source);
      source.start_epoch();
    }
    for (int i = 0; i < batches; ++i) {
      source.next();
    }
    std::stringstream bytes;
    torch::serialize::OutputArchive out;
    source.save(out);
    out.save_to(bytes);
    torch::serialize::InputArchive in;
    in.load_from(bytes);
    auto other = make_source(numbered(10), options);
    labels_of_epoch(other);
    other.load(in);
    EXPECT_TRUE(torch::equal(what_follows(other), what_follows(source)))
        << batches;
  }
}

TEST(BatchSource, RefusesAPlaceThatItDoesNotHave) {
  auto source = make_source(numbered(10), {});
  torch::serialize::OutputArchive out;
  source.start_epoch();
  source.next();
  source.save(out);
  std::stringstream bytes;
  out.save_to(bytes);
  torch::serialize::InputArchive in;
  in.load_from(bytes);
  // The place is that after ten images.
  BatchSourceOptions options;
  options.batch_size = 4;
  auto other = make_source(numbered(12), options);
  EXPECT_THROW(other.load(in), c10::Error);
  EXPECT_FALSE(other.next());
}

TEST(BatchSource, RefusesWhatItCannotServe) {
  BatchSourceOptions options;
  EXPECT_THROW(make_source({}, options), c10::Error);
  EXPECT_THROW(
      make_source({numbered(3).images, numbered(2).labels}, options),
      c10::Error);
  options.batch_size = 0;
  EXPECT_THROW(make_source(numbered(3), options), c10::Error);
  options.batch_size = 1;
  options.padding = -1;
  EXPECT_THROW(make_source(numbered(3), options), c10::Error);
}

}  // namespace
}  // namespace stepsize::trainer
