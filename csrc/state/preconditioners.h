#pragma once

#include <ATen/Functions.h>
#include <stepsize/state/preconditioner.h>

#include <cmath>
#include <cstddef>
#include <tuple>

namespace stepsize::detail {

/// A kept tensor as numbers of the type of `like`; undefined where there is
/// none.
inline at::Tensor kept_tensor(
    const ComingUpdate& update, std::size_t index, const at::Tensor& like) {
  if (index >= update.state.size() || !update.state[index].defined()) return {};
  return update.state[index].to(like.device(), like.scalar_type());
}

/// share mean + (1 - share) value; an undefined mean is one of zeros.
inline at::Tensor running_mean(
    const at::Tensor& mean, double share, const at::Tensor& value) {
  const at::Tensor own = value.mul(1 - share);
  return mean.defined() ? own.add(mean, share) : own;
}

/// The preconditioner of Adam, AdamW and what has their options and keeps what
/// they keep: exp_avg, exp_avg_sq, max_exp_avg_sq.
template <typename Options>
at::Tensor adam_preconditioner(const ComingUpdate& update) {
  const auto& own = static_cast<const Options&>(update.options);
  const auto [beta1, beta2] = own.betas();
  const at::Tensor& gradient = update.gradient;
  at::Tensor square =
      running_mean(kept_tensor(update, 1, gradient), beta2, gradient.square());
  if (own.amsgrad()) {
    const at::Tensor largest = kept_tensor(update, 2, gradient);
    if (largest.defined()) square = at::maximum(square, largest);
  }
  const auto t = static_cast<double>(update.step);
  return square.sqrt_()
      .div_(std::sqrt(1 - std::pow(beta2, t)))
      .add_(own.eps())
      .mul_(1 - std::pow(beta1, t));
}

}  // namespace stepsize::detail
