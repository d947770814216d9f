#pragma once

// Floats side by side, as many as a register of the instruction set holds that
// the including source is compiled for, or one where there is none to know of.
// What is written over a type M works for both, with the same bits. Everything
// has internal linkage, and nothing calls an inline function of a library but
// the compiler's own intrinsics: see loops.h.

#include <cstdint>
#include <cstring>

#if defined(__GNUC__) && defined(__AVX2__)
#include <immintrin.h>
#endif

#include "csrc/kernels/loop_types.h"

namespace stepsize::detail {
namespace {

#if defined(__GNUC__) && defined(__AVX512F__)
constexpr int kFloatLanes = 16;
#elif defined(__GNUC__) && defined(__AVX2__)
constexpr int kFloatLanes = 8;
#else
constexpr int kFloatLanes = 1;
#endif

/// A table of 16 floats, of which an index takes one by its last four bits.
struct alignas(64) FloatTable {
  float values[16];
};

/// Where one is a NaN: the second, as the instructions have it.
inline float larger(float a, float b) { return a > b ? a : b; }
inline float smaller(float a, float b) { return a < b ? a : b; }
inline float select(bool condition, float a, float b) {
  return condition ? a : b;
}
inline double select(bool condition, double a, double b) {
  return condition ? a : b;
}

template <typename M>
inline M splat(double x) {
  return static_cast<M>(x);
}

#if defined(__GNUC__) && defined(__AVX2__)

typedef float Floats __attribute__((vector_size(4 * kFloatLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kFloatLanes)));
typedef uint32_t UInts __attribute__((vector_size(4 * kFloatLanes)));

inline Ints ints_of(Floats x) { return reinterpret_cast<Ints>(x); }
inline Floats floats_of(Ints x) { return reinterpret_cast<Floats>(x); }
inline Floats to_floats(Ints x) { return __builtin_convertvector(x, Floats); }
inline Ints to_ints(Floats x) { return __builtin_convertvector(x, Ints); }
inline UInts unsigned_of(Ints x) { return reinterpret_cast<UInts>(x); }
inline Ints signed_of(UInts x) { return reinterpret_cast<Ints>(x); }

inline Floats select(Ints condition, Floats a, Floats b) {
  return condition ? a : b;
}
inline Ints select(Ints condition, Ints a, Ints b) { return condition ? a : b; }

#if defined(__AVX512F__)
inline Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a, b); }
inline Ints larger(Ints a, Ints b) {
  return reinterpret_cast<Ints>(_mm512_max_epi32(
      reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}
inline Floats square_root(Floats x) { return _mm512_sqrt_ps(x); }
inline Floats look_up(const FloatTable& table, Ints index) {
  return _mm512_permutexvar_ps(
      reinterpret_cast<__m512i>(index), _mm512_load_ps(table.values));
}
template <>
inline Floats splat<Floats>(double x) {
  return _mm512_set1_ps(static_cast<float>(x));
}
inline Ints splat_int(int32_t x) {
  return reinterpret_cast<Ints>(_mm512_set1_epi32(x));
}
#else
inline Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
inline Floats smaller(Floats a, Floats b) { return _mm256_min_ps(a, b); }
inline Ints larger(Ints a, Ints b) {
  return reinterpret_cast<Ints>(_mm256_max_epi32(
      reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}
inline Floats square_root(Floats x) { return _mm256_sqrt_ps(x); }
inline Floats look_up(const FloatTable& table, Ints index) {
  const __m256i where = reinterpret_cast<__m256i>(index);
  const Floats low =
      _mm256_permutevar8x32_ps(_mm256_load_ps(table.values), where);
  const Floats high =
      _mm256_permutevar8x32_ps(_mm256_load_ps(table.values + 8), where);
  constexpr int kBit3ToSign = 28;
  return _mm256_blendv_ps(low, high, floats_of(index << kBit3ToSign));
}
template <>
inline Floats splat<Floats>(double x) {
  return _mm256_set1_ps(static_cast<float>(x));
}
inline Ints splat_int(int32_t x) {
  return reinterpret_cast<Ints>(_mm256_set1_epi32(x));
}
#endif

inline Floats load_lanes(const float* from) {
  Floats x;
  memcpy(&x, from, sizeof x);
  return x;
}
inline void store_lanes(float* to, Floats x) { memcpy(to, &x, sizeof x); }

// What is stored fits its type. Not __builtin_convertvector: GCC 12 turns bytes
// one by one.
#if defined(__AVX512F__)
inline Ints load_lanes(const uint8_t* from) {
  return reinterpret_cast<Ints>(_mm512_cvtepu8_epi32(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
inline Ints load_lanes(const uint16_t* from) {
  return reinterpret_cast<Ints>(_mm512_cvtepu16_epi32(
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
}
inline __m512i packed_halves(Ints a, Ints b) {
  return _mm512_packus_epi32(
      reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b));
}
inline void store_lanes(uint8_t* to, Ints a, Ints b, Ints c, Ints d) {
  // Packed within quarters, from which they come back.
  const __m512i quarters =
      _mm512_packus_epi16(packed_halves(a, b), packed_halves(c, d));
  const __m512i order =
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_storeu_si512(to, _mm512_permutexvar_epi32(order, quarters));
}
inline void store_lanes(uint16_t* to, Ints x) {
  _mm256_storeu_si256(
      reinterpret_cast<__m256i*>(to),
      _mm512_cvtepi32_epi16(reinterpret_cast<__m512i>(x)));
}
#else
inline Ints load_lanes(const uint8_t* from) {
  return reinterpret_cast<Ints>(_mm256_cvtepu8_epi32(
      _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
inline Ints load_lanes(const uint16_t* from) {
  return reinterpret_cast<Ints>(_mm256_cvtepu16_epi32(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
inline void store_lanes(uint16_t* to, Ints x) {
  const __m256i value = reinterpret_cast<__m256i>(x);
  const __m256i packed = _mm256_packus_epi32(value, value);
  constexpr int kQuarters0And2 = 0xd8;
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(to),
      _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, kQuarters0And2)));
}
inline __m256i packed_halves(Ints a, Ints b) {
  return _mm256_packus_epi32(
      reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b));
}
inline void store_lanes(uint8_t* to, Ints a, Ints b, Ints c, Ints d) {
  // Packed within halves, from which they come back.
  const __m256i halves =
      _mm256_packus_epi16(packed_halves(a, b), packed_halves(c, d));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(
      reinterpret_cast<__m256i*>(to),
      _mm256_permutevar8x32_epi32(halves, order));
}
#endif

/// 0, 1, 2, ...
inline Ints lane_numbers() {
  Ints numbers = {};
  for (int i = 0; i < kFloatLanes; ++i) numbers[i] = i;
  return numbers;
}

inline int32_t largest_of(Ints x) {
  int32_t largest = x[0];
  for (int i = 1; i < kFloatLanes; ++i) {
    largest = x[i] > largest ? x[i] : largest;
  }
  return largest;
}

/// How many lanes hold.
inline int64_t count_of(Ints condition) {
  int64_t count = 0;
  for (int i = 0; i < kFloatLanes; ++i) count -= condition[i];
  return count;
}

#else

using Floats = float;
using Ints = int32_t;
using UInts = uint32_t;

inline Ints ints_of(Floats x) { return static_cast<Ints>(bits_of(x)); }
inline Floats floats_of(Ints x) { return float_of(static_cast<uint32_t>(x)); }
inline Floats to_floats(Ints x) { return static_cast<float>(x); }
inline UInts unsigned_of(Ints x) { return static_cast<UInts>(x); }
inline Ints signed_of(UInts x) { return static_cast<Ints>(x); }
/// As the instruction: of what fits no integer the smallest one.
inline Ints to_ints(Floats x) {
  constexpr float kEnd = 2147483648.0F;
  return x >= -kEnd && x < kEnd ? static_cast<Ints>(x) : INT32_MIN;
}
inline Ints larger(Ints a, Ints b) { return a > b ? a : b; }
inline Ints select(bool condition, Ints a, Ints b) { return condition ? a : b; }
inline Floats look_up(const FloatTable& table, Ints index) {
  return table.values[index & 15];
}
inline Ints splat_int(int32_t x) { return x; }
inline Floats load_lanes(const float* from) { return *from; }
inline void store_lanes(float* to, Floats x) { *to = x; }
inline Ints load_lanes(const uint8_t* from) { return *from; }
inline void store_lanes(uint8_t* to, Ints a, Ints b, Ints c, Ints d) {
  to[0] = static_cast<uint8_t>(a);
  to[1] = static_cast<uint8_t>(b);
  to[2] = static_cast<uint8_t>(c);
  to[3] = static_cast<uint8_t>(d);
}
inline Ints load_lanes(const uint16_t* from) { return *from; }
inline void store_lanes(uint16_t* to, Ints x) {
  *to = static_cast<uint16_t>(x);
}
inline Ints lane_numbers() { return 0; }
inline int32_t largest_of(Ints x) { return x; }
/// A comparison of numbers is 1 here, and all bits of a lane there.
inline int64_t count_of(bool condition) { return condition ? 1 : 0; }

#endif

}  // namespace
}  // namespace stepsize::detail
