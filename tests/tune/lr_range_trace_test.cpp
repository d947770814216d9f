#include <stepsize/tune/lr_range_test.h>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <stdexcept>
#include <vector>

#include "tests/support/leaf.h"
#include "tests/tune/lr_range_runs.h"

namespace stepsize {
namespace {

using test::copies;
using test::leaf;
using test::same_bits;

// A run of a network with one of the table's optimizers.
class TracedRun {
 public:
  explicit TracedRun(const test::MakeOptimizer& make) {
    torch::manual_seed(7);
    net = test::small_net();
    optimizer = make(net->parameters());
  }

  bool returns_graph() const {
    const auto* const traits = find_traits(*optimizer);
    return traits != nullptr && traits->wants_graph();
  }

  torch::Tensor pass() {
    if (!returns_graph()) optimizer->zero_grad();
    auto loss = test::random_loss(net);
    if (!returns_graph()) loss.backward();
    return loss;
  }

  void train(int steps) {
    for (int i = 0; i < steps; ++i) {
      const auto loss = optimizer->step([this] { return pass(); });
      losses.push_back(loss.item<double>());
    }
  }

  LRRangeTestOptions options() const {
    return LRRangeTestOptions().num_iterations(25).start_lr(1e-4).closure(
        returns_graph() ? LRClosure::kReturnsGraph : LRClosure::kCallsBackward);
  }

  torch::nn::Sequential net;
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  std::vector<double> losses;
};

TEST(LRRangeTrace, TrainingGoesOnAsIfThereHadBeenNoTest) {
  for (const auto& [name, make] : test::optimizer_table()) {
    TracedRun plain(make);
    plain.train(12);
    TracedRun tested(make);
    tested.train(5);
    const auto before = copies(tested.net->parameters());
    int moved = 0;
    for (int twice = 0; twice < 2; ++twice) {
      const auto result = lr_range_test(
          *tested.net,
          *tested.optimizer,
          [&] {
            moved += !same_bits(before, tested.net->parameters());
            return tested.pass();
          },
          tested.options());
      EXPECT_GT(result.lrs.size(), 3u) << name;
    }
    // The test has done something to take back.
    EXPECT_GT(moved, 4) << name;
    tested.train(7);
    EXPECT_EQ(plain.losses, tested.losses) << name;
    EXPECT_TRUE(same_bits(plain.net->parameters(), tested.net->parameters()))
        << name;
    EXPECT_TRUE(same_bits(plain.net->buffers(), tested.net->buffers())) << name;
  }
}

TEST(LRRangeTrace, BeforeTheFirstStepToo) {
  for (const auto& [name, make] : test::optimizer_table()) {
    TracedRun plain(make);
    plain.train(4);
    TracedRun tested(make);
    lr_range_test(
        *tested.net,
        *tested.optimizer,
        [&] { return tested.pass(); },
        tested.options().accumulation_steps(2));
    tested.train(4);
    EXPECT_EQ(plain.losses, tested.losses) << name;
  }
}

TEST(LRRangeTrace, AClosureThatThrowsLeavesNoneEither) {
  for (const auto& [name, make] : test::optimizer_table()) {
    TracedRun plain(make);
    plain.train(8);
    TracedRun tested(make);
    tested.train(4);
    int calls = 0;
    const auto throwing = [&] {
      tested.net->eval();
      tested.net->train();
      if (++calls > 6) throw std::logic_error("no more data");
      return tested.pass();
    };
    EXPECT_THROW(
        lr_range_test(
            *tested.net, *tested.optimizer, throwing, tested.options()),
        std::logic_error)
        << name;
    tested.train(4);
    EXPECT_EQ(plain.losses, tested.losses) << name;
  }
}

TEST(LRRangeTrace, GradientsAndFlagsAreTheOnesOfBefore) {
  torch::manual_seed(1);
  auto net = test::small_net();
  auto parameters = net->parameters();
  parameters[0].set_requires_grad(false);
  torch::optim::SGD optimizer(parameters, torch::optim::SGDOptions(0.1));
  test::random_loss(net).backward();
  parameters[1].mutable_grad().reset();
  std::vector<torch::Tensor> gradients;
  for (const auto& parameter : parameters) {
    gradients.push_back(parameter.grad());
  }
  const auto values = copies(gradients);
  net[3]->eval();
  lr_range_test(*net, optimizer, [&] {
    auto loss = test::random_loss(net);
    loss.backward();
    net->eval();
    net[0]->train();
    return loss;
  });
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_EQ(parameters[i].requires_grad(), i != 0) << i;
    EXPECT_EQ(parameters[i].grad().defined(), i > 1) << i;
    EXPECT_TRUE(parameters[i].grad().is_same(gradients[i])) << i;
  }
  EXPECT_TRUE(same_bits(gradients, values));
  EXPECT_TRUE(net->is_training());
  EXPECT_TRUE(net[0]->is_training());
  EXPECT_FALSE(net[3]->is_training());
  EXPECT_TRUE(net[4]->is_training());
}

TEST(LRRangeTrace, OptionsOfEachGroupStayAndReferencesToThem) {
  auto first = leaf({1, 2});
  auto second = leaf({3});
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{first});
  groups.emplace_back(std::vector<torch::Tensor>{second});
  torch::optim::SGD optimizer(
      groups, torch::optim::SGDOptions(0.1).momentum(0.5));
  auto& options = static_cast<torch::optim::SGDOptions&>(
      optimizer.param_groups()[1].options());
  options.lr(0.025).momentum(0.25);
  torch::optim::StepLR scheduler(optimizer, 2, 0.5);
  lr_range_test({first, second}, optimizer, [&] {
    auto loss = (first.square().sum() + second.square().sum());
    loss.backward();
    return loss;
  });
  EXPECT_EQ(optimizer.param_groups()[0].options().get_lr(), 0.1);
  EXPECT_EQ(options.lr(), 0.025);
  EXPECT_EQ(options.momentum(), 0.25);
  EXPECT_EQ(&options, &optimizer.param_groups()[1].options());
  EXPECT_TRUE(optimizer.state().empty());
  // LibTorch's own lowers the rate in its third step.
  for (int i = 0; i < 3; ++i) scheduler.step();
  EXPECT_EQ(optimizer.param_groups()[0].options().get_lr(), 0.05);
  EXPECT_EQ(options.lr(), 0.0125);
}

TEST(LRRangeTrace, NamedBuffersAndGeneratorsArePutBack) {
  auto w = leaf({1, 2});
  auto calls = torch::zeros({1});
  auto generator = at::detail::createCPUGenerator(3);
  torch::optim::SGD optimizer({w}, torch::optim::SGDOptions(0.1));
  const auto before = generator.get_state().clone();
  lr_range_test(
      {w},
      optimizer,
      [&] {
        calls.add_(1);
        auto loss = (w.square() * (1 + torch::rand({2}, generator))).sum();
        loss.backward();
        return loss;
      },
      LRRangeTestOptions().buffers({calls}).generators({generator}));
  EXPECT_EQ(calls.item<double>(), 0);
  EXPECT_TRUE(torch::equal(generator.get_state(), before));
}

TEST(LRRangeTrace, FrozenParametersOfTheModuleArePutBack) {
  torch::manual_seed(2);
  auto net = test::small_net();
  torch::optim::SGD optimizer(
      net[4]->parameters(), torch::optim::SGDOptions(0.1));
  const auto before = copies(net->parameters());
  lr_range_test(*net, optimizer, [&] {
    auto loss = test::random_loss(net);
    loss.backward();
    torch::NoGradGuard no_grad;
    net[0]->parameters()[0].mul_(1.01);
    return loss;
  });
  EXPECT_TRUE(same_bits(before, net->parameters()));
  for (const auto& parameter : net->parameters()) {
    EXPECT_FALSE(parameter.grad().defined());
  }
}

TEST(LRRangeTrace, RunsOnTheGPUWithoutATrace) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "needs a CUDA device";
  const torch::Device device(torch::kCUDA);
  const auto run = [&](bool test) {
    torch::manual_seed(5);
    auto net = test::small_net();
    net->to(device);
    ClippedAdamW optimizer(net->parameters(), ClippedAdamWOptions(0.01));
    const auto pass = [&] {
      optimizer.zero_grad();
      const auto x = torch::randn({16, 6}, device);
      auto loss = torch::nn::functional::cross_entropy(
          net->forward(x), x.slice(1, 0, 3).argmax(1));
      loss.backward();
      return loss;
    };
    for (int i = 0; i < 4; ++i) optimizer.step(pass);
    if (test) {
      EXPECT_GT(lr_range_test(*net, optimizer, pass).lrs.size(), 20u);
    }
    for (int i = 0; i < 4; ++i) optimizer.step(pass);
    return copies(net->parameters());
  };
  EXPECT_TRUE(same_bits(run(false), run(true)));
}

}  // namespace
}  // namespace stepsize
