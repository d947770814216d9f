#pragma once

// Element types of the loops. Everything has internal linkage, and nothing
// calls an inline function of a library: see loops.h.

#include <cmath>
#include <cstdint>
#include <cstring>

namespace stepsize::detail {

/// How a parameter and its state are stored; gradients are as parameters. The
/// first four are the types of elements, too.
enum Format {
  kFloat32,
  kFloat64,
  kBFloat16,
  kFloat16,
  kBFloat16WithFloat32State,
  kFloat16WithFloat32State,
};
constexpr int kElementTypeCount = 4;
constexpr int kFormatCount = 6;

namespace {

/// The upper half of a float.
struct BFloat16Bits {
  uint16_t bits;
};

/// IEEE binary16.
struct Float16Bits {
  uint16_t bits;
};

inline uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

inline float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/// The type that an element is computed in.
template <typename T>
struct Math {
  using Type = float;
};
template <>
struct Math<double> {
  using Type = double;
};

inline float load(const float& x) { return x; }
inline double load(const double& x) { return x; }
inline float load(const BFloat16Bits& x) {
  return float_of(static_cast<uint32_t>(x.bits) << 16);
}

inline float load(const Float16Bits& x) {
  const uint32_t magnitude = x.bits & 0x7fffu;
  const uint32_t sign = (x.bits & 0x8000u) << 16;
  // A subnormal half counts units of 2^-24, which are the last bits of [0.5,
  // 1).
  const float small = float_of(0x3f000000u + magnitude) - 0.5f;
  const uint32_t bias = magnitude >= 0x7c00u ? 224u << 23 : 112u << 23;
  const uint32_t large = (magnitude << 13) + bias;
  return float_of(sign | (magnitude < 0x400u ? bits_of(small) : large));
}

inline void store(float& to, float x) { to = x; }
inline void store(double& to, double x) { to = x; }

// Both roundings are to nearest, ties to even.
inline void store(BFloat16Bits& to, float x) {
  const uint32_t bits = bits_of(x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  to.bits = static_cast<uint16_t>(nan ? 0x7fc0u : rounded);
}

inline void store(Float16Bits& to, float x) {
  const uint32_t magnitude = bits_of(x) & 0x7fffffffu;
  const uint32_t sign = (bits_of(x) >> 16) & 0x8000u;
  // Below 2^-14 the addition itself rounds to the subnormals' unit, 2^-24.
  const uint32_t small = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u;
  const uint32_t large =
      (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  uint32_t half = magnitude < 0x38800000u ? small : large;
  half = magnitude >= 0x477ff000u ? 0x7c00u : half;
  half = magnitude > 0x7f800000u ? 0x7e00u : half;
  to.bits = static_cast<uint16_t>(sign | half);
}

inline float square_root(float x) { return ::sqrtf(x); }
inline double square_root(double x) { return ::sqrt(x); }

}  // namespace
}  // namespace stepsize::detail
