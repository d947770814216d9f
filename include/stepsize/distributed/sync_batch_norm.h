#pragma once

#include <stepsize/distributed/reduction.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <utility>

namespace stepsize {

/// BatchNorm over the batch of all ranks together (Python:
/// torch.nn.SyncBatchNorm): what a network computes, and its gradient, are
/// those of one process with the whole batch. For inputs [N, C, ...] of two to
/// five dimensions. Ranks may have shares of any size, also empty ones.
///
///     stepsize::SyncBatchNorm norm(32);
///     stepsize::set_reduction(*model, ranks);
///
/// Options, parameters and buffers are those of torch::nn::BatchNorm2d, under
/// the same names, so that weights go from one to the other. Without ranks, and
/// in eval mode, it is that. Sums are made in float64, and the rest at least in
/// float32. Cost in training: two
/// sums over ranks forward, as many backward. Forward and backward are
/// collective, see sum_over_ranks().
///
/// forward() throws c10::Error, and changes nothing, where the input has other
/// channels or is not of floating point, and on all ranks where they have one
/// value a channel together, which has no variance.
class SyncBatchNormImpl
    : public torch::nn::
          NormImplBase<1, SyncBatchNormImpl, torch::nn::BatchNormOptions> {
 public:
  /// Throws c10::Error unless num_features and eps are > 0 and momentum, where
  /// there is one, is in [0, 1].
  explicit SyncBatchNormImpl(const torch::nn::BatchNormOptions& norm_options);

  /// Null: no other ranks, as at first. A save does not carry it, a clone does.
  void set_reduction(std::shared_ptr<Reduction> reduction) {
    reduction_ = std::move(reduction);
  }
  /// Null where there are no other ranks.
  const std::shared_ptr<Reduction>& reduction() const { return reduction_; }

  at::Tensor forward(const at::Tensor& input);

  /// "stepsize::SyncBatchNorm(32, eps=1e-05, momentum=0.1, ...)".
  void pretty_print(std::ostream& stream) const override;

 protected:
  void _check_input_dim(const at::Tensor& input) override;

 private:
  at::Tensor over_ranks(const at::Tensor& input);
  // The share of the new value in the running ones, of a batch that counts.
  double count_batch();

  std::shared_ptr<Reduction> reduction_;
};
/// Holds a SyncBatchNormImpl, as LibTorch's modules are held.
TORCH_MODULE(SyncBatchNorm);

/// Gives the ranks to every SyncBatchNorm of a module, itself included. Returns
/// how many there are. Null: no other ranks.
int64_t set_reduction(
    torch::nn::Module& module, const std::shared_ptr<Reduction>& reduction);

}  // namespace stepsize
