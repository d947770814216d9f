#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace stepsize::detail {

/// a, b and c below.
constexpr double kNewtonSchulzLinear = 3.4445;
constexpr double kNewtonSchulzCubic = -4.7750;
constexpr double kNewtonSchulzQuintic = 2.0315;

/// How many of the remaining iterations go by one Gram matrix in float32: five,
/// and what they leave over at first. What it was rounded by grows twelvefold
/// in each, and after eight would outgrow the result.
constexpr int64_t first_steps_of_gram(int64_t steps) {
  return (steps - 1) % 5 + 1;
}

/// Muon's quintic Newton-Schulz iteration (Jordan et al. 2024) on each matrix X
/// of a batch [count, rows, columns], rows <= columns, with eps in the place of
/// a length that is 0:
///
///   X = X / (|X|_F + eps)
///   X = a X + (b G + c G^2) X,  G = X X^T       `steps` times
///
/// (a, b, c) = (3.4445, -4.7750, 2.0315). Each singular value s becomes p(s),
/// p(s) = a s + b s^3 + c s^5, as often: after five steps those from 0.01 to 1
/// lie in [0.68, 1.14]. A value that is not finite shows in all of its matrix.
///
/// Computes in the batch's type, and writes into the batch.
at::Tensor newton_schulz(at::Tensor batch, int64_t steps, double eps);

}  // namespace stepsize::detail
