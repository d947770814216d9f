#pragma once

// What the tests of OverlappedReduction share: a loss whose gradients are known
// numbers, a small network, and a class of ranks without further groups.

#include <gtest/gtest.h>
#include <stepsize/distributed/overlapped_reduction.h>
#include <torch/torch.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace stepsize::test {

using Ranks = std::shared_ptr<Reduction>;
using Tensors = std::vector<torch::Tensor>;

inline torch::Tensor numbers(const std::vector<double>& values) {
  return torch::tensor(values, torch::kFloat64);
}

// A bucket a tensor.
inline OverlappedReductionOptions single_buckets() {
  return OverlappedReductionOptions().bucket_bytes(1);
}

// 1 on rank 0, 3 on rank 1, 5 on rank 2.
inline double factor_of(const Ranks& ranks) {
  return 1 + 2 * static_cast<double>(ranks->rank());
}

// The gradient of each parameter is factor times its position from 1 on.
inline torch::Tensor loss_of(const Tensors& parameters, double factor) {
  torch::Tensor loss = torch::zeros({}, torch::kFloat64);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    loss = loss + parameters[i].sum() * factor * (static_cast<double>(i) + 1);
  }
  return loss;
}

inline void zero(const Tensors& parameters) {
  for (auto parameter : parameters) parameter.mutable_grad().reset();
}

// One value a parameter, of which each element of its gradient has it.
inline void expect_gradients(
    const Tensors& parameters, const std::vector<double>& expected) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto& own = parameters[i].grad();
    ASSERT_TRUE(own.defined()) << i;
    EXPECT_TRUE(own.equal(torch::full_like(own, expected[i]))) << i << own;
  }
}

// tanh(x A + b) C, and the numbers of each rank and step; made by one thread,
// as all share the random state.
struct SmallNet {
  SmallNet() {
    torch::manual_seed(7);
    values = {torch::randn({6, 9}), torch::randn({9}), torch::randn({9, 3})};
    rows = torch::randn({2, 5, 5, 6});
  }
  Tensors parameters() const {
    Tensors own;
    for (const auto& value : values) {
      own.push_back(value.clone().set_requires_grad(true));
    }
    return own;
  }
  torch::Tensor loss(const Tensors& own, int64_t rank, int64_t step) const {
    return torch::tanh(rows[rank][step].mm(own[0]) + own[1])
        .mm(own[2])
        .square()
        .mean();
  }
  Tensors values;
  torch::Tensor rows;
};

// A class that has no further groups.
class Plain : public Reduction {
 public:
  explicit Plain(Ranks ranks) : ranks_(std::move(ranks)) {}
  int64_t rank() const override { return ranks_->rank(); }
  int64_t world_size() const override { return ranks_->world_size(); }
  void sum(at::Tensor& tensor) override { ranks_->sum(tensor); }
  void broadcast(at::Tensor& bytes, int64_t root) override {
    ranks_->broadcast(bytes, root);
  }

 private:
  Ranks ranks_;
};

}  // namespace stepsize::test
