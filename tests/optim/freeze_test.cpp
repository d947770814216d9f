#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/freeze.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/torch.h>

#include <sstream>
#include <string>
#include <type_traits>

#include "tests/optim/grouped_model.h"
#include "tests/support/error_text.h"

namespace stepsize::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Freeze, TurnsGradientsOffAndOnByName) {
  GroupedNet net;
  net->loss().backward();
  EXPECT_THAT(
      freeze(*net, {"body", "*.bias"}),
      ElementsAre("body.weight", "body.bias", "norm.bias", "head.bias"));
  EXPECT_FALSE(net->body->weight.requires_grad());
  EXPECT_FALSE(net->body->weight.grad().defined());
  EXPECT_TRUE(net->head->weight.grad().defined());
  EXPECT_THAT(freeze(*net, {"body"}), IsEmpty());
  EXPECT_THAT(
      unfreeze(*net, {"body.*"}), ElementsAre("body.weight", "body.bias"));
  EXPECT_THAT(frozen_parameters(*net), ElementsAre("norm.bias", "head.bias"));
  EXPECT_TRUE(net->body->weight.requires_grad());
}

// A thawed parameter trains on; a gradient that is there outlives the call.
TEST(Freeze, LeavesTheGradientsOfWhatWasNotFrozen) {
  GroupedNet net;
  net->loss().backward();
  EXPECT_THAT(unfreeze(*net, {"*"}), IsEmpty());
  EXPECT_TRUE(net->body->weight.grad().defined());
}

TEST(Freeze, RefusesAPatternThatMatchesNothingAndChangesNothing) {
  GroupedNet net;
  EXPECT_THAT(
      message_of([&] {
        freeze(*net, {"head", "bdoy"});
      }),
      HasSubstr("freeze: the pattern 'bdoy' matches no parameter; did you mean "
                "'body'?"));
  EXPECT_THAT(frozen_parameters(*net), IsEmpty());
  EXPECT_THAT(
      message_of([&] { unfreeze(*net, {}); }),
      HasSubstr("unfreeze: there must be a pattern"));
}

// Momentum and weight decay would move what has a gradient of zeros.
template <typename Optimizer, typename Options>
void expect_still(Options options) {
  const bool calls_backward = !find_traits(options)->wants_graph();
  torch::manual_seed(4);
  GroupedNet net;
  options.weight_decay(0.1);
  Optimizer optimizer(net->parameters(), options);
  for (int i = 0; i < 3; ++i) update(net, optimizer, calls_backward);
  freeze(*net, {"body"});
  const auto frozen = net->body->weight.detach().clone();
  const auto other = net->head->weight.detach().clone();
  for (int i = 0; i < 3; ++i) update(net, optimizer, calls_backward);
  EXPECT_TRUE(torch::equal(net->body->weight, frozen));
  EXPECT_FALSE(torch::equal(net->head->weight, other));
  unfreeze(*net, {"body"});
  for (int i = 0; i < 3; ++i) update(net, optimizer, calls_backward);
  EXPECT_FALSE(torch::equal(net->body->weight, frozen));
}

TEST(Freeze, KeepsEveryOptimizerFromMovingAParameter) {
  expect_still<torch::optim::SGD>(torch::optim::SGDOptions(0.1).momentum(0.9));
  expect_still<torch::optim::Adam>(torch::optim::AdamOptions(0.01));
  expect_still<torch::optim::AdamW>(torch::optim::AdamWOptions(0.01));
  expect_still<torch::optim::RMSprop>(torch::optim::RMSpropOptions(0.01));
  expect_still<torch::optim::Adagrad>(torch::optim::AdagradOptions(0.01));
  expect_still<ClippedSGD>(ClippedSGDOptions(0.1).momentum(0.9));
  expect_still<ClippedAdamW>(ClippedAdamWOptions(0.01));
  RollbackSGDOptions rollback(0.1);
  rollback.momentum(0.9);
  expect_still<RollbackSGD>(rollback);
  expect_still<PowerMethodSGD>(PowerMethodSGDOptions());
  expect_still<AutoSGD>(AutoSGDOptions());
}

// By hand: with momentum 1/2, rate 1 and gradient 1 the buffer is 1 after the
// first update; two more while frozen change nothing; the next makes it 3/2.
TEST(Freeze, LetsTheOptimizerGoOnWithItsState) {
  torch::nn::Linear line(torch::nn::LinearOptions(1, 1).bias(false));
  {
    const torch::NoGradGuard no_grad;
    line->weight.fill_(0);
  }
  torch::optim::SGD optimizer(
      line->parameters(), torch::optim::SGDOptions(1).momentum(0.5));
  const auto step = [&] {
    optimizer.zero_grad();
    if (line->weight.requires_grad()) line->weight.sum().backward();
    optimizer.step();
    return line->weight.item<double>();
  };
  EXPECT_EQ(step(), -1);
  freeze(*line, {"weight"});
  EXPECT_EQ(step(), -1);
  EXPECT_EQ(step(), -1);
  unfreeze(*line, {"weight"});
  EXPECT_EQ(step(), -2.5);
}

TEST(FrozenState, IsSavedAndLoaded) {
  GroupedNet net;
  freeze(*net, {"body", "norm.bias"});
  std::stringstream file;
  torch::serialize::OutputArchive out;
  FrozenState(*net).save(out);
  out.save_to(file);

  GroupedNet other;
  freeze(*other, {"head"});
  other->loss().backward();
  torch::serialize::InputArchive in;
  in.load_from(file);
  FrozenState(*other).load(in);
  EXPECT_THAT(
      frozen_parameters(*other),
      ElementsAre("body.weight", "body.bias", "norm.bias"));
  EXPECT_FALSE(other->body->weight.grad().defined());
  EXPECT_TRUE(other->norm->weight.grad().defined());
}

TEST(FrozenState, RefusesOtherNamesAndChangesNothing) {
  GroupedNet net;
  freeze(*net, {"*"});
  std::stringstream file;
  torch::serialize::OutputArchive out;
  FrozenState(*net).save(out);
  out.save_to(file);

  const auto load = [&](torch::nn::Module& module) {
    file.clear();
    file.seekg(0);
    torch::serialize::InputArchive in;
    in.load_from(file);
    FrozenState(module).load(in);
  };
  torch::nn::Linear small(2, 2);
  EXPECT_THAT(
      message_of([&] { load(*small); }),
      HasSubstr("FrozenState: the archive has 6 parameters, the module 2"));
  torch::nn::Sequential same_count(
      torch::nn::Linear(3, 4),
      torch::nn::Linear(4, 4),
      torch::nn::Linear(4, 2));
  EXPECT_THAT(
      message_of([&] { load(*same_count); }),
      HasSubstr("parameter 0 is 'body.weight' in the archive, '0.weight'"));
  EXPECT_THAT(frozen_parameters(*same_count), IsEmpty());
}

}  // namespace
}  // namespace stepsize::test
