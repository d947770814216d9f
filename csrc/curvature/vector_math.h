#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <stepsize/curvature/hutchinson.h>
#include <stepsize/curvature/linear_operator.h>

#include <vector>

namespace stepsize::detail {

/// The inner product, each term and the sum in float64: a 0-dim float64
/// tensor on the first tensor's device, so that an accelerator need not wait.
at::Tensor dot(const TensorVector& a, const TensorVector& b);

/// The numbers of 0-dim float64 tensors of one device: one transfer.
std::vector<double> to_host(const std::vector<at::Tensor>& scalars);

/// |v|, on the host; right also where float64 squares leave their range.
double norm(const TensorVector& v);

/// The same where dot(v, v) is known already.
double norm(const TensorVector& v, double square);

/// That of the coarsest dtype.
double machine_epsilon(const TensorVector& v);

/// y + alpha x, alpha a 0-dim tensor of any device.
TensorVector plus_scaled(
    const TensorVector& y, const at::Tensor& alpha, const TensorVector& x);

/// v / divisor, in tensors of its own: products may share memory.
TensorVector divided(const TensorVector& v, double divisor);

/// The tensor with its elements in memory: negated views, the zeros that
/// autograd keeps without memory, and what a sparse one leaves out are written.
at::Tensor plain(const at::Tensor& t);

/// Gradients of the parameters as dense tensors; those of an Embedding may be
/// sparse. A graph is kept where gradients are on. Throws c10::Error, naming
/// `function` and the parameter, where one cannot be made dense.
TensorVector made_dense(const char* function, TensorVector gradients);

/// (a - b) / divisor, divisor a 0-dim tensor of any device. Tensors of `a` that
/// nobody else holds are overwritten: memory at hand costs no page faults.
TensorVector difference_quotient(
    TensorVector a, const TensorVector& b, const at::Tensor& divisor);

/// A random vector of independent elements.
TensorVector draw(
    const TensorVector& like,
    ProbeDistribution distribution,
    const at::Generator& generator);

/// A start vector of length 1: `initial` if it is not empty, else Gaussian.
/// Throws c10::Error, naming `function`, where it cannot be brought to that.
TensorVector unit_start(
    const char* function,
    const TensorVector& like,
    const TensorVector& initial,
    const at::Generator& generator);

/// `v` as vectors of the operator are: shapes checked, undefined tensors made
/// zeros, dtype and device converted, no graph. Throws c10::Error, naming
/// `who` and `what` v is.
TensorVector matched(
    const char* who,
    const char* what,
    const TensorVector& v,
    const TensorVector& like);

}  // namespace stepsize::detail
