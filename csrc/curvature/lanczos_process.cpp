#include "csrc/curvature/lanczos_process.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <tuple>

#include "csrc/curvature/vector_math.h"

namespace stepsize::detail {

LanczosProcess::LanczosProcess(
    const LinearOperator& op, const TensorVector& start)
    : op_(op), space_(op.like()), current_(space_.flatten(start)) {
  for (const at::Tensor& part : op.like()) {
    epsilon_ = std::max(
        epsilon_,
        part.scalar_type() == at::kDouble
            ? std::numeric_limits<double>::epsilon()
            : static_cast<double>(std::numeric_limits<float>::epsilon()));
  }
}

LanczosProcess::Step LanczosProcess::step() {
  const TensorVector product =
      space_.flatten(op_.apply(space_.unflatten(current_)));
  const at::Tensor alpha = dot(current_, product);
  basis_.append(current_);
  const TensorVector rest = basis_.orthogonal_part(product);
  const std::vector<double> scalars = to_host({alpha, dot(rest, rest)});
  alphas_.push_back(scalars[0]);
  betas_.push_back(norm(rest, scalars[1]));
  if (!std::isfinite(alphas_.back()) || !std::isfinite(betas_.back())) {
    return Step::kNotFinite;
  }
  scale_ = std::max({scale_, std::abs(alphas_.back()), betas_.back()});
  // What rounding leaves of the products of all steps. A rest above that counts
  // as a direction of its own, even if rounding has made it: beside one huge
  // eigenvalue the true directions of all others are no larger.
  const double rounding = static_cast<double>(steps()) * epsilon_ * scale_;
  if (steps() == op_.dimension() || betas_.back() <= rounding) {
    return Step::kInvariant;
  }
  current_ = divided(rest, betas_.back());
  return Step::kGoOn;
}

bool LanczosProcess::go_on(const at::Generator& generator) {
  if (steps() == op_.dimension()) return false;
  const TensorVector fresh = basis_.orthogonal_part(space_.flatten(
      draw(op_.like(), ProbeDistribution::kGaussian, generator)));
  const double length = norm(fresh);
  if (!(length > 0)) return false;
  current_ = divided(fresh, length);
  cuts_.push_back({alphas_.size() - 1, betas_.back()});
  betas_.back() = 0;
  return true;
}

double LanczosProcess::residual(const at::Tensor& coefficients) const {
  const at::Tensor flat = coefficients.contiguous();
  const double* data = flat.data_ptr<double>();
  double bound = betas_.back() * std::abs(data[flat.numel() - 1]);
  for (const Cut& cut : cuts_) bound += cut.beta * std::abs(data[cut.row]);
  return bound;
}

TensorVector LanczosProcess::vector(const at::Tensor& coefficients) const {
  return space_.unflatten(basis_.combine(coefficients));
}

TridiagonalEigen::TridiagonalEigen(
    const std::vector<double>& alphas, const std::vector<double>& betas) {
  const auto n = static_cast<int64_t>(alphas.size());
  const at::Tensor matrix = at::zeros({n, n}, at::kDouble);
  auto entries = matrix.accessor<double, 2>();
  for (int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    entries[i][i] = alphas[at];
    if (i + 1 < n) {
      entries[i][i + 1] = betas[at];
      entries[i + 1][i] = betas[at];
    }
  }
  at::Tensor eigenvalues;
  std::tie(eigenvalues, vectors) = at::linalg_eigh(matrix);
  const at::Tensor flat = eigenvalues.contiguous();
  const double* data = flat.data_ptr<double>();
  values.assign(data, data + n);
}

}  // namespace stepsize::detail
