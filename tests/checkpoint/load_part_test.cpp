// Some tensors of a module: a new head, a body, another wrapping.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adamw.h>

#include <cstdint>
#include <memory>
#include <string>

#include "tests/checkpoint/loaded.h"
#include "tests/checkpoint/temporary_folder.h"
#include "tests/support/error_text.h"

namespace stepsize {
namespace {

using test::bits_of;
using test::lines_of;
using test::message_of;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

// A body and a head of so many classes.
struct Net : torch::nn::Module {
  explicit Net(int64_t classes, double fill = 0)
      : body(register_module("body", torch::nn::Linear(3, 4))),
        head(register_module("head", torch::nn::Linear(4, classes))) {
    const torch::NoGradGuard no_grad;
    for (auto& parameter : parameters()) parameter.fill_(fill);
  }
  torch::nn::Linear body;
  torch::nn::Linear head;
};

double sum_of(const torch::nn::Module& module) {
  double sum = 0;
  for (const auto& tensor : module.parameters()) {
    sum += tensor.sum().item<double>();
  }
  return sum;
}

class LoadPart : public testing::Test {
 protected:
  void save(Net& net) {
    save_checkpoint(path, Checkpoint().module("net", net));
  }

  std::string refusal(Net& net, const LoadOptions& options) {
    const double before = sum_of(net);
    Checkpoint checkpoint;
    checkpoint.module("net", net);
    const std::string message =
        message_of([&] { load_checkpoint(path, checkpoint, options); });
    EXPECT_EQ(sum_of(net), before);
    return message;
  }

  LoadResult load(torch::nn::Module& net, const LoadOptions& options) {
    Checkpoint checkpoint;
    checkpoint.module("net", net);
    return load_checkpoint(path, checkpoint, options);
  }

  test::TemporaryFolder folder;
  std::string path = folder.file("run.ckpt");
};

// Ten classes in the file, two here.
TEST_F(LoadPart, ANewHeadBesideALoadedBody) {
  Net saved(10, 1);
  save(saved);
  Net net(2, 3);
  EXPECT_THAT(refusal(net, {}), HasSubstr("the file does not fit"));
  const LoadResult result = load(net, LoadOptions().what_fits(true));
  EXPECT_THAT(
      lines_of(result.loaded),
      ElementsAre(
          "module 'net': 2 of 4 parameters and buffers", "the random state"));
  EXPECT_THAT(
      lines_of(result.left_out),
      ElementsAre(
          "module 'net': parameter 'head.weight': is Float of [10, 4] "
          "in the file, Float of [2, 4] here",
          "module 'net': parameter 'head.bias': is Float of [10] in "
          "the file, Float of [2] here"));
  EXPECT_EQ(sum_of(*net.body), 16);
  EXPECT_EQ(sum_of(*net.head), 30);
}

// An optimizer's state goes by position: it is the file's or it is left.
TEST_F(LoadPart, TheOptimizerOfAnotherHeadStaysAsItIs) {
  Net saved(10, 1);
  torch::optim::AdamW first(saved.parameters());
  Checkpoint whole;
  whole.module("net", saved).optimizer("adamw", first);
  save_checkpoint(path, whole);
  Net net(2, 3);
  torch::optim::AdamW second(net.parameters(), torch::optim::AdamWOptions(0.7));
  Checkpoint checkpoint;
  checkpoint.module("net", net).optimizer("adamw", second);
  const LoadResult result =
      load_checkpoint(path, checkpoint, LoadOptions().what_fits(true));
  EXPECT_EQ(
      lines_of(result.left_out).back(),
      "optimizer 'adamw': parameter 2 of group 0 is Float of [10, 4] in the "
      "file, Float of [2, 4] here; parameter 3 of group 0 is Float of [10] in "
      "the file, Float of [2] here");
  EXPECT_EQ(second.param_groups()[0].options().get_lr(), 0.7);
  EXPECT_EQ(sum_of(*net.body), 16);
}

// As asked: what is left must fit to the last parameter.
TEST_F(LoadPart, TheBodyWithoutTheHead) {
  Net saved(10, 1);
  save(saved);
  Net net(2, 3);
  const LoadResult result =
      load(net, LoadOptions().only({"net"}).leave_out_tensors({"head"}));
  EXPECT_EQ(
      lines_of(result.left_out),
      std::vector<std::string>(
          {"module 'net': parameter 'head.weight': as asked",
           "module 'net': parameter 'head.bias': as asked"}));
  EXPECT_EQ(sum_of(*net.body), 16);
  EXPECT_EQ(sum_of(*net.head), 30);
  Net again(2, 3);
  load(again, LoadOptions().only_tensors({"body.*"}));
  EXPECT_EQ(sum_of(*again.body), 16);
  EXPECT_THAT(
      refusal(net, LoadOptions().leave_out_tensors({"head.bias"})),
      EndsWith(": the file does not fit:\n  module 'net': parameter "
               "'head.weight' is Float of [10, 4] in the file, Float of [2, 4] "
               "here"));
}

// Of the whole model in the file the body alone is there.
TEST_F(LoadPart, ABodyFromAWholeModel) {
  Net saved(10, 1);
  save(saved);
  torch::nn::Linear body(3, 4);
  const auto options =
      LoadOptions().rename_prefix("body.", "").leave_out_tensors({"head"});
  const LoadResult result = load(*body, options);
  EXPECT_EQ(result.loaded[0].reason, "");
  EXPECT_EQ(sum_of(*body), 16);
}

TEST_F(LoadPart, AWholeModelFromABody) {
  torch::nn::Linear body(3, 4);
  torch::nn::init::constant_(body->weight, 1);
  torch::nn::init::constant_(body->bias, 1);
  save_checkpoint(path, Checkpoint().module("net", body));
  Net net(2, 3);
  const auto options =
      LoadOptions().rename_prefix("", "body.").leave_out_tensors({"head"});
  load(net, options);
  EXPECT_EQ(sum_of(*net.body), 16);
  EXPECT_EQ(sum_of(*net.head), 30);
}

// One module around another, as data parallelism makes them.
TEST_F(LoadPart, AModelThatWasWrapped) {
  struct Wrapper : torch::nn::Module {
    Wrapper()
        : module(register_module("module", std::make_shared<Net>(2, 1))) {}
    std::shared_ptr<Net> module;
  };
  Wrapper wrapper;
  save_checkpoint(path, Checkpoint().module("net", wrapper));
  Net net(2, 3);
  EXPECT_THAT(
      refusal(net, {}),
      HasSubstr("parameter 'module.body.bias' is in the file alone"));
  const LoadResult result =
      load(net, LoadOptions().rename_prefix("module.", ""));
  EXPECT_TRUE(result.complete());
  EXPECT_EQ(sum_of(net), 26);
}

TEST_F(LoadPart, TwoNamesThatBecomeOneAreRefused) {
  struct Two : torch::nn::Module {
    Two()
        : a(register_module("a", torch::nn::Linear(1, 1))),
          b(register_module("b", torch::nn::Linear(1, 1))) {}
    torch::nn::Linear a, b;
  };
  Two two;
  save_checkpoint(path, Checkpoint().module("net", two));
  EXPECT_THAT(
      message_of([&] { load(two, LoadOptions().rename_prefix("a.", "b.")); }),
      HasSubstr("two of the parameters of the file become 'b.weight'"));
}

TEST_F(LoadPart, TensorsThatOneSideLacksAreListed) {
  torch::nn::Linear saved(torch::nn::LinearOptions(3, 2).bias(false));
  save_checkpoint(path, Checkpoint().module("net", saved));
  torch::nn::Linear linear(3, 2);
  EXPECT_THAT(
      lines_of(load(*linear, LoadOptions().what_fits(true)).not_found),
      ElementsAre("module 'net': parameter 'bias': is not in the file"));
  save_checkpoint(path, Checkpoint().module("net", linear));
  EXPECT_THAT(
      lines_of(load(*saved, LoadOptions().what_fits(true)).left_out),
      ElementsAre("module 'net': parameter 'bias': is in the file alone"));
}

TEST_F(LoadPart, NothingAtAllIsNoLoad) {
  Net saved(10, 1);
  save(saved);
  torch::nn::Linear other(7, 7);
  const std::string before = bits_of(*other);
  Checkpoint checkpoint;
  checkpoint.module("net", other).random_state(false);
  EXPECT_THAT(
      message_of([&] {
        load_checkpoint(path, checkpoint, LoadOptions().what_fits(true));
      }),
      HasSubstr(": nothing of the file is loaded:\n"));
  EXPECT_EQ(bits_of(*other), before);
}

TEST_F(LoadPart, NamesThatAreNowhereAreRefused) {
  Net saved(10, 1);
  save(saved);
  Net net(10, 3);
  EXPECT_EQ(
      refusal(net, LoadOptions().only({"nte"})),
      "load_checkpoint: " + path +
          ": only: 'nte' is neither in the file nor in the Checkpoint, which "
          "have 'net'");
  EXPECT_THAT(
      refusal(net, LoadOptions().leave_out({"nte"})),
      HasSubstr(": leave_out: 'nte'"));
  EXPECT_THAT(
      refusal(net, LoadOptions().what_fits_of({"nte"})),
      HasSubstr(": what_fits_of: 'nte'"));
  EXPECT_THAT(
      refusal(net, LoadOptions().leave_out_tensors({"haed"})),
      HasSubstr(": leave_out_tensors: 'haed' is the name of no parameter or "
                "buffer that is loaded; did you mean 'head'"));
  EXPECT_THAT(
      refusal(net, LoadOptions().only_tensors({"body", "haed"})),
      HasSubstr(": only_tensors: 'haed'"));
}

}  // namespace
}  // namespace stepsize
