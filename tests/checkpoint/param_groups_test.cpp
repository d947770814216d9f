// Parameter groups and frozen parameters together with what comes after them:
// a range test, a scheduler and a checkpoint.

#include <stepsize/optim/param_groups.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/optim/freeze.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/tune/lr_range_test.h>
#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "tests/checkpoint/temporary_folder.h"
#include "tests/optim/grouped_model.h"

namespace stepsize::test {
namespace {

using torch::optim::AdamW;
using torch::optim::AdamWOptions;

AdamW grouped_adamw(GroupedNet& net) {
  ParamGroups groups(net, AdamWOptions(0.01).weight_decay(0.1));
  groups.no_decay_for_norms_and_biases()
      .layer_decay(0.5)
      .group("head", {"head"}, ParamGroupOptions().lr_factor(4))
      .others("body");
  return groups.make_optimizer<AdamW>();
}

std::vector<double> rates_of(const torch::optim::Optimizer& optimizer) {
  std::vector<double> rates;
  for (const auto& group : optimizer.param_groups()) {
    rates.push_back(group.options().get_lr());
  }
  return rates;
}

// Rates of 0.04 times 1, 1, 1/16, 1/16 and 1/8 and their ratios are those of
// powers of two: exact.
const std::vector<double> kRatios = {1, 1, 0.0625, 0.0625, 0.125};

std::vector<double> over_the_first(const std::vector<double>& rates) {
  std::vector<double> ratios;
  for (const double rate : rates) ratios.push_back(rate / rates.front());
  return ratios;
}

// Its body is frozen from the third update to the eighth.
class FreezingRun {
 public:
  FreezingRun()
      : net(seeded()),
        optimizer(grouped_adamw(net)),
        scheduler(optimizer, parse("warmup 4 > cosine 12 to 0.1")),
        frozen(*net) {
    checkpoint.module("model", *net)
        .optimizer("optimizer", optimizer)
        .state("scheduler", scheduler)
        .state("frozen", frozen)
        .counter("step", step);
  }

  void train(int64_t until) {
    for (; step < until; ++step) {
      if (step == 3) freeze(*net, {"body"});
      if (step == 8) unfreeze(*net, {"body"});
      update(net, optimizer);
      scheduler.step();
    }
  }

  static GroupedNet seeded() {
    torch::manual_seed(6);
    return GroupedNet();
  }

  GroupedNet net;
  AdamW optimizer;
  ScheduleLR scheduler;
  FrozenState frozen;
  int64_t step = 0;
  Checkpoint checkpoint;
};

TEST(ParamGroupsRun, GoesOnBitForBitWhileParametersAreFrozen) {
  const TemporaryFolder folder;
  FreezingRun whole;
  whole.train(5);
  save_checkpoint(folder.file("run.ckpt"), whole.checkpoint);
  whole.train(14);

  FreezingRun resumed;
  load_checkpoint(folder.file("run.ckpt"), resumed.checkpoint);
  EXPECT_FALSE(resumed.net->body->weight.requires_grad());
  const auto body = resumed.net->body->weight.detach().clone();
  resumed.train(8);
  EXPECT_TRUE(torch::equal(resumed.net->body->weight, body));
  resumed.train(14);
  EXPECT_TRUE(same_parameters(*whole.net, *resumed.net));
  EXPECT_EQ(rates_of(whole.optimizer), rates_of(resumed.optimizer));
}

TEST(ParamGroupsRun, KeepsTheRatiosUnderASchedule) {
  FreezingRun run;
  for (int i = 1; i < 16; ++i) {
    run.train(i);
    EXPECT_EQ(over_the_first(rates_of(run.optimizer)), kRatios) << i;
  }
}

TEST(ParamGroupsRun, KeepsTheRatiosThroughARangeTest) {
  GroupedNet net = FreezingRun::seeded();
  AdamW optimizer = grouped_adamw(net);
  const auto result = lr_range_test(
      *net,
      optimizer,
      [&] {
        auto loss = net->loss();
        loss.backward();
        return loss;
      },
      LRRangeTestOptions().num_iterations(100));
  EXPECT_EQ(over_the_first(rates_of(optimizer)), kRatios);
  result.apply(optimizer, 0.003);
  EXPECT_EQ(rates_of(optimizer).front(), 0.003);
  EXPECT_EQ(over_the_first(rates_of(optimizer)), kRatios);
}

}  // namespace
}  // namespace stepsize::test
