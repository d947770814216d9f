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
// In decade p, of 2^p <= v < 2^(p+1), the value is linear in v. The other way
// round, with lines from value to value between them, v is a concave function
// of the value: the smallest of these lines. A number between two values
// becomes one of them by chance, so that its mean is kept: to the nearest one,
// a mean that changes by less than half a cell in a step would stay where it is
// for ever.

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

constexpr double first_middle(int bits, int p) {
  const Decade decade = code_decade(bits, p);
  return decade.begin + decade.width / 2;
}
constexpr double last_middle(int bits, int p) {
  const Decade decade = code_decade(bits, p);
  return decade.begin + decade.width * ((1 << p) - 0.5);
}
constexpr double largest_value(int bits) { return last_middle(bits, bits - 1); }

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

// By half of the exponent of the value: span k is [2^(2k - 31), 2^(2k - 29)).
constexpr int kSpans = 16;
constexpr float kSmallestValue = 0x1p-31F;

constexpr double span_begin(int bits, int span) {
  double begin = 0.5 * largest_value(bits);
  for (int i = span; i < kSpans - 1; ++i) begin /= 4;
  return begin;
}

/// The last decade of which a middle lies before the span, or the first.
constexpr int span_decade(int bits, int span) {
  int p = 0;
  while (p + 1 < bits && span_begin(bits, span) >= first_middle(bits, p + 1)) {
    ++p;
  }
  return p;
}

/// Whether each span ends before the next decade's last middle, so that the
/// lines of two decades, and the one between them, are all there are in it.
constexpr bool spans_have_two_decades(int bits) {
  for (int span = 0; span < kSpans; ++span) {
    const int p = span_decade(bits, span);
    if (p + 1 < bits && 4 * span_begin(bits, span) > last_middle(bits, p + 1)) {
      return false;
    }
  }
  return true;
}
static_assert(spans_have_two_decades(7) && spans_have_two_decades(8), "");

// v = slope value + offset in the span's decade; with a third of the slope on
// the way to the next decade's first value, with a fifth in that decade. 1 is
// taken off, and a trifle added, by which all values stay what they are
// although the arithmetic rounds.
constexpr double kOffsetOfAll = 0x1p-14 - 1;
constexpr double kJustBelow1 = 1 - 0x1p-10;

constexpr FloatTable code_slopes(int bits) {
  FloatTable table = {};
  for (int span = 0; span < kSpans; ++span) {
    table.values[span] = static_cast<float>(
        largest_value(bits) / code_decade(bits, span_decade(bits, span)).width);
  }
  return table;
}

/// factor 2^p + term, of the decade of each span.
constexpr FloatTable code_offsets(int bits, double factor, double term) {
  FloatTable table = {};
  for (int span = 0; span < kSpans; ++span) {
    table.values[span] = static_cast<float>(
        factor * (1 << span_decade(bits, span)) + term + kOffsetOfAll);
  }
  return table;
}

/// v over the value up to the first one.
constexpr float first_slope(int bits) {
  return static_cast<float>(largest_value(bits) / first_middle(bits, 0));
}

template <bool kSigned>
struct BlockCode {
  static constexpr int kBits = kSigned ? 7 : 8;
  static constexpr FloatTable kValueSlopes = value_slopes(kBits);
  static constexpr FloatTable kValueOffsets = value_offsets(kBits);
  static constexpr FloatTable kCodeSlopes = code_slopes(kBits);
  static constexpr FloatTable kOwnOffsets = code_offsets(kBits, 8.0 / 9, -0.5);
  static constexpr FloatTable kBetweenOffsets =
      code_offsets(kBits, 44.0 / 27, -5.0 / 6);
  static constexpr FloatTable kNextOffsets =
      code_offsets(kBits, 16.0 / 9, -0.5);
  static constexpr float kFirstSlope = first_slope(kBits);
  static constexpr float kLargestCode = (1 << kBits) - 1;
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

/// The codes of numbers times `factor`, which makes the block's largest 1;
/// `chance` is in [1, 2). 0 stays 0; without a sign no other number becomes 0:
/// divided by its root, it would not be bounded.
template <bool kSigned>
inline Ints code_of_number(Floats number, Floats factor, Floats chance) {
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
  const Floats own = rise + look_up(Code::kOwnOffsets, span);
  const Floats between =
      rise * splat<Floats>(1.0 / 3) + look_up(Code::kBetweenOffsets, span);
  const Floats next =
      rise * splat<Floats>(0.2) + look_up(Code::kNextOffsets, span);
  const Floats first =
      value * splat<Floats>(Code::kFirstSlope) + splat<Floats>(kOffsetOfAll);
  const Floats v = smaller(smaller(own, between), smaller(next, first));
  const Ints code = to_ints(
      smaller(v + chance, splat<Floats>(Code::kLargestCode + kJustBelow1)));
  const Ints none = splat_int(0);
  if (!kSigned) {
    return select(number > splat<Floats>(0), larger(code, splat_int(1)), none);
  }
  return select(number != splat<Floats>(0), code, none) |
         signed_of(
             (unsigned_of(bits) >> kSpanBit) &
             static_cast<uint32_t>(kSignOfCode));
}

}  // namespace
}  // namespace stepsize::detail
