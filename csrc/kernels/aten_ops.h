#pragma once

// Multi-tensor and fused operators, where LibTorch's versions differ.

#include <ATen/core/Tensor.h>
#include <stepsize/kernels/grad_norm.h>

#include <vector>

namespace stepsize::detail {

/// list * factor, a 0-dim tensor on the list's device and of its type.
std::vector<at::Tensor> multiply_each(
    at::TensorList list, const at::Tensor& factor);
void multiply_each_(at::TensorList list, const at::Tensor& factor);
void add_each_(at::TensorList list, const at::Tensor& term);
void copy_each_(at::TensorList to, at::TensorList from);

/// The norms of non-empty tensors of one device, in the type given where the
/// version can sum in it and else in the tensors' own, but at least float32.
std::vector<at::Tensor> norm_each(
    at::TensorList list, NormType type, at::ScalarType result);

/// Whether fused_sgd_ and fused_adam_ can be called: from 2.6 on. They work on
/// a CPU, too, and there are wrong in 2.6 for the half types.
bool has_fused_operators();

struct FusedSGD {
  double weight_decay;
  double momentum;
  double lr;
  double dampening;
  bool nesterov;
  bool maximize;
  bool first;
};
void fused_sgd_(
    at::TensorList params,
    at::TensorList grads,
    at::TensorList momentum_buffers,
    const FusedSGD& numbers,
    const at::Tensor& found_inf);

struct FusedAdam {
  double lr;
  double beta1;
  double beta2;
  double weight_decay;
  double eps;
  bool amsgrad;
  bool maximize;
  bool decoupled;
};
void fused_adam_(
    at::TensorList params,
    at::TensorList grads,
    at::TensorList exp_avgs,
    at::TensorList exp_avg_sqs,
    at::TensorList max_exp_avg_sqs,
    at::TensorList steps,
    const FusedAdam& numbers,
    const at::Tensor& found_inf);

}  // namespace stepsize::detail
