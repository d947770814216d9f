#pragma once

// What a step makes of one element, over a type M: float and double in the
// loops over plain arrays, Floats in those over compact state. The operations
// and their order are LibTorch's, so that both round alike. What a rule returns
// is the parameter.

#include "csrc/kernels/lanes.h"

namespace stepsize::detail {

enum MomentumMode {
  kNoMomentum,
  kFirst,
  kNext,
  kFirstNesterov,
  kNextNesterov,
};
constexpr int kMomentumModeCount = 5;

/// The numbers of an SGD step, in the form in which the loops want them.
struct SGDNumbers {
  double lr;
  double momentum;
  double undamped;  ///< 1 - dampening
  double decay;     ///< of the gradient's side, 0 where it is decoupled
  double keep;      ///< factor of the parameter: 1 - lr * decoupled decay
  double coarse;    ///< factor of the gradient, before `scale`: see Scale
  double scale;     ///< factor of the gradient, its sign for maximize included
};

/// The numbers of an Adam step.
struct AdamNumbers {
  double beta1;
  double beta2;
  double eps;
  double decay;
  double keep;
  double coarse;
  double scale;
  double step_size;     ///< lr / (1 - beta1^t)
  double inverse_root;  ///< 1 / sqrt(1 - beta2^t)
  double mask;          ///< factor of a cautious update that is not left out
};

/// The numbers of a Lion step.
struct LionNumbers {
  double beta1;
  double beta2;
  double keep;  ///< factor of the parameter: 1 - lr * decay
  double lr;
};

namespace {

// Their members are values and not references to the numbers: those might
// change with every store, and the loops would not vectorize.

template <typename M, MomentumMode kMode, bool kCoupled>
struct SGDRule {
  explicit SGDRule(const SGDNumbers& numbers)
      : lr(splat<M>(numbers.lr)),
        momentum(splat<M>(numbers.momentum)),
        undamped(splat<M>(numbers.undamped)),
        decay(splat<M>(numbers.decay)),
        keep(splat<M>(numbers.keep)),
        coarse(splat<M>(numbers.coarse)),
        scale(splat<M>(numbers.scale)) {}

  inline M operator()(M param, M gradient, M& kept) const {
    M direction = gradient * coarse * scale;
    if (kCoupled) direction = direction + decay * param;
    if (kMode != kNoMomentum) {
      M buffer = direction;
      if (kMode == kNext || kMode == kNextNesterov) {
        buffer = momentum * kept + undamped * direction;
      }
      kept = buffer;
      const bool nesterov = kMode == kFirstNesterov || kMode == kNextNesterov;
      direction = nesterov ? direction + momentum * buffer : buffer;
    }
    return param * keep - lr * direction;
  }

  M lr;
  M momentum;
  M undamped;
  M decay;
  M keep;
  M coarse;
  M scale;
};

template <typename M, bool kCoupled, bool kAmsgrad, bool kCautious>
struct AdamRule {
  explicit AdamRule(const AdamNumbers& numbers)
      : beta1(splat<M>(numbers.beta1)),
        beta2(splat<M>(numbers.beta2)),
        one_minus_beta1(splat<M>(1.0 - numbers.beta1)),
        one_minus_beta2(splat<M>(1.0 - numbers.beta2)),
        eps(splat<M>(numbers.eps)),
        decay(splat<M>(numbers.decay)),
        keep(splat<M>(numbers.keep)),
        coarse(splat<M>(numbers.coarse)),
        scale(splat<M>(numbers.scale)),
        step_size(splat<M>(numbers.step_size)),
        inverse_root(splat<M>(numbers.inverse_root)),
        mask(splat<M>(numbers.mask)),
        zero(splat<M>(0)) {}

  /// Scaled, and with the decay that is coupled.
  inline M coming_gradient(M param, M gradient) const {
    const M grad = gradient * coarse * scale;
    return kCoupled ? grad + decay * param : grad;
  }
  inline M coming_mean(M grad, M mean) const {
    return beta1 * mean + one_minus_beta1 * grad;
  }

  inline M operator()(
      M param, M gradient, M& mean, M& square, M& largest) const {
    const M grad = coming_gradient(param, gradient);
    mean = coming_mean(grad, mean);
    square = beta2 * square + one_minus_beta2 * grad * grad;
    M used = square;
    if (kAmsgrad) {
      // The comparison is false for a NaN, which thereby stays.
      used = select(square <= largest, largest, square);
      largest = used;
    }
    const M denominator = square_root(used) * inverse_root + eps;
    M step = step_size * mean / denominator;
    if (kCautious) {
      // False only of those that are left out, so that a NaN gets on.
      step = select(mean * grad <= zero, zero, step * mask);
    }
    return param * keep - step;
  }
  /// Without amsgrad.
  inline M operator()(M param, M gradient, M& mean, M& square) const {
    M none = zero;
    return (*this)(param, gradient, mean, square, none);
  }

  M beta1;
  M beta2;
  M one_minus_beta1;
  M one_minus_beta2;
  M eps;
  M decay;
  M keep;
  M coarse;
  M scale;
  M step_size;
  M inverse_root;
  M mask;
  M zero;
};

template <typename M>
struct LionRule {
  explicit LionRule(const LionNumbers& numbers)
      : beta1(splat<M>(numbers.beta1)),
        beta2(splat<M>(numbers.beta2)),
        one_minus_beta1(splat<M>(1.0 - numbers.beta1)),
        one_minus_beta2(splat<M>(1.0 - numbers.beta2)),
        keep(splat<M>(numbers.keep)),
        lr(splat<M>(numbers.lr)),
        zero(splat<M>(0)),
        one(splat<M>(1)) {}

  inline M operator()(M param, M grad, M& mean) const {
    const M mix = beta1 * mean + one_minus_beta1 * grad;
    // Neither is true of a NaN, which thereby gets into the parameter.
    M sign = select(mix > zero, one, mix);
    sign = select(mix < zero, zero - one, sign);
    mean = beta2 * mean + one_minus_beta2 * grad;
    return param * keep - lr * sign;
  }

  M beta1;
  M beta2;
  M one_minus_beta1;
  M one_minus_beta2;
  M keep;
  M lr;
  M zero;
  M one;
};

}  // namespace
}  // namespace stepsize::detail
