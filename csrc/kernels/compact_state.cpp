#include <stepsize/kernels/compact_state.h>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "csrc/kernels/compact_loops.h"
#include "csrc/kernels/compact_operands.h"

// The codes of compact_loops.h and block_code.h by tensor operations, for what
// is not a step and for devices without loops; bit for bit the same.

namespace stepsize {
namespace {

constexpr int kCodes = 256;

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

at::Tensor table_on(const detail::FloatTable& table, const at::Device& device) {
  return at::tensor(c10::ArrayRef<float>(table.values, 16)).to(device);
}

// Of each block one number, for each of its elements.
at::Tensor for_elements(const at::Tensor& of_blocks, int64_t elements) {
  return of_blocks.repeat_interleave(detail::kCodeBlock).narrow(0, 0, elements);
}

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
      .mul_(for_elements(factors_of(state, elements), elements));
}

at::Tensor low_bits_of(const at::Tensor& floats) {
  return floats.view(at::kInt).to(at::kLong).bitwise_and(int64_t{0xffffffff});
}

template <bool kSigned>
at::Tensor codes_of_numbers(const at::Tensor& values) {
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
  // As integers magnitudes are ordered as numbers, Inf and NaN above all.
  const at::Tensor largest = padded.view(at::kInt)
                                 .bitwise_and(0x7fffffff)
                                 .view({blocks, detail::kCodeBlock})
                                 .amax(1)
                                 .view(at::kFloat);
  factors_of(state, elements).copy_(largest);
  const auto number = [&](double x) {
    return at::full({}, x, at::TensorOptions(at::kFloat).device(device));
  };
  const at::Tensor unit = at::where(
      largest.gt(0x1p64),
      number(0x1p-64),
      at::where(largest.ge(0x1p-64), number(1), number(0x1p64)));
  const at::Tensor factor =
      at::where(largest.eq(0), number(0), (largest * unit).reciprocal_());
  const at::Tensor magnitudes = kSigned ? values.abs() : values;
  at::Tensor value = (magnitudes * for_elements(unit, elements))
                         .mul_(for_elements(factor, elements));
  value = at::where(
      value.gt(detail::kSmallestValue), value, number(detail::kSmallestValue));
  const at::Tensor span = low_bits_of(value).bitwise_right_shift(24) % 16;
  const at::Tensor rise =
      value * table_on(Code::kCodeSlopes, device).take(span);
  const at::Tensor offset = table_on(Code::kCodeOffsets, device).take(span);
  const at::Tensor line =
      at::minimum(rise * number(0.2) + (offset + offset), rise + offset);
  at::Tensor codes = line.to(at::kLong);
  if (kSigned) {
    codes = codes.add(
        values.view(at::kInt).lt(0).to(at::kLong) * detail::kSignOfCode);
  } else {
    codes = at::where(values.gt(0), codes.clamp_min(1), codes);
  }
  state.narrow(0, 0, elements).copy_(codes);
  return state;
}

at::Tensor rounded_by_chance(const at::Tensor& values, uint32_t seed) {
  constexpr int64_t kWeyl = 0x9e3779b1;
  constexpr int64_t kWord = 0xffffffff;
  const int64_t elements = values.numel();
  const int64_t blocks = detail::code_blocks(elements);
  std::vector<int64_t> starts;
  starts.reserve(static_cast<std::size_t>(blocks));
  for (int64_t block = 0; block < blocks; ++block) {
    starts.push_back(detail::block_seed(seed, block));
  }
  const at::Tensor start = at::tensor(starts).to(values.device());
  const at::Tensor place =
      at::arange(detail::kCodeBlock, start.options()).mul_(kWeyl);
  const at::Tensor chance = start.unsqueeze(1)
                                .add(place)
                                .bitwise_and(kWord)
                                .bitwise_right_shift(16)
                                .flatten()
                                .narrow(0, 0, elements);
  const at::Tensor upper =
      low_bits_of(values).add_(chance).bitwise_and_(kWord).bitwise_right_shift(
          16);
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
  return is_unsigned ? codes_of_numbers<false>(flat)
                     : codes_of_numbers<true>(flat);
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
