#pragma once

#include <cstdint>

namespace stepsize {

/// What momentum m does to the largest rate that a curvature allows.
enum class MomentumLimit : std::uint8_t {
  /// For mini-batches: the effective rate lr / (1 - m) stays below the limit
  /// without momentum. Momentum gathers the noise of 1 / (1 - m) gradients,
  /// that of their curvature too, and widens nothing.
  kEffectiveRate,
  /// For full batches and losses without noise: the limit of a quadratic, which
  /// is 1 + m times as large as without momentum.
  kQuadratic,
};

/// The learning rate below which gradient descent with a constant rate is
/// stable on a quadratic whose largest eigenvalue is `lambda`:
///
///     2 / lambda                           plain
///     (2 + 2 m) / lambda                   with momentum m (heavy ball)
///     (2 + 2 m) / ((1 + 2 m) lambda)       with Nesterov's momentum m
///     (2 - 2 m) / lambda                   either, by kEffectiveRate
///
/// The forms of momentum are those of torch::optim::SGD with dampening 0. A
/// flat direction, lambda = 0, sets no limit: infinity. Throws c10::Error
/// unless lambda is finite and >= 0 and momentum lies in [0, 1).
///
/// Mini-batches overrate the curvature of the whole data set, and training
/// often settles where the rate is just this limit ("edge of stability", Cohen
/// et al. 2021, arXiv:2103.00065): take it as a scale, not as a target.
///
/// Source: the eigenvalues of the linear recursion leave the unit circle, as
/// in Goh 2017, "Why momentum really works", and Cohen et al., appendix B.
double max_stable_lr(
    double lambda,
    double momentum = 0,
    bool nesterov = false,
    MomentumLimit limit = MomentumLimit::kQuadratic);

/// Throws c10::Error, in the name of `kind`, unless it is an enumerator.
void check_momentum_limit(const char* kind, MomentumLimit limit);

}  // namespace stepsize
