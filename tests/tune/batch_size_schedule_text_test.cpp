#include <gtest/gtest.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/tune/batch_size_schedule.h>

#include <string>

#include "tests/support/error_text.h"

namespace stepsize {
namespace {

using test::message_of;
using BatchOptions = BatchSizeScheduleOptions;

TEST(BatchSizeScheduleText, ReadsBackAsTheSameSchedule) {
  const std::string text =
      "batch 128 to 4096 by 512 linear of warmup 500 > cosine 9500";
  EXPECT_EQ(BatchSizeSchedule::parse(text).to_string(), text);
  EXPECT_EQ(
      BatchSizeSchedule(
          warmup(500).then(cosine(9500)),
          BatchOptions(128, 4096).max_micro_batch(512))
          .to_string(),
      text);
  const std::string multiples =
      "batch 128 to 4096 by 512 multiple_of 64 sqrt of cosine 9500";
  const auto rounded = BatchSizeSchedule::parse(multiples);
  EXPECT_EQ(rounded.to_string(), multiples);
  EXPECT_EQ(rounded.options().multiple_of(), 64);
  EXPECT_EQ(rounded.options().max_micro_batch(), 512);
  EXPECT_EQ(
      BatchSizeSchedule::parse("batch 8 to 64 multiple_of 8 linear of cosine 5")
          .at(5)
          .micro_batch,
      64);
  const auto root =
      BatchSizeSchedule::parse(" batch 8 to 64  sqrt of polynomial 5");
  EXPECT_EQ(root.options().exchange(), BatchExchange::kSquareRoot);
  EXPECT_EQ(root.options().max_micro_batch(), 0);
  EXPECT_EQ(
      root.to_string(), "batch 8 to 64 sqrt of " + root.schedule().to_string());
  ParseContext context;
  context.run_length = 200;
  EXPECT_EQ(
      BatchSizeSchedule::parse("batch 8 to 64 linear of cosine 50%", context)
          .schedule(),
      cosine(100));
}

TEST(BatchSizeScheduleText, ThatIsNoneIsRefusedWithTheForm) {
  const auto message = [](const std::string& text) {
    return message_of([&] { BatchSizeSchedule::parse(text); });
  };
  EXPECT_EQ(
      message("batch 8 upto 64 linear of cosine 5"),
      "BatchSizeSchedule: the text must read \"batch BASE to MOST [by MICRO] "
      "[multiple_of N] linear|sqrt of SCHEDULE\"; expected 'to', got 'upto' in "
      "\"batch 8 upto "
      "64 linear of cosine 5\"");
  for (const char* text :
       {"",
        "batch",
        "batch -8 to 64 linear of cosine 5",
        "batch 8.5 to 64 linear of cosine 5",
        "batch 8 to 99999999999999999999 linear of cosine 5",
        "batch 8 to 64 cubic of cosine 5",
        "batch 8 to 64 by linear of cosine 5",
        "batch 8 to 64 multiple_of linear of cosine 5",
        "batch 8 to 64 multiple_of 8 by 8 linear of cosine 5",
        "batch 8 to 64 linear cosine 5"}) {
    EXPECT_NE(message(text).find("the text must read"), std::string::npos)
        << text;
  }
  EXPECT_THROW(
      BatchSizeSchedule::parse("batch 8 to 64 linear of cosin 5"), ParseError);
}

}  // namespace
}  // namespace stepsize
