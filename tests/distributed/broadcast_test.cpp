#include <gmock/gmock.h>
#include <stepsize/distributed/broadcast.h>
#include <torch/torch.h>

#include "tests/support/error_text.h"
#include "tests/support/ranks.h"

namespace stepsize {
namespace {

using test::message_of;
using test::run_ranks;
using testing::HasSubstr;

using Ranks = std::shared_ptr<Reduction>;
using Tensors = std::vector<torch::Tensor>;

TEST(BroadcastState, GivesAllRanksTheModuleOfTheRoot) {
  for (const int64_t root : {0, 1}) {
    run_ranks(2, [&](const Ranks& ranks) {
      const double own = static_cast<double>(ranks->rank());
      torch::nn::BatchNorm1d layer(torch::nn::BatchNormOptions(3));
      {
        const torch::NoGradGuard no_grad;
        for (auto& tensor : layer->parameters()) tensor.fill_(own);
        for (auto& tensor : layer->buffers()) tensor.fill_(own + 5);
      }
      broadcast_state(*layer, *ranks, root);
      const auto value = static_cast<double>(root);
      EXPECT_TRUE(layer->weight.equal(torch::full({3}, value)));
      EXPECT_TRUE(layer->running_mean.equal(torch::full({3}, value + 5)));
      EXPECT_EQ(layer->num_batches_tracked.item<int64_t>(), root + 5);
      EXPECT_TRUE(layer->weight.requires_grad());
    });
  }
}

TEST(BroadcastState, TakesAModuleThatIsHeld) {
  run_ranks(2, [](const Ranks& ranks) {
    torch::nn::Linear layer(2, 2);
    const auto fill = [&] {
      const torch::NoGradGuard no_grad;
      layer->weight.fill_(static_cast<double>(ranks->rank()));
    };
    fill();
    broadcast_state(layer, *ranks, 1);
    EXPECT_TRUE(layer->weight.equal(torch::ones({2, 2})));
    fill();
    broadcast_state(layer.ptr(), *ranks, 1);
    EXPECT_TRUE(layer->weight.equal(torch::ones({2, 2})));
  });
}

TEST(BroadcastState, KeepsTypesAndLayouts) {
  run_ranks(2, [](const Ranks& ranks) {
    const bool is_root = ranks->rank() == 0;
    const auto wanted = torch::arange(24, torch::kFloat32).view({1, 4, 2, 3});
    Tensors tensors{
        (is_root ? wanted : torch::zeros_like(wanted))
            .contiguous(at::MemoryFormat::ChannelsLast),
        torch::full({3}, is_root ? 0.1 : 7.0, torch::kBFloat16),
        torch::full({}, is_root, torch::kBool),
        torch::zeros({0}),
        torch::Tensor()};
    broadcast_state(tensors, *ranks);
    EXPECT_TRUE(tensors[0].equal(wanted));
    EXPECT_TRUE(tensors[0].is_contiguous(at::MemoryFormat::ChannelsLast));
    EXPECT_TRUE(tensors[1].equal(torch::full({3}, 0.1, torch::kBFloat16)));
    EXPECT_TRUE(tensors[2].item<bool>());
  });
}

TEST(BroadcastState, RefusesOtherShapesAndChangesNothing) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors tensors{
        torch::ones({2}), torch::ones({ranks->rank() == 0 ? 3 : 4})};
    EXPECT_THAT(
        message_of([&] { broadcast_state(tensors, *ranks); }),
        testing::AllOf(
            HasSubstr("those of rank 0 are not those of rank 1"),
            HasSubstr(
                ranks->rank() == 0 ? "on rank 0: 2 tensors of 5 elements"
                                   : "on rank 1: 2 tensors of 6 elements")));
    EXPECT_TRUE(tensors[0].equal(torch::ones({2})));
  });
}

TEST(CheckSame, FindsASingleBit) {
  run_ranks(3, [](const Ranks& ranks) {
    const double value = ranks->rank() == 0 ? 1.0 : std::nextafter(1.0, 2.0);
    const auto refusal = [&](double other) {
      return message_of([&] {
        check_same({torch::full({2}, other, torch::kFloat64)}, *ranks);
      });
    };
    EXPECT_EQ(
        refusal(value),
        "check_same: the values of ranks 1, 2 are not those of rank 0");
    EXPECT_EQ(refusal(1.0), "nothing was thrown");
    // NaN is like NaN, and a zero's sign counts.
    EXPECT_EQ(
        refusal(std::numeric_limits<double>::quiet_NaN()),
        "nothing was thrown");
    EXPECT_THAT(refusal(ranks->rank() == 2 ? -0.0 : 0.0), HasSubstr("rank 2"));
  });
}

TEST(BroadcastState, RefusesARootThatIsNoRank) {
  run_ranks(2, [](const Ranks& ranks) {
    const auto tensor = torch::ones({2});
    EXPECT_THAT(
        message_of([&] { broadcast_state({tensor}, *ranks, -1); }),
        HasSubstr("broadcast_state: root must be in [0, 2), got -1"));
    EXPECT_EQ(ranks->mean(1), 1);
  });
}

TEST(BroadcastState, WritesToWhatIsExpanded) {
  run_ranks(2, [](const Ranks& ranks) {
    const auto own = static_cast<double>(ranks->rank());
    const Tensors tensors{
        torch::full({2}, own),
        torch::tensor({own, own + 10}).view({2, 1}).expand({2, 3})};
    broadcast_state(tensors, *ranks, 1);
    EXPECT_TRUE(tensors[0].equal(torch::ones({2})));
    EXPECT_TRUE(tensors[1].equal(
        torch::tensor({{1, 1, 1}, {11, 11, 11}}).to(tensors[1].scalar_type())));
    EXPECT_EQ(tensors[1].stride(1), 0);
  });
}

TEST(BroadcastState, RefusesWhatItCannotWriteToBeforeItWritesAnything) {
  run_ranks(2, [](const Ranks& ranks) {
    const auto own = static_cast<double>(ranks->rank());
    const auto first = torch::full({2}, own);
    const auto said = [&](const torch::Tensor& second) {
      auto text = message_of([&] { broadcast_state({first, second}, *ranks); });
      EXPECT_TRUE(first.equal(torch::full({2}, own)));
      return text;
    };
    const auto windows = torch::zeros({4});
    EXPECT_EQ(
        said(
            ranks->rank() == 1 ? windows.as_strided({3, 2}, {1, 1})
                               : torch::zeros({3, 2})),
        "broadcast_state: tensor 1 overlaps itself (on rank 1)");
    // Expanded on one rank only: the others' values may not fit in.
    EXPECT_THAT(
        said(
            ranks->rank() == 1 ? torch::zeros({1, 2}).expand({3, 2})
                               : torch::zeros({3, 2})),
        HasSubstr("those of rank 0 are not those of rank 1"));
  });
}

}  // namespace
}  // namespace stepsize
