#include <stepsize/distributed/sync_batch_norm.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/distributed/sum_over_ranks.h>

#include <ostream>
#include <vector>

#include "csrc/core/check.h"
#include "csrc/core/half.h"

namespace stepsize {
namespace {

constexpr char kSyncBatchNorm[] = "SyncBatchNorm";

// Checked before the base class makes tensors by them.
const torch::nn::BatchNormOptions& checked(
    const torch::nn::BatchNormOptions& options) {
  detail::check_option(
      options.num_features() > 0,
      kSyncBatchNorm,
      "num_features",
      "> 0",
      options.num_features());
  detail::check_option(
      options.eps() > 0, kSyncBatchNorm, "eps", "> 0", options.eps());
  const double momentum = options.momentum() ? *options.momentum() : 0;
  detail::check_option(
      momentum >= 0 && momentum <= 1,
      kSyncBatchNorm,
      "momentum",
      "in [0, 1]",
      momentum);
  return options;
}

}  // namespace

SyncBatchNormImpl::SyncBatchNormImpl(
    const torch::nn::BatchNormOptions& norm_options)
    : NormImplBase(checked(norm_options)) {}

void SyncBatchNormImpl::_check_input_dim(const at::Tensor& input) {
  constexpr int64_t kMostDimensions = 5;
  TORCH_CHECK(
      input.defined() && input.dim() >= 2 && input.dim() <= kMostDimensions &&
          input.size(1) == options.num_features(),
      kSyncBatchNorm,
      ": the input must be [N, ",
      options.num_features(),
      ", ...], got ",
      input.defined() ? input.sizes() : at::IntArrayRef());
  TORCH_CHECK(
      input.is_floating_point(),
      kSyncBatchNorm,
      ": the input must be of floating point, got ",
      input.scalar_type());
}

at::Tensor SyncBatchNormImpl::forward(const at::Tensor& input) {
  _check_input_dim(input);
  if (is_training() && reduction_ != nullptr) {
    return over_ranks(input);
  }
  namespace F = torch::nn::functional;
  return F::batch_norm(
      input,
      running_mean,
      running_var,
      F::BatchNormFuncOptions()
          .weight(weight)
          .bias(bias)
          .training(is_training() || !running_mean.defined())
          .momentum(is_training() ? count_batch() : 0.0)
          .eps(options.eps()));
}

double SyncBatchNormImpl::count_batch() {
  if (!num_batches_tracked.defined()) {
    return 0;
  }
  num_batches_tracked += 1;
  // Without a momentum the running values are means over all batches.
  return options.momentum() ? *options.momentum()
                            : 1 / num_batches_tracked.item<double>();
}

at::Tensor SyncBatchNormImpl::over_ranks(const at::Tensor& input) {
  const int64_t channels = input.size(1);
  std::vector<int64_t> others;
  std::vector<int64_t> shape(static_cast<std::size_t>(input.dim()), 1);
  shape[1] = channels;
  for (int64_t dim = 0; dim < input.dim(); ++dim) {
    if (dim != 1) {
      others.push_back(dim);
    }
  }
  // In half precision a mean far from 0 would be rounded by more than the
  // deviations from it are.
  const at::Tensor wide = input.to(detail::widened(input.scalar_type()));
  const auto for_each_channel = [&](const at::Tensor& values) {
    return values.to(wide.scalar_type()).view(shape);
  };
  const auto own_count = at::full(
      {1},
      static_cast<double>(input.numel() / channels),
      input.options().dtype(at::kDouble).requires_grad(false));
  // The mean first and then the squares about it: from sums of x and x^2 in
  // one go the variance of a channel far from 0 would be lost in rounding.
  const at::Tensor sums = sum_over_ranks(
      at::cat({input.sum(others, false, at::kDouble), own_count}), *reduction_);
  const double count = sums[channels].item<double>();
  TORCH_CHECK(
      count > 1,
      kSyncBatchNorm,
      ": training needs more than one value a channel, got ",
      static_cast<int64_t>(count),
      " on all ranks together");
  const at::Tensor mean = sums.narrow(0, 0, channels) / count;
  const at::Tensor centred = wide - for_each_channel(mean);
  const at::Tensor squares = sum_over_ranks(
      centred.square().sum(others, false, at::kDouble), *reduction_);
  if (running_mean.defined()) {
    const at::NoGradGuard no_grad;
    const double share = count_batch();
    running_mean.lerp_(mean.to(running_mean.scalar_type()), share);
    running_var.lerp_(
        (squares / (count - 1)).to(running_var.scalar_type()), share);
  }
  at::Tensor scale = (squares / count + options.eps()).rsqrt();
  if (weight.defined()) {
    scale = scale * weight;
  }
  at::Tensor normalized = centred * for_each_channel(scale);
  if (bias.defined()) {
    normalized = normalized + for_each_channel(bias);
  }
  return normalized.to(input.scalar_type());
}

void SyncBatchNormImpl::pretty_print(std::ostream& stream) const {
  stream << std::boolalpha << "stepsize::SyncBatchNorm("
         << options.num_features() << ", eps=" << options.eps()
         << ", momentum=";
  if (options.momentum()) {
    stream << *options.momentum();
  } else {
    stream << "None";
  }
  stream << ", affine=" << options.affine()
         << ", track_running_stats=" << options.track_running_stats() << ")";
}

int64_t set_reduction(
    torch::nn::Module& module, const std::shared_ptr<Reduction>& reduction) {
  int64_t count = 0;
  // The module itself may be held by no pointer, as on the stack.
  if (auto* const norm = module.as<SyncBatchNormImpl>()) {
    norm->set_reduction(reduction);
    ++count;
  }
  for (const auto& child : module.children()) {
    count += set_reduction(*child, reduction);
  }
  return count;
}

}  // namespace stepsize
