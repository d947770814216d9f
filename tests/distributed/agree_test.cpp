#include <gmock/gmock.h>
#include <stepsize/distributed/agree.h>
#include <torch/types.h>

#include "tests/support/error_text.h"
#include "tests/support/ranks.h"

namespace stepsize {
namespace {

using test::message_of;
using test::on_ranks;
using test::run_ranks;
using testing::Each;

using Ranks = std::shared_ptr<Reduction>;

// What each of so many ranks hears, `facts` being those of a rank.
std::vector<std::string> said_on(
    int64_t count, const std::function<Facts(int64_t)>& facts) {
  return on_ranks<std::string>(count, [&](const Ranks& ranks) {
    auto text = message_of([&] { agree(facts(ranks->rank()), *ranks); });
    // And the ranks can go on.
    EXPECT_EQ(ranks->mean(2), 2);
    return text;
  });
}

TEST(Agree, LetsThoseGoOnWhoSayTheSame) {
  EXPECT_THAT(
      said_on(
          3,
          [](int64_t) {
            return Facts{{"seed", "1"}, {"empty", ""}};
          }),
      Each("nothing was thrown"));
  EXPECT_THAT(
      said_on(2, [](int64_t) { return Facts{}; }), Each("nothing was thrown"));
}

TEST(Agree, SaysOnAllRanksWhichOneDiffersInWhat) {
  EXPECT_THAT(
      said_on(
          3,
          [](int64_t rank) {
            return Facts{{"seed", "1"}, {"batch", rank == 2 ? "64" : "128"}};
          }),
      Each("rank 2: batch is 64, rank 0 has 128"));
}

TEST(Agree, NamesWhatOnlyOneHas) {
  EXPECT_THAT(
      said_on(
          2,
          [](int64_t rank) {
            return rank == 0 ? Facts{{"a", "1"}, {"b", "2"}}
                             : Facts{{"a", "1"}, {"c", ""}};
          }),
      Each("rank 1: c is , rank 0 has none; b is not there, rank 0 has 2"));
}

TEST(Agree, ListsTheFirstFewDifferences) {
  EXPECT_THAT(
      said_on(
          2,
          [](int64_t rank) {
            Facts facts;
            for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
              facts.emplace_back(name, std::to_string(rank));
            }
            return facts;
          }),
      Each("rank 1: a is 1, rank 0 has 0; b is 1, rank 0 has 0; c is 1, rank "
           "0 has 0; d is 1, rank 0 has 0; and 2 more"));
}

TEST(Agree, PutsANameInFront) {
  run_ranks(2, [](const Ranks& ranks) {
    const Facts facts{{"seed", std::to_string(ranks->rank())}};
    EXPECT_EQ(
        message_of([&] { agree(facts, *ranks, "my_program"); }),
        "my_program: rank 1: seed is 1, rank 0 has 0");
  });
}

}  // namespace
}  // namespace stepsize
