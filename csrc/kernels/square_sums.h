#pragma once

// Sums of squares as loops take them. Everything has internal linkage, and
// nothing calls an inline function of a library: see loops.h.

#include <cstring>

namespace stepsize::detail {

/// Elements that one sum of squares keeps in flight: with the same number on
/// every CPU the sums have the same bits.
constexpr int kLanes = 32;

namespace {

/// kLanes running sums, each over every kLanes-th element. GCC and Clang keep
/// them in registers when they are vectors of the CPU's own width; all variants
/// add in the same order.
#if defined(__GNUC__)
#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
constexpr int kWidth = kVectorBytes / 8;
typedef double Doubles __attribute__((vector_size(kVectorBytes)));

// Members instead of an array, which GCC would leave in memory.
template <int kFirstLane, bool kIsEnd>
class Sums {
 public:
  inline void add(const double* values) {
    Doubles doubles;
    memcpy(&doubles, values + kFirstLane, sizeof doubles);
    sums_ += doubles * doubles;
    rest_.add(values);
  }

  inline void copy_to(double* to) const {
    memcpy(to + kFirstLane, &sums_, sizeof sums_);
    rest_.copy_to(to);
  }

 private:
  Doubles sums_ = {};
  Sums<kFirstLane + kWidth, kFirstLane + kWidth == kLanes> rest_;
};

template <int kFirstLane>
class Sums<kFirstLane, true> {
 public:
  inline void add(const double*) {}
  inline void copy_to(double*) const {}
};

using SquareSums = Sums<0, false>;
#else
class SquareSums {
 public:
  void add(const double* values) {
    for (int i = 0; i < kLanes; ++i) sums_[i] += values[i] * values[i];
  }

  void copy_to(double* to) const { memcpy(to, sums_, sizeof sums_); }

 private:
  double sums_[kLanes] = {};
};
#endif

inline double total(const SquareSums& sums) {
  double lanes[kLanes];
  sums.copy_to(lanes);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

}  // namespace
}  // namespace stepsize::detail
