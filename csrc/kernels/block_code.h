#pragma once

// The code of a state of eight bits, and tables of it. See lanes.h for what may
// be used here.
//
// It is the dynamic tree of Dettmers et al., 8-bit Optimizers via Block-wise
// Quantization (2022): the bits of a magnitude v, 1 <= v < 2^n, begin with
// zeros, of which each is a decade, then comes a 1, and the other p bits number
// cells of equal width in that decade, whose middles are the values. v = 0 is
// 0. A number is the value times its block's largest magnitude. The values are
// divided by the largest of them, so that a block keeps its largest number as
// it is, of either sign.
//
//   signed:   a sign and n = 7 bits, values from 5.6e-7 to 1
//   unsigned: n = 8 bits, values from 5.5e-8 to 1
//
// In decade p, of 2^p <= v < 2^(p+1), the value is linear in v, and v in the
// value. Over all decades v is a concave function of the value: the smallest of
// these lines.

#include "csrc/kernels/lanes.h"

namespace stepsize::detail {

/// Elements that share a factor.
constexpr int kCodeBlock = 256;

namespace {

/// Where a decade begins, and how wide its cells are.
struct Decade {
  double begin;
  double width;
};

constexpr Decade code_decade(int bits, int p) {
  Decade decade = {0.1, 0};
  for (int i = p; i < bits - 1; ++i) decade.begin /= 10;
  decade.width = 9 * decade.begin / (1 << p);
  return decade;
}

constexpr double largest_value(int bits) {
  const Decade last = code_decade(bits, bits - 1);
  return last.begin + last.width * ((1 << (bits - 1)) - 0.5);
}

// By the last four bits of the exponent of v as a float.
constexpr int kOneExponent = 127;

/// value = slope v + offset; by the entry of 0 it is below 0.
constexpr FloatTable value_slopes(int bits) {
  FloatTable table = {};
  for (int p = 0; p < bits; ++p) {
    table.values[(kOneExponent + p) % 16] =
        static_cast<float>(code_decade(bits, p).width / largest_value(bits));
  }
  return table;
}

constexpr FloatTable value_offsets(int bits) {
  FloatTable table = {};
  for (int p = 0; p < bits; ++p) {
    const Decade decade = code_decade(bits, p);
    table.values[(kOneExponent + p) % 16] = static_cast<float>(
        (decade.begin + decade.width * (0.5 - (1 << p))) / largest_value(bits));
  }
  return table;
}

// By half of the exponent of the value: in [4^k / 2, 4 4^k / 2), k from -15 to
// 0, there is one end of a decade at most.
constexpr int kSpans = 16;
constexpr float kSmallestValue = 0x1p-31F;

/// The decade that a span begins in, or the first.
constexpr int first_decade(int bits, int span) {
  double begin = 0.5;
  for (int i = span; i < kSpans - 1; ++i) begin /= 4;
  int p = 0;
  while (p + 1 < bits &&
         begin * largest_value(bits) >= code_decade(bits, p + 1).begin) {
    ++p;
  }
  return p;
}

/// v = slope value + offset, in the decade that the span begins in. In the next
/// one the slope is a fifth, and the offset twice as large.
constexpr FloatTable code_slopes(int bits) {
  FloatTable table = {};
  for (int span = 0; span < kSpans; ++span) {
    table.values[span] = static_cast<float>(
        largest_value(bits) /
        code_decade(bits, first_decade(bits, span)).width);
  }
  return table;
}

constexpr FloatTable code_offsets(int bits) {
  FloatTable table = {};
  for (int span = 0; span < kSpans; ++span) {
    table.values[span] =
        static_cast<float>(8.0 * (1 << first_decade(bits, span)) / 9.0);
  }
  return table;
}

template <bool kSigned>
struct BlockCode {
  static constexpr int kBits = kSigned ? 7 : 8;
  static constexpr FloatTable kValueSlopes = value_slopes(kBits);
  static constexpr FloatTable kValueOffsets = value_offsets(kBits);
  static constexpr FloatTable kCodeSlopes = code_slopes(kBits);
  static constexpr FloatTable kCodeOffsets = code_offsets(kBits);
};

// A block's largest number stays as it is.
static_assert(
    127 * BlockCode<true>::kValueSlopes.values[(kOneExponent + 6) % 16] +
            BlockCode<true>::kValueOffsets.values[(kOneExponent + 6) % 16] ==
        1.0F,
    "");
static_assert(
    255 * BlockCode<false>::kValueSlopes.values[(kOneExponent + 7) % 16] +
            BlockCode<false>::kValueOffsets.values[(kOneExponent + 7) % 16] ==
        1.0F,
    "");

constexpr int kSignOfCode = 0x80;

/// The numbers of codes, given their block's largest magnitude.
template <bool kSigned>
inline Floats number_of_code(Ints code, Floats largest) {
  using Code = BlockCode<kSigned>;
  constexpr int kExponentBit = 23;
  constexpr int kToSign = 24;
  const Ints magnitude = kSigned ? code & (kSignOfCode - 1) : code;
  const Floats v = to_floats(magnitude);
  const Ints decade = ints_of(v) >> kExponentBit;
  const Floats value = v * look_up(Code::kValueSlopes, decade) +
                       look_up(Code::kValueOffsets, decade);
  // 0 is below 0 by its line.
  const Floats number = larger(splat<Floats>(0), value) * largest;
  if (!kSigned) return number;
  return floats_of(signed_of(
      unsigned_of(ints_of(number)) |
      (unsigned_of(code & kSignOfCode) << kToSign)));
}

/// The codes of numbers times `factor`, which makes the block's largest 1.
/// Without a sign no number but 0 becomes 0: divided by its root, it would not
/// be bounded.
template <bool kSigned>
inline Ints code_of_number(Floats number, Floats factor) {
  using Code = BlockCode<kSigned>;
  constexpr int kSpanBit = 24;
  constexpr int32_t kMagnitude = 0x7fffffff;
  const Ints bits = ints_of(number);
  // A NaN becomes the smallest, and so 0: the block's factor shows it.
  const Floats value = larger(
      floats_of(kSigned ? bits & kMagnitude : bits) * factor,
      splat<Floats>(kSmallestValue));
  const Ints span = ints_of(value) >> kSpanBit;
  const Floats rise = value * look_up(Code::kCodeSlopes, span);
  const Floats offset = look_up(Code::kCodeOffsets, span);
  const Ints code = to_ints(
      smaller(rise * splat<Floats>(0.2) + (offset + offset), rise + offset));
  if (kSigned) {
    return code | signed_of(
                      (unsigned_of(bits) >> kSpanBit) &
                      static_cast<uint32_t>(kSignOfCode));
  }
  return select(number > splat<Floats>(0), larger(code, splat_int(1)), code);
}

}  // namespace
}  // namespace stepsize::detail
