#include <stepsize/distributed/sync_batch_norm.h>

#include <gmock/gmock.h>
#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <sstream>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/ranks.h"

namespace stepsize {
namespace {

using test::message_of;
using test::run_ranks;
using testing::AllOf;
using testing::HasSubstr;
using torch::nn::BatchNormOptions;

using Ranks = std::shared_ptr<Reduction>;

constexpr int64_t kChannels = 3;

// What one training pass leaves.
struct Pass {
  torch::Tensor output;
  torch::Tensor input_grad;
  torch::Tensor weight_grad;
  torch::Tensor bias_grad;
  torch::Tensor mean;
  torch::Tensor var;
};

// A loss that weighs each output otherwise, so that no gradient is 0.
template <typename Norm>
Pass train(
    Norm& norm, const torch::Tensor& input, const torch::Tensor& weights) {
  const auto leaf = input.detach().clone().requires_grad_(true);
  const auto output = norm->forward(leaf);
  (output * weights).sum().backward();
  return {
      output.detach(),
      leaf.grad(),
      norm->weight.grad(),
      norm->bias.grad(),
      norm->running_mean,
      norm->running_var};
}

template <typename Norm>
void set_affine(Norm& norm) {
  norm->to(torch::kDouble);
  const torch::NoGradGuard no_grad;
  norm->weight.copy_(torch::tensor({0.5, 1.0, -2.0}, torch::kDouble));
  norm->bias.copy_(torch::tensor({0.1, 0.0, 3.0}, torch::kDouble));
}

// Values far from 0, of other size in each channel.
torch::Tensor batch(const std::vector<int64_t>& sizes) {
  torch::manual_seed(3);
  auto values = torch::randn(sizes, torch::kDouble);
  return values.transpose(1, -1)
      .mul(torch::tensor({1.0, 0.01, 30.0}, torch::kDouble))
      .add(torch::tensor({0.0, 100.0, -5.0}, torch::kDouble))
      .transpose(1, -1)
      .contiguous();
}

template <typename Whole>
void expect_as_one_process(
    const std::vector<int64_t>& sizes,
    const std::vector<int64_t>& shares,
    const BatchNormOptions& options) {
  const auto input = batch(sizes);
  const auto weights = torch::rand(sizes, torch::kDouble);
  Whole whole(options);
  set_affine(whole);
  train(whole, input.flip(0), weights);
  whole->zero_grad();
  const Pass expected = train(whole, input, weights);
  whole->eval();
  const auto expected_in_test = whole->forward(input);
  const auto near = [](const torch::Tensor& a, const torch::Tensor& b) {
    return torch::allclose(a, b, /*rtol=*/1e-9, /*atol=*/1e-9);
  };
  run_ranks(static_cast<int64_t>(shares.size()), [&](const Ranks& ranks) {
    SyncBatchNorm norm(options);
    set_affine(norm);
    norm->set_reduction(ranks);
    int64_t first = 0;
    for (int64_t rank = 0; rank < ranks->rank(); ++rank) {
      first += shares[static_cast<std::size_t>(rank)];
    }
    const int64_t own = shares[static_cast<std::size_t>(ranks->rank())];
    const auto share = [&](const torch::Tensor& all) {
      return all.narrow(0, first, own);
    };
    train(norm, share(input.flip(0)), share(weights));
    norm->zero_grad();
    const Pass pass = train(norm, share(input), share(weights));
    EXPECT_TRUE(near(pass.output, share(expected.output)));
    EXPECT_TRUE(near(pass.input_grad, share(expected.input_grad)));
    auto weight_grad = pass.weight_grad.clone();
    auto bias_grad = pass.bias_grad.clone();
    ranks->sum(weight_grad);
    ranks->sum(bias_grad);
    EXPECT_TRUE(near(weight_grad, expected.weight_grad));
    EXPECT_TRUE(near(bias_grad, expected.bias_grad));
    EXPECT_TRUE(near(pass.mean, expected.mean));
    EXPECT_TRUE(near(pass.var, expected.var));
    EXPECT_EQ(norm->num_batches_tracked.template item<int64_t>(), 2);
    // In a test each is by itself.
    norm->eval();
    EXPECT_TRUE(near(norm->forward(input), expected_in_test));
  });
}

TEST(SyncBatchNorm, IsThatOfOneProcessWithTheWholeBatch) {
  expect_as_one_process<torch::nn::BatchNorm2d>(
      {8, kChannels, 4, 5}, {4, 4}, BatchNormOptions(kChannels));
}

// The mean of a channel is rounded to a bfloat16 nowhere: at 100 the next one
// is half a deviation away.
TEST(SyncBatchNorm, KeepsDeviationsThatAreSmallBesideTheirMean) {
  torch::manual_seed(5);
  const auto input = (torch::randn({64, kChannels}, torch::kDouble) + 100.3)
                         .to(torch::kBFloat16);
  const auto exact = input.to(torch::kDouble);
  const auto expected =
      (exact - exact.mean(0)) / (exact.var(0, false) + 1e-5).sqrt();
  run_ranks(2, [&](const Ranks& ranks) {
    SyncBatchNorm norm(kChannels);
    norm->set_reduction(ranks);
    const auto output = norm->forward(input.narrow(0, 32 * ranks->rank(), 32));
    EXPECT_EQ(output.scalar_type(), torch::kBFloat16);
    // A result is rounded once, by half a unit of its eighth digit in base 2.
    EXPECT_TRUE(torch::allclose(
        output.to(torch::kDouble),
        expected.narrow(0, 32 * ranks->rank(), 32),
        /*rtol=*/0x1p-8,
        /*atol=*/1e-5));
  });
}

TEST(SyncBatchNorm, TakesSharesOfAnySize) {
  expect_as_one_process<torch::nn::BatchNorm2d>(
      {8, kChannels, 2, 3}, {5, 0, 3}, BatchNormOptions(kChannels));
  // One example here has no variance of its own.
  expect_as_one_process<torch::nn::BatchNorm1d>(
      {4, kChannels}, {3, 1}, BatchNormOptions(kChannels).eps(0.1));
}

TEST(SyncBatchNorm, AveragesOverAllBatchesWithoutAMomentum) {
  BatchNormOptions options(kChannels);
  options.momentum().reset();
  expect_as_one_process<torch::nn::BatchNorm1d>(
      {6, kChannels, 5}, {2, 4}, options);
}

TEST(SyncBatchNorm, WorksWithoutWeightsAndRunningValues) {
  const auto input = batch({6, kChannels, 2, 2});
  const auto options =
      BatchNormOptions(kChannels).affine(false).track_running_stats(false);
  torch::nn::BatchNorm2d whole(options);
  const auto expected = whole->forward(input);
  run_ranks(2, [&](const Ranks& ranks) {
    SyncBatchNorm norm(options);
    norm->set_reduction(ranks);
    const auto own = norm->forward(input.narrow(0, 3 * ranks->rank(), 3));
    EXPECT_TRUE(torch::allclose(
        own, expected.narrow(0, 3 * ranks->rank(), 3), 1e-9, 1e-9));
    // As BatchNorm2d: those of the batch at hand.
    norm->eval();
    EXPECT_TRUE(torch::allclose(norm->forward(input), expected));
  });
}

TEST(SyncBatchNorm, IsBatchNormWithoutRanks) {
  const auto input = batch({6, kChannels, 2, 2}).to(torch::kFloat);
  torch::nn::BatchNorm2d plain(kChannels);
  SyncBatchNorm norm(kChannels);
  EXPECT_TRUE(norm->forward(input).equal(plain->forward(input)));
  EXPECT_TRUE(norm->running_var.equal(plain->running_var));
  // Weights go from one to the other.
  std::stringstream file;
  torch::save(plain, file);
  SyncBatchNorm loaded(kChannels);
  torch::load(loaded, file);
  EXPECT_TRUE(loaded->running_mean.equal(plain->running_mean));
  EXPECT_EQ(loaded->num_batches_tracked.item<int64_t>(), 1);
}

TEST(SyncBatchNorm, IsFoundInAModel) {
  run_ranks(2, [](const Ranks& ranks) {
    torch::nn::ModuleList model(
        torch::nn::Sequential(torch::nn::Conv2d(1, 2, 3), SyncBatchNorm(2)),
        SyncBatchNorm(2));
    EXPECT_EQ(set_reduction(*model, ranks), 2);
    EXPECT_EQ(model[1]->as<SyncBatchNorm>()->reduction(), ranks);
    SyncBatchNorm alone(2);
    EXPECT_EQ(set_reduction(*alone, ranks), 1);
    EXPECT_EQ(set_reduction(*alone, nullptr), 1);
    EXPECT_EQ(alone->reduction(), nullptr);
  });
  std::ostringstream text;
  text << SyncBatchNorm(2);
  EXPECT_EQ(
      text.str(),
      "stepsize::SyncBatchNorm(2, eps=1e-05, momentum=0.1, affine=true, "
      "track_running_stats=true)");
}

TEST(SyncBatchNorm, RefusesWhatItCannotNormalize) {
  run_ranks(2, [](const Ranks& ranks) {
    SyncBatchNorm norm(kChannels);
    norm->set_reduction(ranks);
    const auto refusal = [&](const torch::Tensor& input) {
      return message_of([&] { norm->forward(input); });
    };
    EXPECT_THAT(
        refusal(torch::ones({2, 4})),
        HasSubstr("SyncBatchNorm: the input must be [N, 3, ...], got [2, 4]"));
    EXPECT_THAT(refusal(torch::ones({3})), HasSubstr("got [3]"));
    EXPECT_THAT(
        refusal(torch::ones({2, kChannels}, torch::kLong)),
        HasSubstr("must be of floating point, got Long"));
    EXPECT_THAT(
        refusal(torch::ones({1 - ranks->rank(), kChannels})),
        HasSubstr("training needs more than one value a channel, got 1 on all "
                  "ranks together"));
    // Nothing has been counted.
    EXPECT_EQ(norm->num_batches_tracked.item<int64_t>(), 0);
    EXPECT_TRUE(norm->running_mean.equal(torch::zeros({kChannels})));
  });
}

TEST(SyncBatchNorm, RefusesOptionsOutOfRange) {
  const auto refusal = [](const BatchNormOptions& options) {
    return message_of([&] { SyncBatchNorm norm(options); });
  };
  EXPECT_THAT(
      refusal(BatchNormOptions(0)),
      HasSubstr("SyncBatchNorm: num_features must be > 0, got 0"));
  EXPECT_THAT(
      refusal(BatchNormOptions(2).eps(0)),
      HasSubstr("SyncBatchNorm: eps must be > 0, got 0"));
  EXPECT_THAT(
      refusal(BatchNormOptions(2).momentum(1.5)),
      AllOf(
          HasSubstr("SyncBatchNorm: momentum must be in [0, 1]"),
          HasSubstr("1.5")));
  EXPECT_THAT(
      refusal(BatchNormOptions(2).momentum(std::nan(""))),
      HasSubstr("momentum must be in [0, 1]"));
}

}  // namespace
}  // namespace stepsize
