#pragma once

#include "csrc/kernels/loop_types.h"
#include "csrc/kernels/loops.h"
#include "csrc/kernels/square_sums.h"

namespace stepsize::detail {
namespace {

inline void prefetch(const char* address) {
#if defined(__GNUC__)
  __builtin_prefetch(address);
#else
  static_cast<void>(address);
#endif
}

template <typename T>
double sum_squares(
    const void* data, int64_t begin, int64_t end, const void* next) {
  constexpr int kLineBytes = 64;
  constexpr int kBytes = kLanes * static_cast<int>(sizeof(T));
  const T* values = static_cast<const T*>(data);
  const char* ahead = static_cast<const char*>(next);
  double buffer[kLanes];
  SquareSums sums;
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
    if (ahead != nullptr) {
      for (int j = 0; j < kBytes; j += kLineBytes) prefetch(ahead + j);
      ahead += kBytes;
    }
    for (int j = 0; j < kLanes; ++j) buffer[j] = load(values[i + j]);
    sums.add(buffer);
  }
  if (i < end) {
    for (int j = 0; j < kLanes; ++j) {
      buffer[j] = i + j < end ? load(values[i + j]) : 0.0;
    }
    sums.add(buffer);
  }
  return total(sums);
}

template <typename T>
double scaled_sum_squares(
    const void* data, int64_t begin, int64_t end, double scale) {
  const T* values = static_cast<const T*>(data);
  double buffer[kLanes];
  SquareSums sums;
  for (int64_t i = begin; i < end; i += kLanes) {
    const int64_t left = end - i;
    for (int j = 0; j < kLanes; ++j) {
      buffer[j] = j < left ? load(values[i + j]) * scale : 0.0;
    }
    sums.add(buffer);
  }
  return total(sums);
}

// Without their sign floating-point numbers are ordered as their bits are, Inf
// above all numbers and NaN above Inf: one integer maximum finds them all.
template <typename T>
struct Magnitude {
  using Type = int16_t;
  static constexpr Type kMask = 0x7fff;
};
template <>
struct Magnitude<float> {
  using Type = int32_t;
  static constexpr Type kMask = 0x7fffffff;
};
template <>
struct Magnitude<double> {
  using Type = int64_t;
  static constexpr Type kMask = 0x7fffffffffffffff;
};

template <typename T>
double max_abs(const void* data, int64_t begin, int64_t end) {
  using I = typename Magnitude<T>::Type;
  const char* bytes = static_cast<const char*>(data);
  constexpr I kMask = Magnitude<T>::kMask;
  I largest = 0;
  for (int64_t i = begin; i < end; ++i) {
    I bits;
    memcpy(&bits, bytes + i * static_cast<int64_t>(sizeof(I)), sizeof bits);
    bits = static_cast<I>(bits & kMask);
    largest = bits > largest ? bits : largest;
  }
  T result;
  memcpy(&result, &largest, sizeof result);
  return load(result);
}

}  // namespace
}  // namespace stepsize::detail
