#include <stepsize/kernels/compact_state.h>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <vector>

#include "csrc/kernels/compact_loops.h"
#include "csrc/kernels/compact_operands.h"

// The codes of compact_loops.h and block_code.h by tensor operations, for what
// is not a step and for devices without loops; bit for bit the same.

namespace stepsize {
namespace {

constexpr int kCodes = 256;
constexpr int64_t kWord = 0xffffffff;

using CodeValues = std::array<float, kCodes>;

template <bool kSigned>
CodeValues make_code_values() {
  using Code = detail::BlockCode<kSigned>;
  CodeValues values = {};
  for (int code = 1; code < kCodes; ++code) {
    const int magnitude = kSigned ? code & (detail::kSignOfCode - 1) : code;
    const auto v = static_cast<float>(magnitude);
    const uint32_t decade = detail::bits_of(v) >> 23;
    const float rise = v * Code::kValueSlopes.values[decade % 16];
    const float value =
        magnitude == 0 ? 0 : rise + Code::kValueOffsets.values[decade % 16];
    values[static_cast<std::size_t>(code)] = magnitude != code ? -value : value;
  }
  return values;
}

const CodeValues& code_values(bool is_unsigned) {
  static const CodeValues with_sign = make_code_values<true>();
  static const CodeValues without = make_code_values<false>();
  return is_unsigned ? without : with_sign;
}

// Of each block one number, for each of its elements.
at::Tensor for_elements(const at::Tensor& of_blocks, int64_t elements) {
  return of_blocks.repeat_interleave(detail::kCodeBlock).narrow(0, 0, elements);
}

// Of a state whose bytes begin where a float may, they are its memory.
at::Tensor factors_of(const at::Tensor& state, int64_t elements) {
  const int64_t start = detail::code_bytes(elements);
  return state.narrow(0, start, state.numel() - start).view(at::kFloat);
}

at::Tensor numbers_of_codes(
    const at::Tensor& state, int64_t elements, bool is_unsigned) {
  const CodeValues& values = code_values(is_unsigned);
  const at::Tensor table =
      at::tensor(c10::ArrayRef<float>(values.data(), values.size()))
          .to(state.device());
  return table.take(state.narrow(0, 0, elements).to(at::kLong))
      .mul_(for_elements(factors_of(state.clone(), elements), elements));
}

at::Tensor low_bits_of(const at::Tensor& floats) {
  return floats.view(at::kInt).to(at::kLong).bitwise_and(kWord);
}

/// For each element the 32 bits that RoundingChance gives it.
at::Tensor chance_bits(
    uint32_t seed, int64_t elements, const at::Device& device) {
  constexpr int64_t kWeyl = detail::RoundingChance::kWeyl;
  std::vector<int64_t> starts;
  for (int64_t block = 0; block < detail::code_blocks(elements); ++block) {
    starts.push_back(detail::block_seed(seed, block));
  }
  const at::Tensor start = at::tensor(starts).to(device);
  return at::arange(detail::kCodeBlock, start.options())
      .mul_(kWeyl)
      .add(start.unsqueeze(1))
      .bitwise_and_(kWord)
      .flatten()
      .narrow(0, 0, elements);
}

template <bool kSigned>
at::Tensor codes_of_numbers(const at::Tensor& values, uint32_t seed) {
  using Code = detail::BlockCode<kSigned>;
  const int64_t elements = values.numel();
  const int64_t blocks = detail::code_blocks(elements);
  const at::Device device = values.device();
  at::Tensor state = at::zeros(
      {detail::compact_bytes(elements)},
      at::TensorOptions(at::kByte).device(device));
  if (elements == 0) return state;
  const at::Tensor padded = at::constant_pad_nd(
      values, {0, blocks * detail::kCodeBlock - elements}, 0);
  const auto number = [&](double x) {
    return at::full({}, x, at::TensorOptions(at::kFloat).device(device));
  };
  // As integers magnitudes are ordered as numbers, Inf and NaN above all.
  const at::Tensor largest = padded.view(at::kInt)
                                 .bitwise_and(0x7fffffff)
                                 .view({blocks, detail::kCodeBlock})
                                 .amax(1)
                                 .view(at::kFloat);
  factors_of(state, elements)
      .copy_(at::where(
          largest.isfinite(),
          largest,
          number(std::numeric_limits<float>::quiet_NaN())));
  const at::Tensor unit = at::where(
      largest.gt(0x1p64),
      number(0x1p-64),
      at::where(largest.ge(0x1p-64), number(1), number(0x1p64)));
  const at::Tensor factor =
      at::where(largest.eq(0), number(0), (largest * unit).reciprocal_());
  at::Tensor value =
      ((kSigned ? values.abs() : values) * for_elements(unit, elements))
          .mul_(for_elements(factor, elements));
  value = at::where(
      value.gt(detail::kSmallestValue), value, number(detail::kSmallestValue));
  const at::Tensor span = low_bits_of(value).bitwise_right_shift(24) % 16;
  const auto in_span = [&](const detail::FloatTable& table) {
    return at::tensor(c10::ArrayRef<float>(table.values, 16))
        .to(device)
        .take(span);
  };
  const at::Tensor rise = value * in_span(Code::kCodeSlopes);
  const at::Tensor own = rise + in_span(Code::kOwnOffsets);
  const at::Tensor between =
      rise * number(1.0 / 3) + in_span(Code::kBetweenOffsets);
  const at::Tensor next = rise * number(0.2) + in_span(Code::kNextOffsets);
  const at::Tensor first =
      value * number(Code::kFirstSlope) + number(detail::kOffsetOfAll);
  const at::Tensor chance = chance_bits(seed, elements, device)
                                .bitwise_right_shift(9)
                                .bitwise_or(0x3f800000)
                                .to(at::kInt)
                                .view(at::kFloat);
  const at::Tensor line =
      at::minimum(at::minimum(own, between), at::minimum(next, first));
  at::Tensor codes = (line + chance)
                         .clamp_max(Code::kLargestCode + detail::kJustBelow1)
                         .to(at::kLong);
  if (kSigned) {
    codes = at::where(values.ne(0), codes, at::zeros_like(codes))
                .add(
                    values.view(at::kInt).lt(0).to(at::kLong) *
                    detail::kSignOfCode);
  } else {
    codes = at::where(values.gt(0), codes.clamp_min(1), at::zeros_like(codes));
  }
  state.narrow(0, 0, elements).copy_(codes);
  return state;
}

at::Tensor rounded_by_chance(const at::Tensor& values, uint32_t seed) {
  const at::Tensor chance = chance_bits(seed, values.numel(), values.device());
  const at::Tensor upper = low_bits_of(values)
                               .add_(chance.bitwise_right_shift(16))
                               .bitwise_and_(kWord)
                               .bitwise_right_shift(16);
  const at::Tensor halves =
      at::where(values.isnan(), at::full({}, 0x7fc0, upper.options()), upper);
  // Through the float whose upper half it is: exact.
  return halves.bitwise_left_shift(16)
      .to(at::kInt)
      .view(at::kFloat)
      .to(at::kBFloat16);
}

}  // namespace

bool keeps_full_state(const at::Tensor& parameter) {
  constexpr int64_t kFewest = 4096;
  constexpr int64_t kFewestOfVectors = 65536;
  const int64_t fewest = parameter.dim() < 2 ? kFewestOfVectors : kFewest;
  return parameter.scalar_type() == at::kDouble || parameter.numel() < fewest;
}

at::Tensor compact_state(
    const at::Tensor& values,
    StateType type,
    bool is_unsigned,
    std::uint32_t seed) {
  TORCH_CHECK(
      values.defined() && values.scalar_type() == at::kFloat,
      "compact_state: values must be float32, got ",
      values.defined() ? c10::toString(values.scalar_type()) : "none");
  const c10::AutoGradMode no_grad(false);
  if (type == StateType::kFloat32) return values.detach().clone();
  const at::Tensor flat = values.detach().contiguous().flatten();
  if (type == StateType::kBFloat16) {
    return rounded_by_chance(flat, seed).view(values.sizes());
  }
  return is_unsigned ? codes_of_numbers<false>(flat, seed)
                     : codes_of_numbers<true>(flat, seed);
}

at::Tensor full_state(
    const at::Tensor& state, const at::Tensor& parameter, bool is_unsigned) {
  TORCH_CHECK(
      state.defined() && parameter.defined(),
      "full_state: state and parameter must be defined");
  const c10::AutoGradMode no_grad(false);
  if (detail::is_8bit_state(state, parameter)) {
    return numbers_of_codes(state, parameter.numel(), is_unsigned)
        .view(parameter.sizes());
  }
  TORCH_CHECK(
      state.sizes() == parameter.sizes() &&
          at::isFloatingType(state.scalar_type()),
      "full_state: a state must be of its parameter's shape ",
      parameter.sizes(),
      ", or of ",
      detail::compact_bytes(parameter.numel()),
      " bytes, got ",
      state.scalar_type(),
      " ",
      state.sizes());
  return state.scalar_type() == at::kDouble ? state : state.to(at::kFloat);
}

}  // namespace stepsize
