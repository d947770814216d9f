#include "csrc/tune/half_rounding.h"

#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <stepsize/kernels/grad_norm.h>

#include "csrc/core/half.h"

namespace stepsize::detail {
namespace {

// The unit of the last digit that a half type has for each of these elements.
at::Tensor last_digits(const at::Tensor& wide, at::ScalarType type) {
  const at::Tensor powers_of_two =
      wide.view(at::kInt).bitwise_and(0x7f800000).view(at::kFloat);
  if (type == at::kBFloat16) return powers_of_two.mul_(0x1p-7);
  // Subnormal halves have the last digit of the smallest normal ones.
  return powers_of_two.mul_(0x1p-10).clamp_min_(0x1p-24).mul_(wide.ne(0));
}

}  // namespace

void RoundingSum::add_rounded(const at::Tensor& wide, at::ScalarType type) {
  units_.push_back(last_digits(wide, type));
}

void RoundingSum::add_terms(
    const at::Tensor& wide, const at::Tensor& wide_sums, at::ScalarType type) {
  const at::Tensor term = last_digits(wide, type);
  const at::Tensor sum = last_digits(wide_sums, type);
  const at::Tensor zero = at::zeros({}, term.options());
  const at::Tensor again = sum.ge(term.mul(2.0)).logical_and(term.gt(0));
  const at::Tensor from_grid = at::where(again, term, zero);
  units_.insert(
      units_.end(), {term, at::where(again, sum, zero), from_grid, from_grid});
}

at::Tensor RoundingSum::square() const {
  if (units_.empty()) return {};
  return global_norm(units_).square().div(12.0);
}

double rounding_of(const std::vector<at::Tensor>& gradients) {
  RoundingSum rounding;
  for (const at::Tensor& gradient : gradients) {
    const at::ScalarType type = gradient.scalar_type();
    if (is_half(type)) rounding.add_rounded(gradient.to(at::kFloat), type);
  }
  const at::Tensor square = rounding.square();
  return square.defined() ? square.item().toDouble() : 0;
}

}  // namespace stepsize::detail
