#include <stepsize/optim/param_groups.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/torch.h>

#include <memory>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/optim/grouped_model.h"
#include "tests/support/error_text.h"

namespace stepsize::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using torch::optim::OptimizerParamGroup;
using torch::optim::SGDOptions;

std::vector<std::string> names_of(const std::vector<ParamGroupInfo>& groups) {
  std::vector<std::string> names;
  for (const auto& group : groups) names.push_back(group.name);
  return names;
}

std::vector<double> rates_of(const std::vector<ParamGroupInfo>& groups) {
  std::vector<double> rates;
  for (const auto& group : groups) rates.push_back(group.lr);
  return rates;
}

// What the builder makes against groups written by hand: a head with ten times
// the rate and a decay of its own, no decay for norm and biases.
template <typename Optimizer, typename Options>
void expect_as_by_hand(const Options& options) {
  const bool calls_backward = !find_traits(options)->wants_graph();
  torch::manual_seed(3);
  GroupedNet built;
  torch::manual_seed(3);
  GroupedNet by_hand;

  ParamGroups groups(built, options);
  groups.no_decay_for_norms_and_biases()
      .group(
          "head", {"head"}, ParamGroupOptions().lr_factor(10).weight_decay(0.3))
      .others("body");
  Optimizer optimizer = groups.template make_optimizer<Optimizer>();

  const double lr = options.get_lr();
  Options head(options);
  head.set_lr(lr * 10);
  head.weight_decay(0.3);
  Options head_bias(head);
  head_bias.weight_decay(0);
  Options rest(options);
  rest.weight_decay(0);
  const std::vector<Options> own = {head, head_bias, options, rest};
  const std::vector<std::vector<torch::Tensor>> tensors = {
      by_hand->of({"head.weight"}),
      by_hand->of({"head.bias"}),
      by_hand->of({"body.weight"}),
      by_hand->of({"body.bias", "norm.weight", "norm.bias"})};
  std::vector<OptimizerParamGroup> hand_groups;
  for (std::size_t g = 0; g < own.size(); ++g) {
    hand_groups.emplace_back(tensors[g], std::make_unique<Options>(own[g]));
  }
  Optimizer hand_optimizer(hand_groups, options);
  for (std::size_t g = 0; g < own.size(); ++g) {
    hand_optimizer.param_groups()[g].set_options(
        std::make_unique<Options>(own[g]));
  }

  const auto before = built->body->weight.detach().clone();
  for (int i = 0; i < 7; ++i) {
    update(built, optimizer, calls_backward);
    update(by_hand, hand_optimizer, calls_backward);
  }
  EXPECT_TRUE(same_parameters(*built, *by_hand));
  EXPECT_FALSE(torch::equal(built->body->weight, before));
}

TEST(ParamGroups, TrainAsThoseByHandWithLibTorchsOptimizers) {
  expect_as_by_hand<torch::optim::SGD>(
      SGDOptions(0.01).momentum(0.9).weight_decay(0.1));
  expect_as_by_hand<torch::optim::Adam>(
      torch::optim::AdamOptions(0.01).weight_decay(0.1));
  expect_as_by_hand<torch::optim::AdamW>(
      torch::optim::AdamWOptions(0.01).weight_decay(0.1));
  expect_as_by_hand<torch::optim::RMSprop>(
      torch::optim::RMSpropOptions(0.01).weight_decay(0.1));
  expect_as_by_hand<torch::optim::Adagrad>(
      torch::optim::AdagradOptions(0.01).weight_decay(0.1));
}

TEST(ParamGroups, TrainAsThoseByHandWithOurOptimizers) {
  expect_as_by_hand<ClippedSGD>(
      ClippedSGDOptions(0.01).momentum(0.9).weight_decay(0.1));
  expect_as_by_hand<ClippedAdamW>(ClippedAdamWOptions(0.01).weight_decay(0.1));
  RollbackSGDOptions rollback(0.01);
  rollback.weight_decay(0.1);
  expect_as_by_hand<RollbackSGD>(rollback);
  PowerMethodSGDOptions power;
  power.lr(0.1);
  power.weight_decay(0.1);
  expect_as_by_hand<PowerMethodSGD>(power);
  expect_as_by_hand<AutoSGD>(AutoSGDOptions());
}

// LibTorch 2.14 takes an option that equals the default of its class for unset.
TEST(ParamGroups, KeepTheOptionsThatEqualADefaultOfTheClass) {
  GroupedNet net;
  ParamGroups groups(net, SGDOptions(0.01).weight_decay(0.1));
  groups.no_decay_for_norms_and_biases()
      .group("head", {"head"}, ParamGroupOptions().lr_factor(0.1))
      .others("body");
  const auto optimizer = groups.make_optimizer<torch::optim::SGD>();
  const auto options = [&](std::size_t group) -> const SGDOptions& {
    return static_cast<const SGDOptions&>(
        optimizer.param_groups()[group].options());
  };
  EXPECT_EQ(options(0).weight_decay(), 0.1);
  EXPECT_EQ(options(1).weight_decay(), 0);
  EXPECT_EQ(options(1).lr(), 0.01 * 0.1);
  EXPECT_EQ(options(3).weight_decay(), 0);
  EXPECT_EQ(options(3).lr(), 0.01);
}

TEST(ParamGroups, AreOneWithoutARule) {
  GroupedNet net;
  ParamGroups groups(*net, SGDOptions(0.01));
  const auto built = groups.build();
  ASSERT_EQ(built.size(), 1U);
  const auto all = net->parameters();
  ASSERT_EQ(built[0].params().size(), all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_TRUE(built[0].params()[i].is_same(all[i]));
  }
  EXPECT_EQ(groups.infos()[0].name, "all");
}

struct RMSNormImpl : torch::nn::Module {
  RMSNormImpl() { register_parameter("gain", torch::ones({4, 1, 1})); }
};
// A norm by its name, yet what it holds is a matrix.
struct WeightNormImpl : torch::nn::Module {
  WeightNormImpl() { register_parameter("matrix", torch::ones({4, 4})); }
};
struct KindsImpl : torch::nn::Module {
  KindsImpl() {
    using namespace torch::nn;
    register_parameter("scale", torch::ones({4}));
    register_parameter("temperature", torch::ones({}));
    register_module("conv", Conv2d(3, 4, 3));
    register_module("batch", BatchNorm2d(4));
    register_module("layer", LayerNorm(LayerNormOptions({4, 3, 3})));
    register_module("group", GroupNorm(2, 4));
    register_module(
        "instance", InstanceNorm2d(InstanceNorm2dOptions(4).affine(true)));
    register_module("rms", std::make_shared<RMSNormImpl>());
    register_module("weight_norm", std::make_shared<WeightNormImpl>());
    register_module("embedding", Embedding(5, 4));
    register_module(
        "attention",
        MultiheadAttention(MultiheadAttentionOptions(4, 2).add_bias_kv(true)));
    register_module("lstm", LSTM(4, 4));
    register_module("prelu", PReLU());
    register_module("fc", Linear(4, 1));
  }
};

TEST(ParamGroups, KnowNormsByTheirTypeAndBiasesByTheirName) {
  const KindsImpl module;
  ParamGroups groups(module, SGDOptions(0.1).weight_decay(0.1));
  groups.no_decay_for_norms_and_biases();
  const auto infos = groups.infos();
  ASSERT_THAT(names_of(infos), ElementsAre("all", "all (no decay)"));
  EXPECT_THAT(
      infos[0].parameters,
      ElementsAre(
          "conv.weight",
          "weight_norm.matrix",
          "embedding.weight",
          "attention.in_proj_weight",
          "attention.out_proj.weight",
          "lstm.weight_ih_l0",
          "lstm.weight_hh_l0",
          "fc.weight"));
  EXPECT_THAT(
      infos[1].parameters,
      ElementsAre(
          "scale",
          "temperature",
          "conv.bias",
          "batch.weight",
          "batch.bias",
          "layer.weight",
          "layer.bias",
          "group.weight",
          "group.bias",
          "instance.weight",
          "instance.bias",
          "rms.gain",
          "attention.in_proj_bias",
          "attention.bias_k",
          "attention.bias_v",
          "attention.out_proj.bias",
          "lstm.bias_ih_l0",
          "lstm.bias_hh_l0",
          "prelu.weight",
          "fc.bias"));
  EXPECT_EQ(infos[0].weight_decay, 0.1);
  EXPECT_EQ(infos[1].weight_decay, 0);
}

TEST(ParamGroups, TakeDecayFromWhatIsNamed) {
  GroupedNet net;
  ParamGroups groups(net, SGDOptions(0.1).weight_decay(0.1));
  groups.no_decay_for({"head.weight"});
  EXPECT_THAT(groups.infos()[1].parameters, ElementsAre("head.weight"));
}

TEST(ParamGroups, LetOtherOptionsBeEdited) {
  GroupedNet net;
  ParamGroups groups(net, SGDOptions(0.5).weight_decay(0.1));
  groups
      .group(
          "head",
          {"head"},
          ParamGroupOptions().lr_factor(0.5),
          [](SGDOptions& options) {
            // Rate and decay of the group are there already.
            EXPECT_EQ(options.lr(), 0.25);
            options.momentum(0.5).weight_decay(0.2);
          })
      .others("body")
      .no_decay_for_norms_and_biases();
  const auto built = groups.build();
  const auto& head = static_cast<const SGDOptions&>(built[0].options());
  const auto& bias = static_cast<const SGDOptions&>(built[1].options());
  const auto& body = static_cast<const SGDOptions&>(built[2].options());
  EXPECT_EQ(head.momentum(), 0.5);
  EXPECT_EQ(head.weight_decay(), 0.2);
  EXPECT_EQ(bias.momentum(), 0.5);
  EXPECT_EQ(bias.weight_decay(), 0);
  EXPECT_EQ(body.momentum(), 0);
}

TEST(ParamGroups, LowerTheRatesFromHeadToBody) {
  GroupedNet net;
  ParamGroups by_child(net, SGDOptions(1.0));
  by_child.layer_decay(0.5);
  EXPECT_THAT(names_of(by_child.infos()), ElementsAre("body", "norm", "head"));
  EXPECT_THAT(rates_of(by_child.infos()), ElementsAre(0.25, 0.5, 1.0));

  // In an order of one's own, with a group and no decay across it.
  ParamGroups by_list(net, SGDOptions(1.0));
  by_list.layer_decay(0.5, {"norm", "head", "body"})
      .group("weights", {"*.weight"}, ParamGroupOptions().lr_factor(8))
      .others("biases");
  EXPECT_THAT(
      names_of(by_list.infos()),
      ElementsAre(
          "weights / norm",
          "weights / head",
          "weights / body",
          "biases / norm",
          "biases / head",
          "biases / body"));
  EXPECT_THAT(rates_of(by_list.infos()), ElementsAre(2, 4, 8, 0.25, 0.5, 1.0));
}

// A checkpoint goes by the order of the groups.
TEST(ParamGroups, HaveAnOrderThatNoValueChanges) {
  GroupedNet net;
  const auto names = [&](double decay, double factor) {
    ParamGroups groups(net, SGDOptions(0.1).weight_decay(decay));
    groups.others("body")
        .layer_decay(factor)
        .group("head", {"head"}, ParamGroupOptions().lr_factor(factor))
        .no_decay_for_norms_and_biases();
    return names_of(groups.infos());
  };
  EXPECT_THAT(
      names(0.1, 0.5),
      ElementsAre(
          "head / head",
          "head / head (no decay)",
          "body / body",
          "body / body (no decay)",
          "body / norm (no decay)"));
  EXPECT_EQ(names(0, 1), names(0.1, 0.5));
}

// The embedding's matrix serves as the head's, too.
struct TiedHeadImpl : torch::nn::Module {
  explicit TiedHeadImpl(const torch::Tensor& matrix) {
    register_parameter("weight", matrix);
  }
};
struct TiedImpl : torch::nn::Module {
  TiedImpl() {
    const torch::nn::Embedding embedding(5, 4);
    register_module("embedding", embedding);
    register_module("body", torch::nn::Linear(4, 4));
    register_module("head", std::make_shared<TiedHeadImpl>(embedding->weight));
  }
};

TEST(ParamGroups, TakeASharedParameterOnceUnderAllOfItsNames) {
  const TiedImpl module;
  ParamGroups groups(module, SGDOptions(1.0));
  groups.group("ends", {"head"}).others("body");
  const auto infos = groups.infos();
  ASSERT_THAT(names_of(infos), ElementsAre("ends", "body"));
  EXPECT_THAT(infos[0].parameters, ElementsAre("embedding.weight"));
  EXPECT_EQ(infos[0].values, 20);
  EXPECT_THAT(infos[1].parameters, ElementsAre("body.weight", "body.bias"));

  // It is as slow as the layer that it belongs to first.
  ParamGroups layers(module, SGDOptions(1.0));
  layers.layer_decay(0.5, {"embedding", "body", "head"});
  EXPECT_THAT(names_of(layers.infos()), ElementsAre("embedding", "body"));
  EXPECT_THAT(rates_of(layers.infos()), ElementsAre(0.25, 0.5));
}

TEST(ParamGroups, RefuseASharedParameterInTwoGroups) {
  const TiedImpl module;
  ParamGroups groups(module, SGDOptions(1.0));
  groups.group("first", {"embedding"});
  EXPECT_THAT(
      message_of([&] { groups.group("last", {"head"}); }),
      HasSubstr(
          "parameter 'embedding.weight' (shared, also 'head.weight') is in two "
          "groups, 'first' and 'last'"));
}

TEST(ParamGroups, RefuseAParameterInNoGroupAndChangeNothing) {
  GroupedNet net;
  ParamGroups groups(net, SGDOptions(0.1));
  groups.group("norm", {"norm"});
  EXPECT_THAT(
      message_of([&] { groups.build(); }),
      HasSubstr("ParamGroups: 'body.weight', 'body.bias', 'head.weight' and "
                "'head.bias' are in no group; others() makes one"));
  // Of a call that is refused nothing stays.
  EXPECT_THAT(
      message_of([&] {
        groups.group("all", {"body", "norm.bias"});
      }),
      HasSubstr("parameter 'norm.bias' is in two groups, 'norm' and 'all'"));
  groups.others("rest");
  EXPECT_THAT(names_of(groups.infos()), ElementsAre("norm", "rest"));
  EXPECT_EQ(groups.infos()[1].parameters.size(), 4U);
}

TEST(ParamGroups, RefuseWhatCannotBeMeant) {
  GroupedNet net;
  ParamGroups groups(net, SGDOptions(0.1));
  const auto said = [&](const auto& call) {
    return message_of([&] { call(groups); });
  };
  EXPECT_THAT(
      said([](auto& g) { g.group("head", {"haed.*"}); }),
      HasSubstr("ParamGroups: the pattern 'haed.*' of group 'head' matches no "
                "parameter; did you mean 'head'?"));
  EXPECT_THAT(
      said([](auto& g) { g.group("head", {}); }),
      HasSubstr("group 'head' must have a pattern"));
  EXPECT_THAT(
      said([](auto& g) { g.group("", {"head"}); }),
      HasSubstr("the name of a group must not be empty"));
  EXPECT_THAT(
      said([](auto& g) { g.others("head").group("head", {"head"}); }),
      HasSubstr("two groups of the name 'head'"));
  EXPECT_THAT(
      said([](auto& g) { g.others("body"); }),
      HasSubstr("others() must be called once, got 'head' and 'body'"));
  EXPECT_THAT(
      said([](auto& g) {
        g.group("body", {"body"}, ParamGroupOptions().lr_factor(-1));
      }),
      HasSubstr("lr_factor must be finite and >= 0, got -1"));
  EXPECT_THAT(
      said([](auto& g) { g.no_decay_for({"emb"}); }),
      HasSubstr("'emb' of no_decay_for() matches no parameter"));
  EXPECT_THAT(
      said([](auto& g) { g.layer_decay(1.5); }),
      HasSubstr("factor of layer_decay must be in (0, 1], got 1.5"));
  EXPECT_THAT(
      said([](auto& g) {
        g.layer_decay(0.5, {"body", "norm"});
      }),
      HasSubstr("layer_decay: 'head.weight' and 'head.bias' are in no layer"));
  EXPECT_THAT(
      said([](auto& g) {
        g.layer_decay(0.5, {"*", "head"});
      }),
      HasSubstr("parameter 'head.weight' is in the layers '*' and 'head'"));
  EXPECT_THAT(
      said([](auto& g) { g.layer_decay(0.5).layer_decay(0.5); }),
      HasSubstr("layer_decay must be called once"));
}

TEST(ParamGroups, RefuseAModuleWithoutParameters) {
  EXPECT_THAT(
      message_of([] { ParamGroups(torch::nn::ReLU(), SGDOptions(0.1)); }),
      HasSubstr("must have a parameter, got torch::nn::ReLUImpl"));
}

TEST(ParamGroups, RefuseLayersForAParameterOutsideOfAllChildren) {
  const KindsImpl module;
  ParamGroups groups(module, SGDOptions(0.1));
  EXPECT_THAT(
      message_of([&] { groups.layer_decay(0.5); }),
      HasSubstr("'scale' is in no child of the module; name the layers"));
}

TEST(ParamGroups, GiveLBFGSOneGroupAndNoMore) {
  GroupedNet net;
  ParamGroups groups(net, torch::optim::LBFGSOptions(0.1));
  auto optimizer = groups.make_optimizer<torch::optim::LBFGS>();
  const double before = net->loss().item<double>();
  update(net, optimizer);
  EXPECT_LT(net->loss().item<double>(), before);
  EXPECT_FALSE(groups.infos()[0].weight_decay);

  EXPECT_THAT(
      message_of([&] { groups.no_decay_for_norms_and_biases(); }),
      HasSubstr("wants options with a weight_decay, got "
                "torch::optim::LBFGSOptions"));
  groups.group("head", {"head"}).others("body");
  EXPECT_THAT(
      message_of([&] { groups.build(); }),
      HasSubstr("torch::optim::LBFGS must have one parameter group, got 2"));
}

TEST(ParamGroups, RefuseToSetTheOptionsOfOtherGroups) {
  GroupedNet net;
  GroupedNet other;
  ParamGroups groups(net, SGDOptions(0.1));
  torch::optim::SGD optimizer(other->parameters(), SGDOptions(0.7));
  EXPECT_THAT(
      message_of([&] { groups.set_options(optimizer); }),
      HasSubstr("wants an optimizer made from build()"));
  EXPECT_EQ(optimizer.param_groups()[0].options().get_lr(), 0.7);
}

TEST(ParamGroups, PrintATable) {
  GroupedNet net;
  net->body->bias.set_requires_grad(false);
  ParamGroups groups(net, SGDOptions(0.01).weight_decay(5e-4));
  groups.no_decay_for_norms_and_biases()
      .group("head", {"head"}, ParamGroupOptions().lr_factor(10))
      .others("body");
  std::ostringstream text;
  text << groups;
  EXPECT_EQ(
      text.str(),
      "group            parameters                 tensors  frozen  values"
      "    lr  decay\n"
      "head             head                             1       0       8"
      "   0.1  5e-04\n"
      "head (no decay)  head                             1       0       2"
      "   0.1      0\n"
      "body             body.weight                      1       0      12"
      "  0.01  5e-04\n"
      "body (no decay)  body.bias, ...                   3       1      12"
      "  0.01      0\n");
}

TEST(ParamGroups, PrintNoMoreThan80Columns) {
  torch::nn::Sequential deep;
  for (int i = 0; i < 3; ++i) {
    deep->push_back(
        "a_block_with_a_name_that_is_long_" + std::to_string(i),
        torch::nn::Linear(300, 300));
  }
  ParamGroups groups(deep, torch::optim::AdamWOptions(0.00123456));
  groups.no_decay_for_norms_and_biases().layer_decay(0.789);
  std::istringstream lines(groups.to_string());
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_LE(line.size(), 80U) << line;
  }
  EXPECT_EQ(count, 7);
}

}  // namespace
}  // namespace stepsize::test
