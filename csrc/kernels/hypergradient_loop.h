#pragma once

// The loops of HypergradientSGD and HypergradientAdam: see step_loops.h, which
// includes it.

#include <cstdint>

#include "csrc/kernels/loop_types.h"
#include "csrc/kernels/sum_lanes.h"

namespace stepsize::detail {

/// The numbers of a HypergradientSGD step.
struct HypergradientSGDNumbers {
  double decay;     ///< of the gradient's side
  double momentum;  ///< 0: none
  double undamped;  ///< 1 - dampening
  bool nesterov;    ///< there is a momentum buffer besides the direction
  double rate;      ///< none while the sums are made
};

/// The numbers of the sums of HypergradientAdam: those of the update before.
struct HypergradientAdamNumbers {
  double decay;
  double eps;
  double mean_scale;    ///< 1 / (1 - beta1^t), 0 where there was none
  double inverse_root;  ///< 1 / sqrt(1 - beta2^t)
};

/// Sums of g u, g^2 and u^2, u being the direction of the update before.
constexpr int kHypergradientSums = 3;

namespace {

/// The three sums, of numbers that come kSumStep at a time.
class HypergradientLanes {
 public:
  inline void add(const double* grads, const double* directions) {
    along_.add(grads, directions);
    grads_.add(grads, grads);
    directions_.add(directions, directions);
  }
  inline void add_to(double* sums) const {
    sums[0] += lane_total(along_);
    sums[1] += lane_total(grads_);
    sums[2] += lane_total(directions_);
  }

 private:
  ProductSums along_;
  ProductSums grads_;
  ProductSums directions_;
};

template <typename P, typename S>
void hypergradient_sgd_sums(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const HypergradientSGDNumbers& numbers,
    double* sums) {
  using M = typename Math<P>::Type;
  const P* __restrict params = static_cast<const P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  const S* __restrict directions = static_cast<const S*>(arrays[2]);
  const M decay = static_cast<M>(numbers.decay);
  HypergradientLanes lanes;
  double own_grads[kSumStep];
  double own_directions[kSumStep];
  int64_t i = begin;
  for (; i + kSumStep <= end; i += kSumStep) {
    for (int j = 0; j < kSumStep; ++j) {
      own_grads[j] = load(grads[i + j]) + decay * load(params[i + j]);
      own_directions[j] = load(directions[i + j]);
    }
    lanes.add(own_grads, own_directions);
  }
  if (i < end) {
    for (int j = 0; j < kSumStep; ++j) own_grads[j] = own_directions[j] = 0;
    for (int j = 0; i + j < end; ++j) {
      own_grads[j] = load(grads[i + j]) + decay * load(params[i + j]);
      own_directions[j] = load(directions[i + j]);
    }
    lanes.add(own_grads, own_directions);
  }
  lanes.add_to(sums);
}

template <typename P, typename S>
void hypergradient_sgd_loop(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const HypergradientSGDNumbers& numbers) {
  using M = typename Math<P>::Type;
  P* __restrict params = static_cast<P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  S* __restrict directions = static_cast<S*>(arrays[2]);
  const M decay = static_cast<M>(numbers.decay);
  const M momentum = static_cast<M>(numbers.momentum);
  const M undamped = static_cast<M>(numbers.undamped);
  const M rate = static_cast<M>(numbers.rate);
  if (numbers.nesterov) {
    S* __restrict buffers = static_cast<S*>(arrays[3]);
    for (int64_t i = begin; i < end; ++i) {
      const M param = load(params[i]);
      const M grad = load(grads[i]) + decay * param;
      const M buffer = momentum * load(buffers[i]) + undamped * grad;
      store(buffers[i], buffer);
      const M direction = grad + momentum * buffer;
      store(directions[i], direction);
      store(params[i], param - rate * direction);
    }
    return;
  }
  for (int64_t i = begin; i < end; ++i) {
    const M param = load(params[i]);
    const M grad = load(grads[i]) + decay * param;
    const M direction = momentum * load(directions[i]) + undamped * grad;
    store(directions[i], direction);
    store(params[i], param - rate * direction);
  }
}

template <typename P, typename S>
void hypergradient_adam_sums(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const HypergradientAdamNumbers& numbers,
    double* sums) {
  using M = typename Math<P>::Type;
  const P* __restrict params = static_cast<const P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  const S* __restrict means = static_cast<const S*>(arrays[2]);
  const S* __restrict squares = static_cast<const S*>(arrays[3]);
  const M decay = static_cast<M>(numbers.decay);
  const M eps = static_cast<M>(numbers.eps);
  const M mean_scale = static_cast<M>(numbers.mean_scale);
  const M inverse_root = static_cast<M>(numbers.inverse_root);
  const auto direction_at = [=](int64_t i) {
    const M mean = load(means[i]);
    const M ratio = mean_scale * mean /
                    (square_root(load(squares[i])) * inverse_root + eps);
    // 0 / 0 where there was no gradient yet and eps is 0.
    return mean == M(0) ? M(0) : ratio;
  };
  HypergradientLanes lanes;
  double own_grads[kSumStep];
  double own_directions[kSumStep];
  int64_t i = begin;
  for (; i + kSumStep <= end; i += kSumStep) {
    for (int j = 0; j < kSumStep; ++j) {
      own_grads[j] = load(grads[i + j]) + decay * load(params[i + j]);
      own_directions[j] = direction_at(i + j);
    }
    lanes.add(own_grads, own_directions);
  }
  if (i < end) {
    for (int j = 0; j < kSumStep; ++j) own_grads[j] = own_directions[j] = 0;
    for (int j = 0; i + j < end; ++j) {
      own_grads[j] = load(grads[i + j]) + decay * load(params[i + j]);
      own_directions[j] = direction_at(i + j);
    }
    lanes.add(own_grads, own_directions);
  }
  lanes.add_to(sums);
}

}  // namespace
}  // namespace stepsize::detail
