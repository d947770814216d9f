#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/curvature/gauss_newton_operator.h>
#include <torch/csrc/autograd/autograd.h>

#include "csrc/curvature/checks.h"
#include "csrc/curvature/double_backward.h"
#include "csrc/curvature/replay.h"
#include "csrc/curvature/vector_math.h"

namespace stepsize {
namespace {

constexpr char kGaussNewtonOperator[] = "gauss_newton_operator";

// J' u over the parameters; undefined where they are unused.
TensorVector pull_back(
    const at::Tensor& outputs,
    const TensorVector& parameters,
    const at::Tensor& u,
    bool create_graph) {
  return detail::made_dense(
      kGaussNewtonOperator,
      torch::autograd::grad(
          {outputs},
          parameters,
          {u},
          /*retain_graph=*/true,
          create_graph,
          /*allow_unused=*/true));
}

}  // namespace

LinearOperator gauss_newton_operator(
    const std::function<at::Tensor()>& outputs,
    const std::function<at::Tensor(const at::Tensor&)>& loss,
    const TensorVector& parameters) {
  TORCH_CHECK(
      outputs != nullptr && loss != nullptr,
      kGaussNewtonOperator,
      ": a function is empty");
  detail::check_parameters(kGaussNewtonOperator, parameters, /*leaves=*/false);
  const c10::AutoGradMode with_gradients(true);

  const at::Tensor z = outputs();
  TORCH_CHECK(
      z.defined() && z.requires_grad() && z.numel() > 0,
      kGaussNewtonOperator,
      ": the outputs must have an element and a graph");
  const at::Tensor leaf = z.detach().requires_grad_();
  const at::Tensor value = loss(leaf);
  detail::check_loss(kGaussNewtonOperator, value);
  const TensorVector slope = detail::gradients_of(
      kGaussNewtonOperator, value, {leaf}, /*create_graph=*/true);

  // Linear in u: the values of u are never read.
  const at::Tensor u = at::zeros_like(leaf).requires_grad_();
  const TensorVector pulled = pull_back(z, parameters, u, true);

  return function_operator(
      parameters,
      [parameters, z, leaf, slope, u, pulled](
          const TensorVector& v) -> TensorVector {
        const TensorVector jv = detail::double_backward(pulled, {u}, v);
        if (!jv[0].defined()) return TensorVector(parameters.size());
        const TensorVector hjv = detail::double_backward(slope, {leaf}, jv);
        if (!hjv[0].defined()) return TensorVector(parameters.size());
        return pull_back(z, parameters, hjv[0], false);
      });
}

}  // namespace stepsize
