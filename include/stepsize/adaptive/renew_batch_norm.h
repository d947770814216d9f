#pragma once

#include <functional>

namespace torch::nn {
class Module;
}  // namespace torch::nn

namespace stepsize {

/// Measures the running statistics of a module's BatchNorms anew, as is needed
/// where it has been given other weights, averages say (Izmailov et al.,
/// Averaging Weights Leads to Wider Optima, 2018, section 3.2). `forward_all`
/// runs the module over the data, in batches of one size:
///
///     renew_batch_norm(*model, [&] {
///       for (const auto& batch : *loader) model->forward(batch.data);
///     });
///
/// The new statistics are the means over all batches. Meanwhile the BatchNorms
/// (1d to 3d, and SyncBatchNorm) are in training mode and all else in eval
/// mode, without gradients; modes and momenta are then put back, also when
/// `forward_all` throws, and the statistics too in that case. A BatchNorm that
/// has seen no batch keeps its own. Without any, `forward_all` is not called.
void renew_batch_norm(
    torch::nn::Module& module, const std::function<void()>& forward_all);

}  // namespace stepsize
