#include "csrc/adaptive/newton_schulz.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <utility>

#include "csrc/core/half.h"

namespace stepsize::detail {
namespace {

// Rows of a symmetric product that are computed at once. Narrower panels save
// more of what is below the diagonal, and multiply more slowly.
constexpr int64_t kPanelRows = 128;

// From this ratio of columns to rows on, the powers of the small Gram matrix
// cost less than products with all columns.
constexpr double kWide = 1.5;

// alpha left right + beta added, of which the caller knows that it is
// symmetric: on a CPU what is below the diagonal is copied. LibTorch has no
// product that would know it.
at::Tensor symmetric_product(
    const at::Tensor& left,
    const at::Tensor& right,
    const at::Tensor& added = {},
    double beta = 0,
    double alpha = 1) {
  const int64_t size = left.size(1);
  if (!left.is_cpu() || size < 2 * kPanelRows) {
    return added.defined() ? at::baddbmm(added, left, right, beta, alpha)
                           : at::bmm(left, right);
  }
  at::Tensor product =
      added.defined() ? added.clone()
                      : at::zeros({left.size(0), size, size}, left.options());
  for (int64_t first = 0; first < size; first += kPanelRows) {
    const int64_t rows = std::min(kPanelRows, size - first);
    const int64_t below = size - first - rows;
    at::Tensor panel =
        product.narrow(1, first, rows).narrow(2, first, size - first);
    // At a beta of 0 what the memory holds should not count, but before
    // LibTorch 2.1 a small product of the CPU keeps a NaN of it: hence the
    // zeros.
    panel.baddbmm_(
        left.narrow(1, first, rows),
        right.narrow(2, first, size - first),
        beta,
        alpha);
    if (below == 0) continue;
    product.narrow(1, first + rows, below)
        .narrow(2, first, rows)
        .copy_(panel.narrow(2, rows, below).transpose(1, 2));
  }
  return product;
}

at::Tensor iterate(at::Tensor batch, int64_t steps) {
  at::Tensor next = at::empty_like(batch);
  for (int64_t step = 0; step < steps; ++step) {
    const at::Tensor gram = symmetric_product(batch, batch.transpose(1, 2));
    const at::Tensor factor = symmetric_product(
        gram, gram, gram, kNewtonSchulzCubic, kNewtonSchulzQuintic);
    at::baddbmm_out(next, batch, factor, batch, kNewtonSchulzLinear);
    std::swap(batch, next);
  }
  return batch;
}

// The same by the polynomials of the Gram matrix alone, which commute:
// X_k = P_k .. P_1 X_0 and G_k = P_k G_{k-1} P_k. In float32 the rounding is
// that of iterate(), some 1e-4 of the result; bfloat16 has too few digits.
at::Tensor iterate_gram(const at::Tensor& batch, int64_t steps) {
  at::Tensor gram = symmetric_product(batch, batch.transpose(1, 2));
  at::Tensor factor;
  for (int64_t step = 0; step < steps; ++step) {
    const at::Tensor own = symmetric_product(
        gram, gram, gram, kNewtonSchulzCubic, kNewtonSchulzQuintic);
    own.diagonal(0, 1, 2).add_(kNewtonSchulzLinear);
    factor = factor.defined() ? symmetric_product(own, factor) : own;
    if (step + 1 < steps) {
      gram = symmetric_product(own, symmetric_product(own, gram));
    }
  }
  return at::bmm(factor, batch);
}

}  // namespace

at::Tensor newton_schulz(at::Tensor batch, int64_t steps, double eps) {
  // In float64 the squares of no float32 leave their range.
  at::Tensor norm = at::linalg_vector_norm(
      batch,
      2,
      at::IntArrayRef{1, 2},
      /*keepdim=*/true,
      batch.is_cpu() ? at::kDouble : widened(batch.scalar_type()));
  batch.div_(norm.add_(eps).to(batch.scalar_type()));
  const bool is_wide = static_cast<double>(batch.size(2)) >=
                       kWide * static_cast<double>(batch.size(1));
  if (is_wide && batch.is_cpu() && !is_half(batch.scalar_type())) {
    while (steps > 0) {
      const int64_t own = first_steps_of_gram(steps);
      batch = iterate_gram(batch, own);
      steps -= own;
    }
    return batch;
  }
  return iterate(std::move(batch), steps);
}

}  // namespace stepsize::detail
