#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/data/resumable_sampler.h>
#include <torch/torch.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/archive_bytes.h"
#include "tests/support/error_text.h"

namespace stepsize {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Indices = std::vector<std::size_t>;

// What a loader without workers would get: the rest of the epoch in one batch.
Indices rest_of(ResumableSampler& sampler) {
  auto batch = sampler.next(1'000'000);
  if (!batch) return {};
  sampler.delivered();
  return *batch;
}

Indices epoch_of(ResumableSampler& sampler) {
  sampler.reset();
  return rest_of(sampler);
}

ResumableSampler sampler_at(
    const ResumableSamplerOptions& options, int64_t epoch) {
  ResumableSampler sampler(options);
  sampler.set_place({epoch, 0, 0});
  return sampler;
}

// From Python:
//   s = DistributedSampler(range(11), num_replicas=..., rank=..., seed=5)
//   s.set_epoch(3); list(s)
TEST(ResumableSampler, HasTheOrderOfPython) {
  const auto options = ResumableSamplerOptions(11);
  ResumableSampler first(options);
  EXPECT_THAT(epoch_of(first), ElementsAre(10, 0, 4, 3, 5, 8, 2, 1, 9, 7, 6));
  auto later = sampler_at(ResumableSamplerOptions(11).seed(5), 3);
  EXPECT_THAT(epoch_of(later), ElementsAre(10, 9, 2, 4, 0, 1, 7, 3, 6, 8, 5));
}

TEST(ResumableSampler, HasTheOrderOfPythonForALargeSet) {
  auto sampler = sampler_at(
      ResumableSamplerOptions(100'001).seed(7).num_replicas(2).rank(1), 2);
  const auto order = epoch_of(sampler);
  ASSERT_EQ(order.size(), 50'001U);
  EXPECT_THAT(
      Indices(order.begin(), order.begin() + 6),
      ElementsAre(48189, 91474, 98665, 54577, 22186, 13215));
  EXPECT_THAT(
      Indices(order.end() - 3, order.end()), ElementsAre(37538, 67819, 56225));
}

TEST(ResumableSampler, SplitsOverRanksAsPythonDoes) {
  auto options = ResumableSamplerOptions(11).seed(5).num_replicas(4);
  auto one = sampler_at(options.rank(1), 3);
  EXPECT_THAT(epoch_of(one), ElementsAre(9, 1, 8));
  auto three = sampler_at(options.rank(3), 3);
  EXPECT_THAT(epoch_of(three), ElementsAre(4, 3, 10));
  auto dropped = sampler_at(options.rank(3).drop_last(true), 3);
  EXPECT_THAT(epoch_of(dropped), ElementsAre(4, 3));
  auto in_order = sampler_at(options.drop_last(false).shuffle(false), 3);
  EXPECT_THAT(epoch_of(in_order), ElementsAre(3, 7, 0));
}

TEST(ResumableSampler, RepeatsASmallSetOverManyRanksAsPythonDoes) {
  for (const int64_t rank : {0, 1, 2, 3, 6, 7}) {
    ResumableSampler sampler(
        ResumableSamplerOptions(3).shuffle(false).num_replicas(8).rank(rank));
    EXPECT_EQ(sampler.num_samples(), 1);
    EXPECT_THAT(epoch_of(sampler), ElementsAre(rank % 3)) << rank;
  }
}

TEST(ResumableSampler, ShufflesEachEpochAndLeavesTheDefaultGenerator) {
  torch::manual_seed(3);
  const auto untouched = torch::rand(1);
  torch::manual_seed(3);
  ResumableSampler sampler(100);
  auto first = epoch_of(sampler);
  auto second = epoch_of(sampler);
  EXPECT_NE(first, second);
  EXPECT_EQ(sampler.place().epoch, 1);
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  EXPECT_EQ(first, second);
  EXPECT_EQ(first.back(), 99U);
  EXPECT_TRUE(torch::equal(torch::rand(1), untouched));
}

TEST(ResumableSampler, IsAtThePlaceOfWhatWasDelivered) {
  ResumableSampler sampler(10);
  sampler.reset();
  for (int i = 0; i < 3; ++i) sampler.next(4);  // asked for ahead
  EXPECT_FALSE(sampler.next(4));
  sampler.delivered();
  EXPECT_EQ(sampler.place().batches, 1);
  EXPECT_EQ(sampler.place().examples, 4);
  sampler.delivered();
  sampler.delivered();
  EXPECT_EQ(sampler.place().batches, 3);
  EXPECT_EQ(sampler.place().examples, 10);
  EXPECT_THAT(
      test::message_of([&] { sampler.delivered(); }),
      HasSubstr("no batch is under way"));
}

TEST(ResumableSampler, RefusesToSayAPlaceThatNobodyCounted) {
  ResumableSampler sampler(10);
  test::saved(sampler);  // nothing was asked for
  sampler.reset();
  sampler.next(4);
  EXPECT_THAT(
      test::message_of([&] { sampler.place(); }), HasSubstr("nobody counts"));
  EXPECT_THROW(test::saved(sampler), c10::Error);
  sampler.delivered();
  test::saved(sampler);
}

TEST(ResumableSampler, CopiesShareOnePlaceThoseThatAreMovedToo) {
  ResumableSampler sampler(10);
  ResumableSampler copy(sampler);
  ResumableSampler moved(std::move(copy));
  moved.reset();
  moved.next(4);
  moved.delivered();
  EXPECT_EQ(sampler.place().examples, 4);
  EXPECT_EQ(copy.place().examples, 4);  // NOLINT(bugprone-use-after-move)
}

TEST(ResumableSampler, GoesOnFromEveryPlace) {
  for (const int64_t batches : {0, 1, 3, 4, 5}) {
    ResumableSampler whole(ResumableSamplerOptions(10).seed(2));
    epoch_of(whole);
    whole.reset();
    for (int64_t i = 0; i < batches; ++i) {
      whole.next(2);
      whole.delivered();
    }
    ResumableSampler other(ResumableSamplerOptions(10).seed(2));
    epoch_of(other);
    epoch_of(other);
    test::load(other, test::saved(whole));
    EXPECT_EQ(other.place().epoch, 1);
    EXPECT_EQ(other.place().batches, batches);
    if (batches < 5) {
      other.reset();
      EXPECT_EQ(rest_of(other), rest_of(whole)) << batches;
    }
    EXPECT_EQ(epoch_of(other), epoch_of(whole)) << batches;
    EXPECT_EQ(other.place().epoch, 2);
  }
}

TEST(ResumableSampler, TakesTheSeedOfTheArchive) {
  ResumableSampler saved(ResumableSamplerOptions(50).seed(UINT64_MAX));
  ResumableSampler other(50);
  epoch_of(other);
  test::load(other, test::saved(saved));
  EXPECT_EQ(other.seed(), UINT64_MAX);
  EXPECT_EQ(epoch_of(other), epoch_of(saved));
}

TEST(ResumableSampler, RefusesAnArchiveOfAnotherOrderAndStaysAsItWas) {
  const auto options = ResumableSamplerOptions(12).num_replicas(2);
  auto saved = sampler_at(options, 5);
  const auto bytes = test::saved(saved);
  const auto refusal = [&](ResumableSamplerOptions with) {
    auto sampler = sampler_at(with, 1);
    const auto message = test::message_of([&] { test::load(sampler, bytes); });
    EXPECT_EQ(sampler.place().epoch, 1);
    return message;
  };
  EXPECT_THAT(
      refusal(ResumableSamplerOptions(13).num_replicas(2)),
      HasSubstr("size is 12 in the archive and 13 here"));
  EXPECT_THAT(
      refusal(ResumableSamplerOptions(12).num_replicas(3)),
      HasSubstr("num_replicas is 2 in the archive and 3 here"));
  EXPECT_THAT(
      refusal(ResumableSamplerOptions(options).shuffle(false)),
      HasSubstr("shuffle is 1"));
  EXPECT_THAT(
      refusal(ResumableSamplerOptions(options).drop_last(true)),
      HasSubstr("drop_last is 0"));
  // Each rank is at the same place.
  auto other_rank = sampler_at(ResumableSamplerOptions(options).rank(1), 1);
  test::load(other_rank, bytes);
  EXPECT_EQ(other_rank.place().epoch, 5);
}

TEST(ResumableSampler, RefusesAnArchiveOfAnotherClass) {
  ResumableSampler sampler(10);
  EXPECT_THAT(
      test::message_of(
          [&] { test::load(sampler, test::saved(torch::ones({1}))); }),
      HasSubstr("ResumableSampler: the archive has no"));
}

TEST(ResumableSampler, RefusesAPlaceThatTheEpochDoesNotHave) {
  ResumableSampler sampler(10);
  for (const SamplerPlace place :
       {SamplerPlace{-1, 0, 0},
        SamplerPlace{INT64_MAX, 0, 0},
        SamplerPlace{0, 1, 11},
        SamplerPlace{0, 0, 1},
        SamplerPlace{0, 5, 4},
        SamplerPlace{0, -1, 0}}) {
    EXPECT_THROW(sampler.set_place(place), c10::Error);
  }
  EXPECT_EQ(sampler.place().epoch, 0);
}

TEST(ResumableSampler, GivesNothingBetweenAChangeOfPlaceAndAReset) {
  ResumableSampler sampler(10);
  sampler.reset();
  sampler.next(2);
  sampler.set_place({4, 0, 0});
  EXPECT_FALSE(sampler.next(2));  // whoever asks, asks for epoch 0
  sampler.reset();
  EXPECT_TRUE(sampler.next(2));
  sampler.delivered();
  EXPECT_EQ(sampler.place().epoch, 4);
}

TEST(ResumableSampler, BeginsAnEpochWithAnotherSize) {
  ResumableSampler sampler(ResumableSamplerOptions(10).shuffle(false));
  sampler.reset(4);
  EXPECT_EQ(sampler.place().epoch, 0);
  EXPECT_THAT(rest_of(sampler), ElementsAre(0, 1, 2, 3));
  sampler.reset(5);
  EXPECT_THAT(rest_of(sampler), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_EQ(sampler.place().epoch, 1);
  sampler.set_place({1, 1, 2});
  sampler.reset(6);
  EXPECT_EQ(rest_of(sampler).size(), 6U);
  EXPECT_EQ(sampler.place().epoch, 2);
  EXPECT_THROW(sampler.reset(0), c10::Error);
  EXPECT_EQ(sampler.num_samples(), 6);
}

}  // namespace
}  // namespace stepsize
