#include "examples/trainer/run/run_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>

#include "sample_files.h"

namespace stepsize::trainer {
namespace {

using testing::AllOf;
using testing::HasSubstr;

RunRecord record_of_a_run() {
  RunRecord record;
  record.options = {{"--model", "cnn"}, {"--schedule", "constant"}};
  record.data = "some images";
  record.lr = 0.1 + 0.2;
  record.planned_epochs = 4;
  record.stretches = {{120, 6}, {300, 9}};
  record.epochs_done = 5;
  record.step = 321;
  record.stopped_early = true;
  return record;
}

TEST(RunRecord, ComesBackFromItsValues) {
  const auto record = record_of_a_run();
  const auto again = to_record(to_values(record));
  EXPECT_EQ(again.options, record.options);
  EXPECT_EQ(again.data, record.data);
  EXPECT_EQ(again.lr, record.lr);
  EXPECT_EQ(again.planned_epochs, record.planned_epochs);
  ASSERT_EQ(again.stretches.size(), 2U);
  EXPECT_EQ(again.stretches[0].images, 120);
  EXPECT_EQ(again.stretches[1].epochs, 9);
  EXPECT_EQ(again.epochs_done, record.epochs_done);
  EXPECT_EQ(again.step, record.step);
  EXPECT_EQ(again.stopped_early, record.stopped_early);
}

TEST(RunRecord, NamesTheEntryThatItCannotRead) {
  const auto values = to_values(record_of_a_run());
  for (const auto& [key, value] : values) {
    if (key.rfind("--", 0) == 0) {
      continue;
    }
    auto fewer = values;
    fewer.erase(key);
    EXPECT_THAT(
        message_of([&] { to_record(fewer); }),
        AllOf(HasSubstr("'" + key + "'"), HasSubstr("missing")));
    if (key != "data") {
      auto odd = values;
      odd[key] = "-1 x";
      EXPECT_THAT(
          message_of([&] { to_record(odd); }), HasSubstr("'" + key + "'"));
    }
  }
}

TrainTestSets two_sets() {
  const auto part = [](std::int64_t count) {
    return ImageSet{
        torch::arange(count * 6).to(torch::kUInt8).view({count, 1, 2, 3}),
        torch::arange(count) % 3};
  };
  TrainTestSets sets;
  sets.train = part(5);
  sets.test = part(4);
  sets.classes = 3;
  return sets;
}

TEST(DataText, ChangesWithEveryImageAndLabel) {
  const auto text = data_text(two_sets());
  EXPECT_THAT(
      text,
      HasSubstr("5 training and 4 test images, 1x2x3, 3 classes, checksum "));
  EXPECT_EQ(data_text(two_sets()), text);
  auto sets = two_sets();
  sets.train.images[4][0][1][2] += 1;
  EXPECT_NE(data_text(sets), text);
  sets = two_sets();
  sets.train.labels[0] = 2;
  EXPECT_NE(data_text(sets), text);
  sets = two_sets();
  sets.test.labels[3] = 2;
  EXPECT_NE(data_text(sets), text);
}

}  // namespace
}  // namespace stepsize::trainer
