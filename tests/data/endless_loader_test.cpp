#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/data/endless_loader.h>
#include <stepsize/data/resumable_sampler.h>
#include <torch/torch.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/data/numbered_dataset.h"
#include "tests/support/archive_bytes.h"
#include "tests/support/error_text.h"

namespace stepsize {
namespace {

using test::Batches;
using test::CountingStream;
using test::NumberedDataset;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Batch = std::vector<int64_t>;
using torch::data::DataLoaderOptions;
using torch::data::make_data_loader;

// With workers, LibTorch has two batches for each under way.
class EndlessLoaderTest : public testing::TestWithParam<int> {
 protected:
  DataLoaderOptions batches_of(std::size_t size) const {
    return DataLoaderOptions(size).workers(GetParam());
  }
};

INSTANTIATE_TEST_SUITE_P(Workers, EndlessLoaderTest, testing::Values(0, 2));

ResumableSampler in_order(int64_t size) {
  return ResumableSampler(ResumableSamplerOptions(size).shuffle(false));
}

TEST_P(EndlessLoaderTest, GoesFromEpochToEpoch) {
  auto loader = make_data_loader<torch::data::samplers::SequentialSampler>(
      NumberedDataset(5), batches_of(2));
  EndlessLoader batches(*loader);
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    EXPECT_THAT(batches.next(), ElementsAre(0, 1));
    EXPECT_EQ(batches.epoch(), epoch);
    EXPECT_EQ(batches.batches(), 1);
    EXPECT_THAT(batches.next(), ElementsAre(2, 3));
    EXPECT_THAT(batches.next(), ElementsAre(4));
    EXPECT_EQ(batches.epoch(), epoch);
    EXPECT_EQ(batches.batches(), 3);
  }
}

TEST_P(EndlessLoaderTest, GoesFromEpochToEpochWithASampler) {
  const auto sampler = in_order(5);
  EndlessLoader batches(
      make_data_loader(NumberedDataset(5), sampler, batches_of(2)), sampler);
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    EXPECT_THAT(batches.next(), ElementsAre(0, 1));
    EXPECT_EQ(sampler.place().epoch, epoch);
    EXPECT_EQ(sampler.place().examples, 2);
    EXPECT_THAT(batches.next(), ElementsAre(2, 3));
    EXPECT_THAT(batches.next(), ElementsAre(4));
    EXPECT_EQ(batches.epoch(), epoch);
    EXPECT_EQ(sampler.place().examples, 5);
  }
}

TEST(EndlessLoader, ServesADatasetWithAState) {
  for (const int workers : {0, 1}) {
    EndlessLoader batches(make_data_loader(
        CountingStream(5), DataLoaderOptions(2).workers(workers)));
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      EXPECT_THAT(batches.next(), ElementsAre(0, 1));
      EXPECT_THAT(batches.next(), ElementsAre(2, 3));
      EXPECT_EQ(batches.epoch(), epoch);
      EXPECT_THAT(batches.next(), ElementsAre(4));
    }
    batches.next();
    batches.start_epoch();
    EXPECT_EQ(batches.epoch(), 4);
    EXPECT_THAT(batches.next(), ElementsAre(0, 1));
  }
}

TEST_P(EndlessLoaderTest, TellsTheEndOfEachEpochOnce) {
  const auto sampler = in_order(5);
  EndlessLoader batches(
      make_data_loader(NumberedDataset(5), sampler, batches_of(2)), sampler);
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    EXPECT_EQ(batches.epoch(), epoch);
    int64_t count = 0;
    while (auto batch = batches.next_in_epoch()) {
      EXPECT_EQ(batch->front(), 2 * count);
      EXPECT_EQ(batches.epoch(), epoch);
      EXPECT_EQ(batches.batches(), ++count);
    }
    EXPECT_EQ(count, 3);
  }
}

TEST_P(EndlessLoaderTest, StartsAnEpochInTheMidstOfAnother) {
  ResumableSampler sampler(ResumableSamplerOptions(100).seed(4));
  EndlessLoader batches(
      make_data_loader(NumberedDataset(100), sampler, batches_of(5)), sampler);
  batches.start_epoch();  // none to give up
  batches.start_epoch();
  EXPECT_EQ(batches.epoch(), 0);
  for (int i = 0; i < 7; ++i) batches.next();
  batches.start_epoch();
  EXPECT_EQ(batches.epoch(), 1);
  EXPECT_EQ(batches.batches(), 0);
  ResumableSampler other(ResumableSamplerOptions(100).seed(4));
  other.set_place({1, 0, 0});
  EndlessLoader expected(
      make_data_loader(NumberedDataset(100), other, batches_of(5)), other);
  for (int i = 0; i < 30; ++i) EXPECT_EQ(batches.next(), expected.next()) << i;
}

TEST_P(EndlessLoaderTest, StartsAnEpochOfLibTorchsSamplers) {
  auto loader = make_data_loader<torch::data::samplers::SequentialSampler>(
      NumberedDataset(40), batches_of(2));
  EndlessLoader batches(*loader);
  for (int i = 0; i < 3; ++i) batches.next();
  batches.start_epoch();
  EXPECT_EQ(batches.epoch(), 1);
  EXPECT_THAT(batches.next(), ElementsAre(0, 1));
  // The last batch is there, and its epoch's end was not yet asked for.
  for (int i = 1; i < 20; ++i) batches.next();
  batches.start_epoch();
  EXPECT_EQ(batches.epoch(), 2);
  EXPECT_THAT(batches.next(), ElementsAre(0, 1));
}

TEST_P(EndlessLoaderTest, GoesWhereTheSamplerIsSet) {
  ResumableSampler sampler(ResumableSamplerOptions(20).seed(4));
  EndlessLoader batches(
      make_data_loader(NumberedDataset(20), sampler, batches_of(3)), sampler);
  const auto take = [&](int count) {
    Batches taken;
    for (int i = 0; i < count; ++i) taken.push_back(batches.next());
    return taken;
  };
  const SamplerPlace start = sampler.place();
  const Batches first = take(9);
  const SamplerPlace middle = sampler.place();
  EXPECT_EQ(middle.epoch, 1);
  const Batches second = take(9);
  sampler.set_place(middle);
  EXPECT_EQ(take(9), second);
  sampler.set_place(start);
  EXPECT_EQ(batches.epoch(), 0);
  EXPECT_EQ(take(9), first);
  EXPECT_EQ(take(9), second);
}

// Saved after each of 14 batches of two epochs.
TEST_P(EndlessLoaderTest, GoesOnFromEveryPlace) {
  const auto options = ResumableSamplerOptions(20).seed(8);
  for (int count = 0; count <= 14; ++count) {
    ResumableSampler sampler(options);
    EndlessLoader batches(
        make_data_loader(NumberedDataset(20), sampler, batches_of(3)), sampler);
    for (int i = 0; i < count; ++i) batches.next();
    ResumableSampler other(options);
    test::load(other, test::saved(sampler));
    EndlessLoader resumed(
        make_data_loader(NumberedDataset(20), other, batches_of(3)), other);
    EXPECT_EQ(resumed.epoch(), batches.epoch());
    EXPECT_EQ(resumed.batches(), batches.batches());
    // With the ends of the epochs.
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(resumed.next_in_epoch(), batches.next_in_epoch())
          << count << " + " << i;
    }
  }
}

TEST_P(EndlessLoaderTest, GoesOnWhereTheLastBatchIsLeftOut) {
  const auto options = ResumableSamplerOptions(20).seed(8);
  ResumableSampler sampler(options);
  EndlessLoader batches(
      make_data_loader(
          NumberedDataset(20), sampler, batches_of(6).drop_last(true)),
      sampler);
  for (int i = 0; i < 3; ++i) batches.next();
  EXPECT_EQ(sampler.place().examples, 18);
  ResumableSampler other(options);
  test::load(other, test::saved(sampler));
  EndlessLoader resumed(
      make_data_loader(
          NumberedDataset(20), other, batches_of(6).drop_last(true)),
      other);
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(resumed.next_in_epoch(), batches.next_in_epoch()) << i;
  }
  EXPECT_EQ(resumed.epoch(), 2);
}

TEST_P(EndlessLoaderTest, SaysThatALoaderIsEmpty) {
  const auto sampler = in_order(3);
  EndlessLoader batches(
      make_data_loader(
          NumberedDataset(3), sampler, batches_of(4).drop_last(true)),
      sampler);
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(
        test::message_of([&] { batches.next(); }),
        HasSubstr("epoch 0 of the loader has no batch"));
  }
  EXPECT_THROW(batches.next_in_epoch(), c10::Error);

  EndlessLoader none(make_data_loader<torch::data::samplers::RandomSampler>(
      NumberedDataset(0), batches_of(4)));
  EXPECT_THAT(
      test::message_of([&] { none.next(); }), HasSubstr("has no batch"));
}

TEST(EndlessLoader, RefusesASamplerThatIsNotTheLoaders) {
  const auto sampler = in_order(5);
  EndlessLoader batches(
      make_data_loader(NumberedDataset(5), in_order(5), 2), sampler);
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(
        test::message_of([&] { batches.next(); }),
        HasSubstr("does not use the sampler"));
  }
}

TEST(EndlessLoader, RefusesALoaderThatIsNull) {
  auto loader = make_data_loader(NumberedDataset(5), in_order(5), 2);
  loader.reset();
  EXPECT_EQ(
      test::message_of([&] { EndlessLoader batches(std::move(loader)); }),
      "EndlessLoader: the loader is null");
}

TEST(EndlessLoader, RefusesALoaderThatDoesNotKeepTheOrder) {
  const auto sampler = in_order(5);
  auto loader = make_data_loader(
      NumberedDataset(5),
      sampler,
      DataLoaderOptions(2).workers(2).enforce_ordering(false));
  EXPECT_THAT(
      test::message_of([&] { EndlessLoader(*loader, sampler); }),
      HasSubstr("enforce_ordering"));
}

// Each third batch throws: more of them than LibTorch has under way.
TEST_P(EndlessLoaderTest, PassesOverABatchThatThrows) {
  const auto options = ResumableSamplerOptions(90).shuffle(false);
  ResumableSampler sampler(options);
  EndlessLoader batches(
      make_data_loader(NumberedDataset(90, 9), sampler, batches_of(3)),
      sampler);
  Batch seen;
  int thrown = 0;
  while (batches.epoch() == 0) {
    try {
      const auto batch = batches.next();
      if (batches.epoch() > 0) break;
      seen.insert(seen.end(), batch.begin(), batch.end());
    } catch (const std::exception& error) {
      EXPECT_THAT(error.what(), HasSubstr("example"));
      if (batches.epoch() > 0) break;
      ++thrown;
      // Saved now, a run goes on after it.
      ResumableSampler other(options);
      test::load(other, test::saved(sampler));
      EXPECT_EQ(other.place().examples, sampler.place().examples);
    }
  }
  // Example 0 is a multiple of 9, too.
  EXPECT_EQ(thrown, 10);
  EXPECT_EQ(seen.size(), 60U);
  EXPECT_EQ(seen.front(), 3);
  EXPECT_EQ(seen.back(), 89);
}

}  // namespace
}  // namespace stepsize
