#include <gmock/gmock.h>
#include <stepsize/distributed/reduction.h>
#include <torch/types.h>

#include <stdexcept>

#include "tests/support/error_text.h"
#include "tests/support/numbers.h"
#include "tests/support/ranks.h"

namespace stepsize {
namespace {

using test::kInfinity;
using test::kNaN;
using test::message_of;
using test::on_ranks;
using test::run_ranks;
using testing::ElementsAre;
using testing::HasSubstr;

using Ranks = std::shared_ptr<Reduction>;

TEST(Reduction, GathersInTheOrderOfRanks) {
  run_ranks(3, [](const Ranks& ranks) {
    EXPECT_EQ(ranks->world_size(), 3);
    const double own = 0.1 + static_cast<double>(ranks->rank());
    EXPECT_THAT(ranks->gather(own), ElementsAre(0.1, 1.1, 2.1));
    EXPECT_EQ(ranks->mean(own), (0.1 + 1.1 + 2.1) / 3);
    EXPECT_EQ(ranks->max(-own), -0.1);
  });
}

TEST(Reduction, TakesTheMeanOfALossAsItIs) {
  run_ranks(2, [](const Ranks& ranks) {
    const auto weight = torch::full({1}, 3.0, torch::kFloat32);
    weight.set_requires_grad(true);
    const auto loss = (weight * (ranks->rank() == 0 ? 1 : 2)).sum();
    EXPECT_EQ(ranks->mean(loss), 4.5);
    EXPECT_EQ(ranks->mean(weight), 3);
    EXPECT_THAT(
        message_of([&] {
          ranks->mean(torch::ones({2, 3}));
        }),
        HasSubstr("mean wants a tensor with one element, got one of shape [2, "
                  "3]"));
    EXPECT_THAT(
        message_of([&] { ranks->mean(torch::Tensor()); }),
        HasSubstr("got an undefined one"));
  });
}

TEST(Reduction, TellsAllOfTheOneThatSaysSo) {
  run_ranks(3, [](const Ranks& ranks) {
    EXPECT_TRUE(ranks->any(ranks->rank() == 2));
    EXPECT_FALSE(ranks->any(false));
    EXPECT_EQ(ranks->max(ranks->rank() == 1 ? kInfinity : 0), kInfinity);
    EXPECT_TRUE(std::isnan(ranks->max(ranks->rank() == 1 ? kNaN : 7)));
    EXPECT_TRUE(std::isnan(ranks->mean(ranks->rank() == 0 ? kNaN : 7)));
  });
}

TEST(Reduction, SumsTensorsToTheSameBitsEverywhere) {
  const auto sums = on_ranks<torch::Tensor>(3, [](const Ranks& ranks) {
    const auto generator = torch::make_generator<at::CPUGeneratorImpl>(
        static_cast<uint64_t>(7 + ranks->rank()));
    auto tensor = torch::randn({1000}, generator, torch::kFloat32);
    ranks->sum(tensor);
    return tensor;
  });
  auto wanted = torch::zeros({1000}, torch::kFloat64);
  for (uint64_t seed = 7; seed < 10; ++seed) {
    const auto generator = torch::make_generator<at::CPUGeneratorImpl>(seed);
    wanted += torch::randn({1000}, generator, torch::kFloat32);
  }
  EXPECT_TRUE(sums[0].equal(sums[1]));
  EXPECT_TRUE(sums[0].equal(sums[2]));
  EXPECT_TRUE(torch::allclose(sums[0].to(torch::kFloat64), wanted, 0, 1e-5));
}

TEST(Reduction, BroadcastsText) {
  run_ranks(2, [](const Ranks& ranks) {
    const std::string own =
        ranks->rank() == 1 ? "from one\n\0x" : "longer text";
    EXPECT_EQ(ranks->broadcast_text(own, 1), "from one\n");
    EXPECT_EQ(ranks->broadcast_text(""), "");
    EXPECT_THAT(
        message_of([&] { ranks->broadcast_text("", 2); }),
        HasSubstr("root must be in [0, 2), got 2"));
  });
}

TEST(Reduction, ThrowsOnAllRanksWhatOneThrew) {
  run_ranks(3, [](const Ranks& ranks) {
    const auto work = [&] {
      if (ranks->rank() == 1) throw std::invalid_argument("no such file");
    };
    if (ranks->rank() == 1) {
      EXPECT_THROW(ranks->together(work), std::invalid_argument);
    } else {
      EXPECT_EQ(
          message_of([&] { ranks->together(work); }),
          "rank 1 failed: no such file");
    }
    // And goes on.
    ranks->together([] {});
    EXPECT_EQ(ranks->mean(2), 2);
  });
}

// A class of a user's own: one rank that adds nothing.
class Alone : public Reduction {
 public:
  int64_t rank() const override { return 0; }
  int64_t world_size() const override { return 1; }
  void sum(at::Tensor& /*tensor*/) override {}
  void broadcast(at::Tensor& /*bytes*/, int64_t /*root*/) override {}
};

TEST(Reduction, StandsOnTwoFunctionsAlone) {
  Alone alone;
  EXPECT_THAT(alone.gather(4), ElementsAre(4));
  EXPECT_EQ(alone.broadcast_text("text"), "text");
  auto tensor = torch::ones({2});
  alone.start_sum(tensor)();
  EXPECT_TRUE(tensor.equal(torch::ones({2})));
  EXPECT_THROW(
      alone.together([] { throw std::out_of_range("x"); }), std::out_of_range);
}

}  // namespace
}  // namespace stepsize
