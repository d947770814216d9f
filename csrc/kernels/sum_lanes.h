#pragma once

// Sums that a loop makes on its way. See loops.h for why nothing here is more
// than arithmetic.

#include <cstdint>

#include "csrc/kernels/square_sums.h"

namespace stepsize::detail {

/// A loop over elements of parameter, gradient and state that adds to `sums`,
/// as many as the optimizer's source says.
template <typename Numbers>
using SumLoop = void (*)(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const Numbers& numbers,
    double* sums);

namespace {

/// A loop adds each term to one of so many running sums, in turns. The number
/// is the same on every CPU, so that the totals have the same bits on all.
constexpr int kSumLanes = 16;

inline double lane_total(const double* lanes) {
  double sums[kSumLanes];
  for (int i = 0; i < kSumLanes; ++i) sums[i] = lanes[i];
  for (int half = kSumLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

/// Elements that a loop without writes turns to doubles at a time, before it
/// adds their products. Twice the lanes: an inner loop of 16 rounds GCC
/// unrolls, and does not vectorize then.
constexpr int kSumStep = 2 * kSumLanes;

/// The lanes of a sum of products, of kSumStep pairs of doubles at a time.
#if defined(__GNUC__)
// Members instead of an array, which GCC would leave in memory.
template <int kFirstLane, bool kIsEnd>
class ProductLanes {
 public:
  inline void add(const double* a, const double* b) {
    Doubles left;
    Doubles right;
    memcpy(&left, a + kFirstLane, sizeof left);
    memcpy(&right, b + kFirstLane, sizeof right);
    sums_ += left * right;
    rest_.add(a, b);
  }

  inline void copy_to(double* to) const {
    memcpy(to + kFirstLane, &sums_, sizeof sums_);
    rest_.copy_to(to);
  }

 private:
  Doubles sums_ = {};
  ProductLanes<kFirstLane + kWidth, kFirstLane + kWidth == kSumLanes> rest_;
};

template <int kFirstLane>
class ProductLanes<kFirstLane, true> {
 public:
  inline void add(const double*, const double*) {}
  inline void copy_to(double*) const {}
};

class ProductSums {
 public:
  inline void add(const double* a, const double* b) {
    lanes_.add(a, b);
    lanes_.add(a + kSumLanes, b + kSumLanes);
  }
  inline void copy_to(double* to) const { lanes_.copy_to(to); }

 private:
  ProductLanes<0, false> lanes_;
};
#else
class ProductSums {
 public:
  void add(const double* a, const double* b) {
    for (int i = 0; i < kSumStep; ++i) sums_[i % kSumLanes] += a[i] * b[i];
  }

  void copy_to(double* to) const { memcpy(to, sums_, sizeof sums_); }

 private:
  double sums_[kSumLanes] = {};
};
#endif

inline double lane_total(const ProductSums& sums) {
  double lanes[kSumLanes];
  sums.copy_to(lanes);
  return lane_total(lanes);
}

/// Elements whose terms a loop makes before it adds them up. The pointers of a
/// loop are restricted in the function that declares them alone, so that a
/// function called for each element would not vectorize.
constexpr int64_t kSumChunk = 256;

/// Adds the terms to the lanes, in turns from the first on.
inline void add_to_lanes(double* lanes, const double* terms, int64_t count) {
  double sums[kSumLanes];
  for (int lane = 0; lane < kSumLanes; ++lane) sums[lane] = lanes[lane];
  int64_t i = 0;
  for (; i + kSumLanes <= count; i += kSumLanes) {
    for (int lane = 0; lane < kSumLanes; ++lane) sums[lane] += terms[i + lane];
  }
  for (int lane = 0; i < count; ++i, ++lane) sums[lane] += terms[i];
  for (int lane = 0; lane < kSumLanes; ++lane) lanes[lane] = sums[lane];
}

}  // namespace
}  // namespace stepsize::detail
