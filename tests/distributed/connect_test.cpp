#include <gmock/gmock.h>
#include <stepsize/distributed/connect.h>
#include <torch/types.h>

#include <chrono>
#include <future>

#include "tests/support/error_text.h"
#include "tests/support/numbers.h"
#include "tests/support/ranks.h"

namespace stepsize {
namespace {

using test::message_of;
using testing::AllOf;
using testing::HasSubstr;

using Ranks = std::shared_ptr<Reduction>;

std::string refusal_of(const ConnectOptions& options) {
  return message_of([&] { connect(options); });
}

TEST(Connect, RefusesOptionsOutOfRange) {
  const ConnectOptions good("127.0.0.1:29500");
  EXPECT_EQ(
      refusal_of(ConnectOptions(good).world_size(0)),
      "connect: world_size must be >= 1, got 0");
  EXPECT_EQ(
      refusal_of(ConnectOptions(good).world_size(2).rank(2)),
      "connect: rank must be in [0, 2), got 2");
  EXPECT_EQ(
      refusal_of(ConnectOptions(good).timeout_seconds(test::kInfinity)),
      "connect: timeout_seconds must be finite and > 0, got inf");
  for (const char* master :
       {"", "127.0.0.1", "host:", ":29500", "host:0", "host:65536", "h:2x"}) {
    EXPECT_THAT(
        refusal_of(ConnectOptions(master)),
        HasSubstr("connect: master must be HOST:PORT"))
        << master;
  }
}

TEST(Connect, NamesTheMasterThatNobodyAnswersAt) {
  const std::string master = test::free_master();
  EXPECT_THAT(
      refusal_of(
          ConnectOptions(master).world_size(2).rank(1).timeout_seconds(0.2)),
      AllOf(
          HasSubstr("connect: rank 1 of 2 has not met the others at " + master),
          HasSubstr("within 0.2 s")));
}

TEST(Connect, NamesTheHostThatIsNone) {
  EXPECT_THAT(
      refusal_of(ConnectOptions("no.such.host.invalid:29500")
                     .world_size(2)
                     .rank(1)
                     .timeout_seconds(0.2)),
      HasSubstr("no.such.host.invalid:29500"));
}

TEST(Connect, MakesAGroupOfOne) {
  test::run_ranks(1, [](const Ranks& ranks) {
    EXPECT_EQ(ranks->rank(), 0);
    EXPECT_EQ(ranks->world_size(), 1);
    EXPECT_EQ(ranks->mean(3), 3);
  });
}

TEST(ProcessGroupReduction, SaysWhichRankIsLost) {
  test::run_ranks(2, [](const Ranks& ranks) {
    ranks->barrier();
    if (ranks->rank() == 1) return;
    EXPECT_THROW(ranks->mean(1), RankLostError);
    const auto text = message_of([&] { ranks->mean(1); });
    EXPECT_THAT(
        text,
        AllOf(
            HasSubstr("ProcessGroupReduction: rank 0 of 2 has lost rank 1 in "
                      "a sum: "),
            HasSubstr("; the time-out is 20 s")));
    EXPECT_THAT(
        message_of([&] { ranks->barrier(); }),
        HasSubstr("(the group was given up)"));
  });
}

TEST(ProcessGroupReduction, WaitsNoLongerThanTheTimeOut) {
  std::promise<void> thrown;
  const auto others_have_thrown = thrown.get_future();
  test::run_ranks(
      2,
      [&](const Ranks& ranks) {
        ranks->barrier();
        // Rank 1 keeps its connections, and does not come. Only the time-out
        // can end the wait of rank 0.
        if (ranks->rank() == 1) {
          EXPECT_EQ(
              others_have_thrown.wait_for(std::chrono::seconds(60)),
              std::future_status::ready);
          return;
        }
        EXPECT_THAT(
            message_of([&] { ranks->mean(1); }),
            AllOf(
                HasSubstr("rank 0 of 2 has lost rank 1 in a sum: "),
                HasSubstr("; the time-out is 2 s")));
        thrown.set_value();
      },
      2);
}

TEST(ProcessGroupReduction, RefusesWhatDoesNotFitAndGoesOn) {
  test::run_ranks(2, [](const Ranks& ranks) {
    auto bytes = torch::zeros({3}, torch::kByte);
    EXPECT_THAT(
        message_of([&] { ranks->broadcast(bytes, 5); }),
        HasSubstr("ProcessGroupReduction: root must be in [0, 2), got 5"));
    auto numbers = torch::zeros({3}, torch::kInt64);
    EXPECT_THAT(
        message_of([&] { ranks->broadcast(numbers, 0); }),
        HasSubstr("must be contiguous and of bytes"));
    EXPECT_THAT(
        message_of([&] { ranks->sum(numbers); }),
        HasSubstr("must be contiguous and of float32 or float64"));
    auto crossed = torch::zeros({2, 3}).t();
    EXPECT_THAT(
        message_of([&] { ranks->sum(crossed); }),
        HasSubstr("must be contiguous and of float32"));
    EXPECT_EQ(ranks->mean(2), 2);
  });
}

TEST(ProcessGroupReduction, RefusesSumsOfOtherTensorsOnAllRanks) {
  test::run_ranks(3, [](const Ranks& ranks) {
    const auto said = [&](int64_t length, at::ScalarType type) {
      auto tensor = torch::ones({length}, type);
      const auto text = message_of([&] { ranks->sum(tensor); });
      const double wanted = text == "nothing was thrown" ? 3 : 1;
      EXPECT_TRUE(tensor.equal(torch::full({length}, wanted, type)));
      return text;
    };
    const bool odd = ranks->rank() == 1;
    const auto message = [](const std::string& own, const std::string& first) {
      return "ProcessGroupReduction: rank 1: the tensor to sum is " + own +
             ", rank 0 has " + first;
    };
    // Short ones, long ones, and one of each.
    for (const auto& [own, first] : std::vector<std::pair<int64_t, int64_t>>{
             {3, 2}, {1000, 1001}, {4, 100000}, {100000, 4}, {0, 1}}) {
      EXPECT_EQ(
          said(odd ? own : first, torch::kFloat32),
          message(
              std::to_string(own) + " elements of Float",
              std::to_string(first) + " elements of Float"));
    }
    for (const int64_t length : {7, 2000}) {
      EXPECT_EQ(
          said(length, odd ? torch::kFloat32 : torch::kFloat64),
          message(
              std::to_string(length) + " elements of Float",
              std::to_string(length) + " elements of Double"));
    }
    // And they go on.
    for (const int64_t length : {0, 1, 56, 57, 1000}) {
      EXPECT_EQ(said(length, torch::kFloat32), "nothing was thrown");
      EXPECT_EQ(said(length, torch::kFloat64), "nothing was thrown");
    }
  });
}

TEST(ProcessGroupReduction, RefusesCallsThatAreNotTheSame) {
  test::run_ranks(2, [](const Ranks& ranks) {
    const auto text = message_of([&] {
      if (ranks->rank() == 0) {
        ranks->mean(1);
      } else {
        auto tensor = torch::ones({100});
        ranks->sum(tensor);
      }
    });
    EXPECT_EQ(
        text,
        "ProcessGroupReduction: rank 1: the tensor to sum is 100 elements of "
        "Float, rank 0 has 2 elements of Double");
    EXPECT_EQ(ranks->mean(2), 2);
  });
}

}  // namespace
}  // namespace stepsize
