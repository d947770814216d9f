#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/state/option_list.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>
#include <string>

#include "tests/support/error_text.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;

enum class Mood : std::uint8_t { kCalm, kWild };

struct Inner {
  TORCH_ARG(double, depth) = 2;
  TORCH_ARG(bool, hollow) = true;
};

struct Sample {
  TORCH_ARG(double, lr) = 0.1;
  TORCH_ARG(int64_t, window) = 10;
  TORCH_ARG(int64_t, seed) = -7;
  TORCH_ARG(bool, nesterov) = false;
  TORCH_ARG(Mood, mood) = Mood::kWild;
  TORCH_ARG(Inner, inner);
  TORCH_ARG(std::string, label);

 public:
  int64_t late = 3;
};

OptionList<Inner> inner_list() {
  return OptionList<Inner>("Inner")
      .option(STEPSIZE_OPTION(depth))
      .must_be("> 1", [](double depth) { return depth > 1; })
      .option(STEPSIZE_OPTION(hollow))
      .rule([](const Inner& inner, const std::string& kind) {
        TORCH_CHECK(
            inner.hollow() || inner.depth() < 9, kind, ": too deep to be full");
      });
}

const OptionList<Sample>& sample_list() {
  static const auto list =
      OptionList<Sample>("Sample")
          .option(STEPSIZE_OPTION(lr))
          .not_negative()
          .role(OptionRole::kRate)
          .option(STEPSIZE_OPTION(window))
          .at_least(1)
          .same_in_groups()
          .seed(STEPSIZE_OPTION(seed))
          .option(STEPSIZE_OPTION(nesterov))
          .choice(STEPSIZE_OPTION(mood), {"kCalm", "kWild"})
          .same_in_groups()
          .include(
              inner_list(), [](auto& own) -> auto& { return own.inner(); })
          .option("late", &Sample::late)
          .may_be_missing();
  return list;
}

std::string refusal_of(const Sample& sample) {
  return message_of([&] { sample_list().check(sample); });
}

Sample other_sample() {
  Sample other;
  other.lr(0.25).window(1LL << 60).seed(INT64_MIN).nesterov(true);
  other.mood(Mood::kCalm).inner(Inner().depth(kInfinity).hollow(true));
  other.late = 5;
  return other;
}

// What `write` has put into an archive, to be read.
template <typename Write>
torch::serialize::InputArchive archive_of(const Write& write) {
  torch::serialize::OutputArchive output;
  write(output);
  std::stringstream stream;
  output.save_to(stream);
  torch::serialize::InputArchive input;
  input.load_from(stream);
  return input;
}

TEST(OptionList, ChecksByNameRuleAndValue) {
  EXPECT_EQ(refusal_of(Sample()), "nothing was thrown");
  EXPECT_EQ(
      refusal_of(Sample().lr(-1)),
      "Sample: lr must be finite and >= 0, got -1");
  EXPECT_EQ(
      refusal_of(Sample().lr(kNaN)),
      "Sample: lr must be finite and >= 0, got nan");
  EXPECT_EQ(
      refusal_of(Sample().window(0)), "Sample: window must be >= 1, got 0");
  EXPECT_EQ(
      refusal_of(Sample().mood(static_cast<Mood>(2))),
      "Sample: mood must be kCalm or kWild, got 2");
}

TEST(OptionList, ChecksAPartInTheNameOfTheWhole) {
  EXPECT_EQ(
      refusal_of(Sample().inner(Inner().depth(1))),
      "Sample: depth must be > 1, got 1");
  EXPECT_EQ(
      refusal_of(Sample().inner(Inner().depth(9).hollow(false))),
      "Sample: too deep to be full");
  EXPECT_EQ(
      message_of([] { inner_list().check(Inner().depth(0), "Guard"); }),
      "Guard: depth must be > 1, got 0");
}

TEST(OptionList, ComparesAllAndDescribesThem) {
  EXPECT_TRUE(sample_list().equal(Sample(), Sample().label("not listed")));
  EXPECT_FALSE(sample_list().equal(Sample(), Sample().nesterov(true)));
  EXPECT_FALSE(sample_list().equal(Sample(), Sample().inner(Inner().depth(3))));
  // One that is not set is like itself.
  EXPECT_TRUE(sample_list().equal(Sample().lr(kNaN), Sample().lr(kNaN)));
  EXPECT_EQ(
      sample_list().describe(Sample()),
      "lr=0.1, window=10, seed=-7, nesterov=false, mood=kWild, depth=2, "
      "hollow=true, late=3");
}

TEST(OptionList, SaysWhichOptionDiffersAmongGroups) {
  const auto refusal = [](const Sample& other) {
    return message_of(
        [&] { sample_list().check_same_in_groups(Sample(), other); });
  };
  EXPECT_EQ(refusal(Sample().lr(3).seed(1)), "nothing was thrown");
  EXPECT_EQ(
      refusal(Sample().window(9)),
      "Sample: window must be the same in all parameter groups (10), got 9");
  EXPECT_EQ(
      refusal(Sample().mood(Mood::kCalm)),
      "Sample: mood must be the same in all parameter groups (kWild), got "
      "kCalm");
}

TEST(OptionList, ReadsWhatItWroteExactly) {
  const Sample other = other_sample();
  auto archive =
      archive_of([&](auto& output) { sample_list().write(output, other); });
  Sample read;
  read.label("mine");
  sample_list().read(archive, read);
  EXPECT_TRUE(sample_list().equal(read, other));
  EXPECT_EQ(read.window(), 1LL << 60);
  EXPECT_EQ(read.seed(), INT64_MIN);
  EXPECT_EQ(read.label(), "mine");
}

// The types that archives have had since version 0.1.
TEST(OptionList, WritesNumbersAsDoublesAndAllElseAsIntegers) {
  auto archive =
      archive_of([](auto& output) { sample_list().write(output, Sample()); });
  const auto value_of = [&](const char* key) {
    c10::IValue value;
    archive.read(key, value);
    return value;
  };
  EXPECT_EQ(value_of("lr").toDouble(), 0.1);
  EXPECT_EQ(value_of("window").toInt(), 10);
  EXPECT_EQ(value_of("nesterov").toInt(), 0);
  EXPECT_EQ(value_of("mood").toInt(), 1);
  EXPECT_EQ(value_of("hollow").toInt(), 1);
  EXPECT_EQ(value_of("seed").toStringRef(), "-7");
}

TEST(OptionList, ARefusedReadChangesNothing) {
  const auto refusal = [](const OptionList<Sample>& written,
                          const Sample& sample) {
    auto archive =
        archive_of([&](auto& output) { written.write(output, sample); });
    Sample read = other_sample();
    const std::string message =
        message_of([&] { sample_list().read(archive, read); });
    EXPECT_TRUE(sample_list().equal(read, other_sample()));
    return message;
  };
  EXPECT_EQ(
      refusal(sample_list(), Sample().lr(-1)),
      "Sample: lr must be finite and >= 0, got -1");
  EXPECT_THAT(
      refusal(sample_list(), Sample().mood(static_cast<Mood>(2))),
      HasSubstr("mood"));
  EXPECT_THAT(
      refusal(
          OptionList<Sample>("Sample").option(STEPSIZE_OPTION(lr)), Sample()),
      HasSubstr("the archive has no 'window'"));
}

TEST(OptionList, AnOptionThatCameLaterMayBeMissing) {
  const auto before =
      OptionList<Sample>("Sample")
          .option(STEPSIZE_OPTION(lr))
          .option(STEPSIZE_OPTION(window))
          .seed(STEPSIZE_OPTION(seed))
          .option(STEPSIZE_OPTION(nesterov))
          .choice(STEPSIZE_OPTION(mood), {"kCalm", "kWild"})
          .include(
              inner_list(), [](auto& own) -> auto& { return own.inner(); });
  auto archive = archive_of(
      [&](auto& output) { before.write(output, Sample().window(4)); });
  Sample read = other_sample();
  sample_list().read(archive, read);
  EXPECT_EQ(read.window(), 4);
  EXPECT_EQ(read.late, 5);
}

// Before it becomes a flag or an enumerator: 256 and 2^32 would be kCalm.
TEST(OptionList, ChecksANumberBeforeItIsConverted) {
  const auto refusal = [](const char* name, double number) {
    Sample sample = other_sample();
    const std::string message = message_of([&] {
      sample_list().set_numbers(sample, {{name, number}});
    });
    EXPECT_TRUE(sample_list().equal(sample, other_sample()));
    return message;
  };
  EXPECT_EQ(refusal("nesterov", 5), "Sample: nesterov must be 0 or 1, got 5");
  EXPECT_EQ(refusal("nesterov", -3), "Sample: nesterov must be 0 or 1, got -3");
  EXPECT_EQ(
      refusal("mood", 256), "Sample: mood must be kCalm or kWild, got 256");
  EXPECT_EQ(
      refusal("mood", 0x1p32),
      "Sample: mood must be kCalm or kWild, got 4294967296");
  EXPECT_EQ(refusal("mood", -1), "Sample: mood must be kCalm or kWild, got -1");
  EXPECT_EQ(refusal("window", 0), "Sample: window must be >= 1, got 0");
  Sample sample = other_sample();
  sample_list().set_numbers(sample, {{"nesterov", 0}, {"mood", 1}});
  EXPECT_FALSE(sample.nesterov());
  EXPECT_EQ(sample.mood(), Mood::kWild);
}

TEST(OptionList, RefusesAListThatCannotBe) {
  EXPECT_EQ(
      message_of([] {
        OptionList<Sample>("Sample")
            .option(STEPSIZE_OPTION(lr))
            .option(STEPSIZE_OPTION(lr));
      }),
      "Sample: the option lr is there twice");
  EXPECT_THAT(
      message_of([] { OptionList<Sample>("Sample").not_negative(); }),
      HasSubstr("comes after the option"));
  EXPECT_THAT(
      message_of([] {
        OptionList<Sample>("Sample")
            .option(STEPSIZE_OPTION(window))
            .not_negative();
      }),
      HasSubstr("window is no number"));
}

TEST(OptionList, ListsItsFields) {
  const auto fields = sample_list().fields();
  ASSERT_EQ(fields.size(), 8U);
  EXPECT_THAT(fields[0], Field(&OptionField::role, OptionRole::kRate));
  EXPECT_THAT(fields[0], Field(&OptionField::rule, "finite and >= 0"));
  EXPECT_THAT(fields[4].choices, ElementsAre("kCalm", "kWild"));
}

}  // namespace
}  // namespace stepsize::test
