// The code of docs/optimizers.md and docs/kernels.md, and the one of
// CurvatureLR in docs/lr_scheduler.md, word for word: scripts/check_docs.py
// looks for it.

#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/kernels/compact_state.h>
#include <stepsize/kernels/grad_norm.h>
#include <stepsize/kernels/sgd.h>
#include <stepsize/lr_scheduler/curvature_lr.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/autocast.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/freeze.h>
#include <stepsize/optim/grad_scaler.h>
#include <stepsize/optim/gradient_norm_rollback.h>
#include <stepsize/optim/param_groups.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <stepsize/optim/z_clip.h>
#include <torch/torch.h>

#include <cmath>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/docs/page.h"

// A snippet that begins with the includes of a program.
namespace kernels_page {

// clang-format off
using namespace stepsize;

void train(
    torch::nn::Linear model, torch::Tensor inputs, torch::Tensor targets) {
  const std::vector<torch::Tensor> params = model->parameters();
  std::vector<torch::Tensor> momentum_buffers;
  for (const torch::Tensor& param : params) {
    momentum_buffers.push_back(torch::zeros_like(param));
  }
  SGDHyperparameters numbers;
  numbers.lr = 0.1;
  numbers.momentum = 0.9;
  for (int step = 0; step < 100; ++step) {
    model->zero_grad();
    torch::mse_loss(model->forward(inputs), targets).backward();
    std::vector<torch::Tensor> grads;
    for (const torch::Tensor& param : params) grads.push_back(param.grad());

    torch::Tensor norm = global_norm(grads);  // float64, stays on its device
    torch::Tensor coefficient = clip_coefficient(norm, /*max_norm=*/1.0);
    // One flag a parameter: whether its buffer is still without content.
    const bool first = step == 0;
    sgd_step(
        params, grads, momentum_buffers, {first, first}, numbers, coefficient);
  }
}
// clang-format on

}  // namespace kernels_page

namespace stepsize {
namespace {

// A line that can be fitted, and a model that has not been yet.
class OptimizersPage : public testing::Test {
 protected:
  OptimizersPage() {
    torch::manual_seed(1);
    model = torch::nn::Linear(3, 1);
    inputs = torch::randn({32, 3});
    targets = inputs.sum(1, /*keepdim=*/true);
  }

  double loss() {
    const torch::NoGradGuard no_grad;
    return torch::mse_loss(model->forward(inputs), targets).item<double>();
  }

  torch::nn::Linear model{nullptr};
  torch::Tensor inputs;
  torch::Tensor targets;
};

TEST_F(OptimizersPage, ClippedSGDMovesDown) {
  const double before = loss();
  stepsize::ClippedSGD optimizer(
      model->parameters(),
      stepsize::ClippedSGDOptions(0.1).momentum(0.9).max_norm(1.0));
  torch::mse_loss(model->forward(inputs), targets).backward();
  optimizer.step();
  EXPECT_LT(loss(), before);
}

TEST_F(OptimizersPage, RollbackSGDMovesDown) {
  const double before = loss();
  stepsize::RollbackSGD optimizer(
      model->parameters(), stepsize::RollbackSGDOptions(0.1).momentum(0.9));
  optimizer.step([&] {
    optimizer.zero_grad();
    auto loss = torch::mse_loss(model->forward(inputs), targets);
    loss.backward();
    return loss;
  });
  EXPECT_LT(loss(), before);
}

TEST_F(OptimizersPage, TheGuardStepsAdam) {
  const double before = loss();
  const auto closure = [&] {
    model->zero_grad();
    auto loss = torch::mse_loss(model->forward(inputs), targets);
    loss.backward();
    return loss;
  };
  torch::optim::Adam adam(model->parameters(), 1e-3);
  stepsize::GradientNormRollback guard(adam);
  guard.step(closure);  // in the place of adam.step(closure)
  EXPECT_LT(loss(), before);
}

// Three classes of points, in batches.
class LoaderPage : public testing::Test {
 protected:
  struct Batch {
    torch::Tensor data;
    torch::Tensor target;
  };

  LoaderPage() {
    torch::manual_seed(1);
    model = torch::nn::Linear(3, 3);
    const auto data = torch::randn({32, 3});
    batches.assign(5, Batch{data, data.argmax(1)});
  }

  double loss_now() {
    const torch::NoGradGuard no_grad;
    const auto& [data, target] = batches.front();
    return torch::cross_entropy_loss(model->forward(data), target)
        .item<double>();
  }

  torch::nn::Linear model{nullptr};
  std::vector<Batch> batches;
  const std::vector<Batch>* loader = &batches;
};

TEST_F(LoaderPage, AutoSGDNeedsNoRate) {
  const double before = loss_now();
  stepsize::AutoSGD optimizer(
      model->parameters(),
      stepsize::AutoSGDOptions().buffers(model->buffers()));
  for (auto& batch : *loader) {
    auto loss = optimizer.step([&] {
      return torch::nn::functional::cross_entropy(
          model->forward(batch.data), batch.target);
    });
  }
  EXPECT_LT(loss_now(), before);
  stepsize::AutoSGD careful(
      model->parameters(),
      stepsize::AutoSGDOptions(),
      stepsize::EdgePolicy(stepsize::EdgePolicyOptions().safety(0.5)));
  EXPECT_EQ(careful.policy().describe().rfind("safety=0.5", 0), 0U);
}

TEST_F(LoaderPage, MixedPrecisionTrains) {
  const double before = loss_now();
  stepsize::ClippedAdamW adamw(model->parameters());
  stepsize::GradScaler scaler;
  stepsize::ScheduleLR rate(adamw, "warmup 500 > cosine 9500");
  rate.follow_skipped_steps(scaler);
  for (auto& batch : *loader) {
    adamw.zero_grad();
    torch::Tensor loss;
    {
      const stepsize::Autocast autocast(torch::kCPU);
      loss = torch::nn::functional::cross_entropy(
          model->forward(batch.data), batch.target);
    }
    scaler.scale(loss).backward();
    scaler.step(adamw);
    scaler.update();
    rate.step();
  }
  EXPECT_LT(loss_now(), before);
  EXPECT_EQ(scaler.growth_tracker(), 5);
}

TEST_F(LoaderPage, PowerMethodSGDTrains) {
  const double before = loss_now();
  stepsize::PowerMethodSGD optimizer(
      model->parameters(), stepsize::PowerMethodSGDOptions());
  for (auto& batch : *loader) {
    auto loss = optimizer.step([&] {
      return torch::nn::functional::cross_entropy(
          model->forward(batch.data), batch.target);
    });
  }
  EXPECT_LT(loss_now(), before);
}

TEST_F(OptimizersPage, CurvatureLRSetsTheRateOfTheUpdateAtHand) {
  const double before = loss();
  torch::optim::SGD optimizer(
      model->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  stepsize::CurvatureLR scheduler(optimizer);

  optimizer.zero_grad();
  auto loss = torch::mse_loss(model->forward(inputs), targets);
  scheduler.observe(loss);  // before backward(): a product, where it is time
  loss.backward();
  optimizer.step();
  scheduler.step();
  EXPECT_LT(this->loss(), before);
  EXPECT_GT(scheduler.sharpness(), 0);
}

torch::nn::Sequential small_network() {
  torch::nn::Sequential model;
  model->push_back("conv", torch::nn::Conv2d(1, 4, 3));
  model->push_back("norm", torch::nn::BatchNorm2d(4));
  model->push_back("head", torch::nn::Linear(4, 10));
  return model;
}

TEST(ParamGroupsPage, ShowsTheTableThatIsPrinted) {
  const auto model = small_network();
  testing::internal::CaptureStdout();
  stepsize::ParamGroups groups(
      *model, torch::optim::AdamWOptions(1e-3).weight_decay(0.05));
  groups.no_decay_for_norms_and_biases()
      .group("head", {"head"}, stepsize::ParamGroupOptions().lr_factor(10))
      .others("body");
  std::cout << groups;
  auto optimizer = groups.make_optimizer<torch::optim::AdamW>();
  std::istringstream printed(testing::internal::GetCapturedStdout());
  std::vector<std::string> lines;
  for (std::string line; std::getline(printed, line);) lines.push_back(line);
  EXPECT_EQ(lines, fenced_lines("docs/optimizers.md", "text"));
  EXPECT_EQ(optimizer.param_groups()[0].options().get_lr(), 0.01);
}

struct TransformerShape : torch::nn::Module {
  TransformerShape() {
    torch::nn::ModuleList blocks;
    for (int i = 0; i < 12; ++i) blocks->push_back(torch::nn::Linear(4, 4));
    register_module("embedding", torch::nn::Embedding(5, 4));
    register_module("blocks", blocks);
    register_module("head", torch::nn::Linear(4, 5));
  }
};

TEST(ParamGroupsPage, LowersTheRatesOfATransformer) {
  const auto transformer = std::make_shared<TransformerShape>();
  std::vector<std::string> layers = {"embedding"};
  for (int i = 0; i < 12; ++i) layers.push_back("blocks." + std::to_string(i));
  layers.push_back("head");
  stepsize::ParamGroups groups(
      *transformer, stepsize::ClippedAdamWOptions(5e-4).weight_decay(0.05));
  groups.no_decay_for_norms_and_biases().layer_decay(0.75, layers);
  auto optimizer = groups.make_optimizer<stepsize::ClippedAdamW>();
  EXPECT_DOUBLE_EQ(
      optimizer.param_groups().front().options().get_lr(),
      5e-4 * std::pow(0.75, 13));
}

TEST(ClipRulePage, ClipsByZScore) {
  torch::nn::Linear model(2, 1);
  stepsize::ClippedAdamW adamw(model->parameters());
  adamw.set_clip_rule(stepsize::ZClip());
  torch::mse_loss(model->forward(torch::ones({4, 2})), torch::ones({4, 1}))
      .backward();
  adamw.step();
  EXPECT_EQ(adamw.clip_rule()->name(), "ZClip");
  EXPECT_GT(adamw.last_grad_norm(), 0);
}

TEST(StateTypePage, KeepsEightBits) {
  torch::nn::Linear model(100, 60);
  stepsize::ClippedAdamW adamw(
      model->parameters(),
      stepsize::ClippedAdamWOptions(1e-3).state_type(
          stepsize::StateType::kBlockwise8Bit));
  model->forward(torch::ones({4, 100})).sum().backward();
  adamw.step();
  stepsize::ParameterState state;
  adamw.state_access()->read(0, 0, state);
  EXPECT_EQ(state.tensors[0].scalar_type(), torch::kByte);
  EXPECT_EQ(
      stepsize::full_state(state.tensors[0], model->weight).sizes(),
      model->weight.sizes());
}

TEST(FreezePage, FreezesAndThaws) {
  auto model = small_network();
  torch::optim::SGD optimizer(model->parameters(), 0.1);
  stepsize::freeze(*model, {"conv", "norm"});
  // ... when the head has been trained:
  stepsize::unfreeze(*model, {"conv", "norm"});
  EXPECT_TRUE(stepsize::frozen_parameters(*model).empty());

  stepsize::FrozenState frozen(*model);
  stepsize::Checkpoint checkpoint;
  checkpoint.module("model", *model)
      .optimizer("optimizer", optimizer)
      .state("frozen", frozen);
}

TEST_F(OptimizersPage, KernelsTrain) {
  const double before = loss();
  kernels_page::train(model, inputs, targets);
  EXPECT_LT(loss(), before / 100);
}

}  // namespace
}  // namespace stepsize
