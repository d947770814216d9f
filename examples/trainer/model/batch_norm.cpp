#include "examples/trainer/model/batch_norm.h"

#include <stepsize/distributed/sum_over_ranks.h>

#include <vector>

namespace stepsize::trainer {
namespace {

// LibTorch's defaults.
constexpr double kMomentum = 0.1;
constexpr double kEpsilon = 1e-5;

}  // namespace

BatchNormImpl::BatchNormImpl(std::int64_t channels)
    : weight_(register_parameter("weight", torch::ones({channels}))),
      bias_(register_parameter("bias", torch::zeros({channels}))),
      running_mean_(register_buffer("running_mean", torch::zeros({channels}))),
      running_var_(register_buffer("running_var", torch::ones({channels}))),
      num_batches_tracked_(register_buffer(
          "num_batches_tracked", torch::tensor(0, torch::kInt64))) {}

torch::Tensor BatchNormImpl::forward(const torch::Tensor& images) {
  if (is_training()) {
    num_batches_tracked_ += 1;
    if (ranks_ != nullptr) {
      return over_ranks(images);
    }
  }
  namespace F = torch::nn::functional;
  return F::batch_norm(
      images,
      running_mean_,
      running_var_,
      F::BatchNormFuncOptions()
          .weight(weight_)
          .bias(bias_)
          .training(is_training())
          .momentum(kMomentum)
          .eps(kEpsilon));
}

torch::Tensor BatchNormImpl::over_ranks(const torch::Tensor& images) {
  const std::int64_t channels = images.size(1);
  const std::vector<std::int64_t> others{0, 2, 3};
  const auto for_each_channel = [&](const torch::Tensor& values) {
    return values.to(images.scalar_type()).view({1, channels, 1, 1});
  };
  const auto own_count = torch::full(
      {1},
      static_cast<double>(images.numel() / channels),
      images.options().dtype(torch::kFloat64));
  const auto sums = sum_over_ranks(
      torch::cat({images.sum(others, false, torch::kFloat64), own_count}),
      *ranks_);
  const auto count = sums[channels].detach();
  const auto mean = sums.narrow(0, 0, channels) / count;
  const auto centred = images - for_each_channel(mean);
  const auto squares = sum_over_ranks(
      centred.square().sum(others, false, torch::kFloat64), *ranks_);
  {
    const torch::NoGradGuard no_grad;
    running_mean_.lerp_(mean.to(running_mean_.scalar_type()), kMomentum);
    const auto variance = squares / (count - 1);
    running_var_.lerp_(variance.to(running_var_.scalar_type()), kMomentum);
  }
  const auto scale = (squares / count + kEpsilon).rsqrt();
  return centred * for_each_channel(scale * weight_) + for_each_channel(bias_);
}

void set_reduction(
    torch::nn::Module& model, const std::shared_ptr<Reduction>& ranks) {
  for (const auto& module : model.modules()) {
    if (auto* const norm = module->as<BatchNormImpl>()) {
      norm->set_reduction(ranks);
    }
  }
}

}  // namespace stepsize::trainer
