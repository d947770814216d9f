#include "csrc/kernels/aten_ops.h"

#include <torch/version.h>

#include <limits>

#if TORCH_VERSION_MAJOR > 2 || \
    (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 6)

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>

#include <optional>

namespace stepsize {
namespace detail {
namespace {

double order_of(NormType type) {
  return type == NormType::kTwo ? 2.0 : std::numeric_limits<double>::infinity();
}

std::optional<at::Tensor> if_defined(const at::Tensor& tensor) {
  if (!tensor.defined()) return std::nullopt;
  return tensor;
}

}  // namespace

std::vector<at::Tensor> multiply_each(
    at::TensorList list, const at::Tensor& factor) {
  return at::_foreach_mul(list, factor);
}

void multiply_each_(at::TensorList list, const at::Tensor& factor) {
  at::_foreach_mul_(list, factor);
}

void add_each_(at::TensorList list, const at::Tensor& term) {
  at::_foreach_add_(list, term);
}

void copy_each_(at::TensorList to, at::TensorList from) {
  at::_foreach_copy_(to, from);
}

std::vector<at::Tensor> norm_each(
    at::TensorList list, NormType type, at::ScalarType result) {
  return at::_foreach_norm(list, order_of(type), result);
}

bool has_fused_operators() { return true; }

void fused_sgd_(
    at::TensorList params,
    at::TensorList grads,
    at::TensorList momentum_buffers,
    const FusedSGD& numbers,
    const at::Tensor& found_inf) {
  at::_fused_sgd_(
      params,
      grads,
      momentum_buffers,
      numbers.weight_decay,
      numbers.momentum,
      numbers.lr,
      numbers.dampening,
      numbers.nesterov,
      numbers.maximize,
      numbers.first,
      std::nullopt,
      if_defined(found_inf));
}

void fused_adam_(
    at::TensorList params,
    at::TensorList grads,
    at::TensorList exp_avgs,
    at::TensorList exp_avg_sqs,
    at::TensorList max_exp_avg_sqs,
    at::TensorList steps,
    const FusedAdam& numbers,
    const at::Tensor& found_inf) {
  const auto step = [&](auto op) {
    op(params,
       grads,
       exp_avgs,
       exp_avg_sqs,
       max_exp_avg_sqs,
       steps,
       numbers.lr,
       numbers.beta1,
       numbers.beta2,
       numbers.weight_decay,
       numbers.eps,
       numbers.amsgrad,
       numbers.maximize,
       std::nullopt,
       if_defined(found_inf));
  };
  if (numbers.decoupled) {
    step([](auto&&... arguments) { at::_fused_adamw_(arguments...); });
  } else {
    step([](auto&&... arguments) { at::_fused_adam_(arguments...); });
  }
}

}  // namespace detail
}  // namespace stepsize

#else

#include <ATen/ops/_foreach_norm.h>
#include <c10/util/Exception.h>

namespace stepsize {
namespace detail {

std::vector<at::Tensor> multiply_each(
    at::TensorList list, const at::Tensor& factor) {
  std::vector<at::Tensor> products;
  products.reserve(list.size());
  for (const at::Tensor& tensor : list) products.push_back(tensor.mul(factor));
  return products;
}

void multiply_each_(at::TensorList list, const at::Tensor& factor) {
  for (const at::Tensor& tensor : list) tensor.mul_(factor);
}

void add_each_(at::TensorList list, const at::Tensor& term) {
  for (const at::Tensor& tensor : list) tensor.add_(term);
}

void copy_each_(at::TensorList to, at::TensorList from) {
  for (size_t i = 0; i < to.size(); ++i) to[i].copy_(from[i]);
}

std::vector<at::Tensor> norm_each(
    at::TensorList list, NormType type, at::ScalarType) {
  std::vector<at::Tensor> wide;
  wide.reserve(list.size());
  for (const at::Tensor& tensor : list) {
    const bool half = tensor.element_size() < 4;
    wide.push_back(half ? tensor.to(at::kFloat) : tensor);
  }
  return at::_foreach_norm(
      wide,
      type == NormType::kTwo ? 2.0 : std::numeric_limits<double>::infinity());
}

bool has_fused_operators() { return false; }

void fused_sgd_(
    at::TensorList,
    at::TensorList,
    at::TensorList,
    const FusedSGD&,
    const at::Tensor&) {
  TORCH_INTERNAL_ASSERT(false, "no fused operators before LibTorch 2.6");
}

void fused_adam_(
    at::TensorList,
    at::TensorList,
    at::TensorList,
    at::TensorList,
    at::TensorList,
    at::TensorList,
    const FusedAdam&,
    const at::Tensor&) {
  TORCH_INTERNAL_ASSERT(false, "no fused operators before LibTorch 2.6");
}

}  // namespace detail
}  // namespace stepsize

#endif
