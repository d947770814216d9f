#pragma once

#include <stepsize/distributed/reduction.h>
#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <utility>

namespace stepsize::trainer {

/// LibTorch's BatchNorm2d with its defaults, which with other ranks normalizes
/// over the batch of all of them together: what the network computes, and its
/// gradient, are those of one process with the whole batch. Two sums over ranks
/// a forward pass in training mode, as many a backward pass.
class BatchNormImpl : public torch::nn::Module {
 public:
  explicit BatchNormImpl(std::int64_t channels);

  /// Null: no other ranks. With them the batch may be empty here.
  void set_reduction(std::shared_ptr<Reduction> ranks) {
    ranks_ = std::move(ranks);
  }

  torch::Tensor forward(const torch::Tensor& images);

 private:
  torch::Tensor over_ranks(const torch::Tensor& images);

  std::shared_ptr<Reduction> ranks_;
  torch::Tensor weight_;
  torch::Tensor bias_;
  torch::Tensor running_mean_;
  torch::Tensor running_var_;
  torch::Tensor num_batches_tracked_;
};
TORCH_MODULE(BatchNorm);

/// Does so with all of a model's.
void set_reduction(
    torch::nn::Module& model, const std::shared_ptr<Reduction>& ranks);

}  // namespace stepsize::trainer
