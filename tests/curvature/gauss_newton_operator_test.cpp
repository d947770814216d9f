#include <gtest/gtest.h>
#include <stepsize/curvature/gauss_newton_operator.h>
#include <stepsize/curvature/hessian_operator.h>

#include <cstdint>
#include <vector>

#include "tests/curvature/support/problems.h"
#include "tests/curvature/support/weak_node.h"

namespace stepsize::test {
namespace {

using OutputLoss = std::function<at::Tensor(const at::Tensor&)>;

// J' H J, row by row of J and by the closed form of H.
at::Tensor expected_matrix(const SmallNet& net, const at::Tensor& h) {
  const at::Tensor outputs = net.outputs().reshape(-1);
  std::vector<at::Tensor> rows;
  for (int64_t i = 0; i < outputs.numel(); ++i) {
    rows.push_back(flat(torch::autograd::grad(
        {outputs[i]}, net.parameters, {}, /*retain_graph=*/true)));
  }
  const at::Tensor jacobian = torch::stack(rows);
  return jacobian.t().matmul(h).matmul(jacobian);
}

TEST(GaussNewtonOperator, SquaredErrorIsAProductOfJacobians) {
  const SmallNet net;
  const LinearOperator op = gauss_newton_operator(
      [&] { return net.outputs(); },
      [&](const at::Tensor& z) { return torch::mse_loss(z, net.targets); },
      net.parameters);
  const at::Tensor h = torch::eye(36, torch::kDouble) * (2.0 / 36);
  EXPECT_LT(relative_error(dense(op), expected_matrix(net, h)), 1e-13);
}

TEST(GaussNewtonOperator, CrossEntropyHasTheSoftmaxHessian) {
  // Of one point: diag(p) - p p'.
  const SmallNet net;
  const LinearOperator op = gauss_newton_operator(
      [&] { return net.outputs(); },
      [&](const at::Tensor& z) {
        return torch::cross_entropy_loss(z, net.classes);
      },
      net.parameters);
  const at::Tensor p = torch::softmax(net.outputs().detach(), 1);
  std::vector<at::Tensor> blocks;
  for (int64_t i = 0; i < 12; ++i) {
    blocks.push_back((torch::diag(p[i]) - torch::outer(p[i], p[i])) / 12);
  }
  const at::Tensor g = dense(op);
  EXPECT_LT(
      relative_error(g, expected_matrix(net, torch::block_diag(blocks))),
      1e-13);
  EXPECT_GT(torch::linalg_eigvalsh(g).min().item<double>(), -1e-15);
  // The Hessian itself has negative eigenvalues here: another matrix.
  const at::Tensor hessian = dense(
      hessian_operator([&] { return net.cross_entropy(); }, net.parameters));
  EXPECT_LT(torch::linalg_eigvalsh(hessian).min().item<double>(), -1e-3);
}

TEST(GaussNewtonOperator, IsTheHessianOfALinearModel) {
  const SmallNet net;
  const at::Tensor w =
      torch::full({4, 3}, 0.1, torch::kDouble).requires_grad_();
  const OutputLoss loss = [&](const at::Tensor& z) {
    return torch::cross_entropy_loss(z, net.classes);
  };
  const auto outputs = [&] { return net.inputs.matmul(w); };
  const at::Tensor hessian =
      dense(hessian_operator([&] { return loss(outputs()); }, {w}));
  EXPECT_LT(
      relative_error(dense(gauss_newton_operator(outputs, loss, {w})), hessian),
      1e-13);
}

TEST(GaussNewtonOperator, ALossLinearInTheOutputsHasNone) {
  const SmallNet net;
  const LinearOperator op = gauss_newton_operator(
      [&] { return net.outputs(); },
      [](const at::Tensor& z) { return z.mean(); },
      net.parameters);
  EXPECT_EQ(dense(op).abs().max().item<double>(), 0.0);
}

TEST(GaussNewtonOperator, UnusedParametersHaveZeros) {
  const at::Tensor used = torch::ones({1}, torch::kDouble).requires_grad_();
  const at::Tensor unused = torch::ones({1}, torch::kDouble).requires_grad_();
  const LinearOperator op = gauss_newton_operator(
      [&] { return 3 * used; },
      [](const at::Tensor& z) { return z.pow(2).sum(); },
      {unused, used});
  EXPECT_TRUE(dense(op).equal(
      torch::tensor({{0.0, 0.0}, {0.0, 18.0}}, torch::kDouble)));
}

TEST(GaussNewtonOperator, CallsEachFunctionOnce) {
  const SmallNet net;
  int64_t calls = 0;
  const LinearOperator op = gauss_newton_operator(
      [&] {
        ++calls;
        return net.outputs();
      },
      [&](const at::Tensor& z) {
        ++calls;
        return z.pow(2).sum();
      },
      net.parameters);
  dense(op);
  EXPECT_EQ(calls, 2);
  for (const at::Tensor& parameter : net.parameters) {
    EXPECT_FALSE(parameter.grad().defined());
  }
}

TEST(GaussNewtonOperator, TheGraphGoesWithTheOperator) {
  const SmallNet net;
  WeakNode node;
  {
    const LinearOperator op = gauss_newton_operator(
        [&] {
          const at::Tensor z = net.outputs();
          node.watch(z);
          return z;
        },
        [&](const at::Tensor& z) { return torch::mse_loss(z, net.targets); },
        net.parameters);
    op.apply(gaussian(op.like(), 1));
    EXPECT_FALSE(node.expired());
  }
  EXPECT_TRUE(node.expired());
}

TEST(GaussNewtonOperator, RefusesOutputsWithoutAGraph) {
  const SmallNet net;
  const OutputLoss loss = [](const at::Tensor& z) { return z.pow(2).sum(); };
  EXPECT_THROW(
      gauss_newton_operator(
          [&] { return net.outputs().detach(); }, loss, net.parameters),
      c10::Error);
  EXPECT_THROW(
      gauss_newton_operator(
          [&] { return net.outputs(); },
          [](const at::Tensor& z) { return z; },
          net.parameters),
      c10::Error);
}

}  // namespace
}  // namespace stepsize::test
