#include <gtest/gtest.h>
#include <stepsize/adaptive/renew_batch_norm.h>
#include <stepsize/distributed/sync_batch_norm.h>
#include <torch/torch.h>

#include <stdexcept>
#include <vector>

namespace stepsize::test {
namespace {

struct NormNetImpl : torch::nn::Module {
  NormNetImpl() {
    first = register_module("first", torch::nn::Linear(3, 4));
    norm = register_module("norm", torch::nn::BatchNorm1d(4));
    dropout = register_module("dropout", torch::nn::Dropout(0.5));
    sync = register_module("sync", SyncBatchNorm(4));
    unused = register_module("unused", torch::nn::BatchNorm2d(2));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    return sync->forward(dropout->forward(norm->forward(first->forward(x))));
  }
  torch::nn::Linear first{nullptr};
  torch::nn::BatchNorm1d norm{nullptr};
  torch::nn::Dropout dropout{nullptr};
  SyncBatchNorm sync{nullptr};
  torch::nn::BatchNorm2d unused{nullptr};
};
TORCH_MODULE(NormNet);

class RenewBatchNorm : public testing::Test {
 protected:
  RenewBatchNorm() {
    torch::manual_seed(3);
    net = NormNet();
    for (int i = 0; i < 5; ++i) batches.push_back(torch::randn({6, 3}) + i);
    // Statistics of something else, some of which no batch will renew.
    net->forward(batches[4] * 3);
    net->unused->forward(batches[0].view({1, 2, 3, 3}));
  }

  NormNet net;
  std::vector<torch::Tensor> batches;
};

TEST_F(RenewBatchNorm, TakesTheMeanOverAllBatches) {
  auto mean = torch::zeros({4});
  auto var = torch::zeros({4});
  for (const auto& batch : batches) {
    const auto inputs = net->first->forward(batch).detach();
    mean += inputs.mean(0) / 5;
    var += inputs.var(0, /*unbiased=*/true) / 5;
  }
  const auto unused = net->unused->running_mean.clone();
  const auto weight = net->first->weight.detach().clone();
  renew_batch_norm(*net, [&] {
    EXPECT_FALSE(torch::GradMode::is_enabled());
    EXPECT_TRUE(net->norm->is_training());
    EXPECT_TRUE(net->sync->is_training());
    EXPECT_FALSE(net->dropout->is_training());
    for (const auto& batch : batches) net->forward(batch);
  });
  EXPECT_TRUE(torch::allclose(net->norm->running_mean, mean, 1e-5, 1e-6));
  EXPECT_TRUE(torch::allclose(net->norm->running_var, var, 1e-5, 1e-6));
  EXPECT_EQ(net->norm->num_batches_tracked.item<int64_t>(), 5);
  // Behind a normalised input without dropout.
  EXPECT_LT(net->sync->running_mean.abs().max().item<float>(), 1e-5F);
  EXPECT_EQ(net->sync->num_batches_tracked.item<int64_t>(), 5);
  EXPECT_TRUE(torch::equal(net->unused->running_mean, unused));
  EXPECT_TRUE(torch::equal(net->first->weight, weight));
  EXPECT_TRUE(torch::GradMode::is_enabled());
}

TEST_F(RenewBatchNorm, PutsModesAndMomentaBack) {
  net->norm->options.momentum(0.25);
  net->eval();
  net->sync->train();
  const auto forward_all = [&] {
    for (const auto& batch : batches) net->forward(batch);
  };
  renew_batch_norm(*net, forward_all);
  const auto expect_as_before = [&] {
    EXPECT_FALSE(net->is_training());
    EXPECT_FALSE(net->norm->is_training());
    EXPECT_FALSE(net->dropout->is_training());
    EXPECT_TRUE(net->sync->is_training());
    EXPECT_EQ(net->norm->options.momentum().value_or(-1), 0.25);
    EXPECT_EQ(net->sync->options.momentum().value_or(-1), 0.1);
  };
  expect_as_before();
  const auto mean = net->norm->running_mean.clone();
  EXPECT_THROW(
      renew_batch_norm(
          *net,
          [&] {
            net->forward(batches[0] + 7);
            throw std::runtime_error("no more data");
          }),
      std::runtime_error);
  expect_as_before();
  EXPECT_TRUE(torch::equal(net->norm->running_mean, mean));
  EXPECT_EQ(net->norm->num_batches_tracked.item<int64_t>(), 5);
}

TEST(RenewBatchNormOf, AModuleWithoutOneDoesNothing) {
  torch::nn::Linear linear(2, 2);
  torch::nn::BatchNorm1d bare(
      torch::nn::BatchNormOptions(2).track_running_stats(false));
  const auto fail = [] { FAIL() << "called"; };
  renew_batch_norm(*linear, fail);
  renew_batch_norm(*bare, fail);
  // One that is a norm itself is renewed.
  torch::nn::BatchNorm1d norm(2);
  renew_batch_norm(*norm, [&] {
    norm->forward(torch::tensor({{1.F, 2.F}, {3.F, 6.F}}));
  });
  EXPECT_TRUE(torch::equal(norm->running_mean, torch::tensor({2.F, 4.F})));
}

}  // namespace
}  // namespace stepsize::test
