#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/distributed/reduction.h>
#include <torch/arg.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace stepsize {

/// Options of average() and its kin; the same on every rank.
class AverageOptions {
 public:
  /// Tensors travel in flat buckets of up to so many bytes, each on its way
  /// while the next one is filled; >= 1. A tensor larger than that has a bucket
  /// of its own. The default is that of DistributedDataParallel.
  TORCH_ARG(int64_t, bucket_bytes) = 25 * 1024 * 1024;
};

/// Numbers by name that must be the same on every rank: {"lr", 0.1}.
using CommonNumbers = std::vector<std::pair<std::string, double>>;

/// What one rank brings to an average.
struct RankShare {
  /// Undefined where this rank has none.
  std::vector<at::Tensor> tensors;
  std::vector<double> numbers;
  /// Why this rank has nothing to bring, if so: then no rank gets anything.
  std::exception_ptr failure;
  /// Compared to 12 digits, and not averaged.
  CommonNumbers common;
};

/// The means over ranks.
struct RankMeans {
  /// In memory of their own, several of them in one block. Undefined where no
  /// rank brought one.
  std::vector<at::Tensor> tensors;
  std::vector<double> numbers;
};

/// Averages over ranks, with equal weights; the same bits on every rank. A
/// tensor that only some ranks bring counts as zeros on the others. Tensors of
/// half precision are added up in float32.
///
/// `like` tells shapes, types and devices, one tensor for each of the share's,
/// and is the same on every rank.
///
/// One small sum, by which the ranks agree on what there is, a second one where
/// they do not all bring the same tensors; then one sum a bucket. Waits for
/// their end. Memory: the buckets, in which the results lie.
///
/// Throws on all ranks where one brings a failure or a tensor that is sparse or
/// does not fit `like`: on that rank the failure itself, elsewhere c10::Error
/// that names the rank. Where ranks differ in `like`, in how many numbers they
/// bring, in what they have in common or in the options, all throw the same
/// c10::Error: "average: rank 1: tensor 2 is Float [4, 3], rank 0 has Float
/// [4, 2]". This is found in every call, before anything has been added up.
RankMeans average(
    const std::vector<at::Tensor>& like,
    const RankShare& share,
    Reduction& reduction,
    const AverageOptions& options = {});

/// Puts the mean over ranks in the place of each parameter's gradient, in the
/// tensor that it has. A parameter that has a gradient on some ranks only has
/// one on all after it, one that has none anywhere stays without. A gradient
/// that is expanded, as that of a sum is, gives way to a tensor of its own
/// memory. Throws as average() does; the gradients are as they were then.
///
///     loss.backward();
///     average_gradients(model->parameters(), *ranks);
///     optimizer.step();
///
/// To average twice does no harm but costs.
void average_gradients(
    const std::vector<at::Tensor>& parameters,
    Reduction& reduction,
    const AverageOptions& options = {});

/// Calls the closure, which computes this rank's loss and calls backward(),
/// and averages gradients and loss. Returns the mean loss, without a graph;
/// where no closure is given, or none returns one number, what it returned. A
/// NaN or an Inf of any rank makes the mean one of those.
///
/// Where the closure throws on one rank, or returns a loss on some ranks only,
/// all ranks throw, as average() does. Only a closure that has used the
/// reduction itself, by sum_over_ranks() or share_weight(), and throws then,
/// ends the run: the others throw RankLostError. Call share_weight() before.
///
///     auto loss = evaluate_on_ranks(closure, model->parameters(), *ranks);
///
/// `common`: as in RankShare.
at::Tensor evaluate_on_ranks(
    const std::function<at::Tensor()>& closure,
    const std::vector<at::Tensor>& parameters,
    Reduction& reduction,
    const AverageOptions& options = {},
    const CommonNumbers& common = {});

/// The weight of this rank's loss, a mean over `examples` examples, where ranks
/// have shares of unequal size: examples * world_size / (examples of all
/// ranks). The mean over ranks of weight * loss is then the mean over all
/// examples, and so with gradients:
///
///     const double weight = share_weight(images.size(0), *ranks);
///     // in the closure:
///     auto own = images.size(0) > 0 ? loss_of(images) * weight
///                                   : torch::zeros({});
///     if (own.requires_grad()) own.backward();
///
/// A rank with no example at all must still take part, with a loss of 0: a mean
/// over none is NaN, and stays NaN times a weight of 0. To be called outside
/// closures, see evaluate_on_ranks(). One small sum. Throws c10::Error where
/// `examples` is < 0, or 0 on all ranks.
double share_weight(int64_t examples, Reduction& reduction);

}  // namespace stepsize
