#pragma once

#include <gtest/gtest.h>
#include <stepsize/optim/rollback_rule.h>
#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

namespace stepsize::test {

inline void set_rate(torch::optim::Optimizer& optimizer, double rate) {
  optimizer.param_groups()[0].options().set_lr(rate);
}

/// A small network with BatchNorm and dropout in float64, and mini-batches.
class SmallRun {
 public:
  SmallRun() {
    torch::manual_seed(3);
    net_ = torch::nn::Sequential(
        torch::nn::Linear(6, 8),
        torch::nn::BatchNorm1d(8),
        torch::nn::Tanh(),
        torch::nn::Dropout(0.2),
        torch::nn::Linear(8, 3));
    net_->to(torch::kFloat64);
    inputs_ = torch::randn({40, 16, 6}, torch::kFloat64);
    targets_ = torch::randn({40, 16, 3}, torch::kFloat64);
  }

  std::vector<torch::Tensor> parameters() { return net_->parameters(); }
  std::vector<torch::Tensor> buffers() { return net_->buffers(); }

  /// The loss on one mini-batch, with the same dropout in every run.
  std::function<torch::Tensor()> closure(int64_t batch) {
    torch::manual_seed(100 + batch);
    return [this, batch] {
      net_->zero_grad();
      auto loss =
          torch::mse_loss(net_->forward(inputs_[batch]), targets_[batch]);
      loss.backward();
      return loss;
    };
  }

  void expect_equal(SmallRun& other) {
    const auto expect = [](const auto& left, const auto& right) {
      ASSERT_EQ(left.size(), right.size());
      for (std::size_t i = 0; i < left.size(); ++i) {
        EXPECT_TRUE(torch::equal(left[i], right[i])) << i;
      }
    };
    expect(parameters(), other.parameters());
    expect(buffers(), other.buffers());
  }

  void copy_from(SmallRun& other) {
    const torch::NoGradGuard no_grad;
    const auto copy = [](const auto& to, const auto& from) {
      for (std::size_t i = 0; i < to.size(); ++i) to[i].copy_(from[i]);
    };
    copy(parameters(), other.parameters());
    copy(buffers(), other.buffers());
  }

 private:
  torch::nn::Sequential net_{nullptr};
  torch::Tensor inputs_;
  torch::Tensor targets_;
};

/// A stand-in for the handwritten digits (8 x 8 pixels, 1797 images), which are
/// no part of this library: as many points in ten Gaussian classes, whose means
/// lie so that SGD learns them as fast as the digits (a loss near 0.05 in 1000
/// steps at rate 0.1). The network is 64-32-10 with tanh.
class DigitsRun {
 public:
  explicit DigitsRun(int64_t batch) : batch_(batch) {
    torch::manual_seed(7);
    const auto means = torch::randn({10, 64}) * 0.5;
    targets_ = torch::randint(10, {kCount}, torch::kLong);
    inputs_ = means.index_select(0, targets_) + torch::randn({kCount, 64});
    inputs_ = (inputs_ - inputs_.mean(0)) / inputs_.std(0);
    torch::manual_seed(3);
    net_ = torch::nn::Sequential(
        torch::nn::Linear(64, 32),
        torch::nn::Tanh(),
        torch::nn::Linear(32, 10));
  }

  std::vector<torch::Tensor> parameters() { return net_->parameters(); }

  /// Multiplies the loss of one step.
  DigitsRun& poison(int step, double factor) {
    poisoned_ = step;
    poison_ = factor;
    return *this;
  }

  /// `step(closure)` makes one step. Returns the loss on all points.
  template <typename Step>
  double train(int steps, const Step& step) {
    // Threads cost more than they bring at this size.
    const int threads = torch::get_num_threads();
    torch::set_num_threads(1);
    torch::manual_seed(11);
    auto order = torch::randperm(kCount, torch::kLong);
    int64_t next = 0;
    for (int i = 0; i < steps; ++i) {
      auto inputs = inputs_;
      auto targets = targets_;
      if (batch_ < kCount) {
        if (next + batch_ > kCount) {
          order = torch::randperm(kCount, torch::kLong);
          next = 0;
        }
        const auto chosen = order.slice(0, next, next + batch_);
        next += batch_;
        inputs = inputs_.index_select(0, chosen);
        targets = targets_.index_select(0, chosen);
      }
      const double factor = i == poisoned_ ? poison_ : 1;
      step([&] {
        net_->zero_grad();
        auto loss = loss_on(inputs, targets) * factor;
        loss.backward();
        return loss;
      });
    }
    const torch::NoGradGuard no_grad;
    const double loss = loss_on(inputs_, targets_).item<double>();
    torch::set_num_threads(threads);
    return loss;
  }

  static constexpr int64_t kCount = 1797;

 private:
  torch::Tensor loss_on(
      const torch::Tensor& inputs, const torch::Tensor& targets) {
    return torch::nn::functional::cross_entropy(net_->forward(inputs), targets);
  }

  int64_t batch_;
  int poisoned_ = -1;
  double poison_ = 1;
  torch::Tensor inputs_;
  torch::Tensor targets_;
  torch::nn::Sequential net_{nullptr};
};

}  // namespace stepsize::test
