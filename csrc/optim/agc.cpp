#include <stepsize/optim/agc.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>

#include "csrc/optim/operand_checks.h"

namespace stepsize {
namespace {

bool is_agc_number(double value) { return std::isfinite(value) && value > 0; }

// One norm a unit, in a shape that broadcasts over the tensor.
at::Tensor unit_norms(const at::Tensor& tensor) {
  const at::Tensor wide = tensor.to(detail::state_type(tensor));
  if (wide.dim() <= 1) return wide.norm();
  std::vector<int64_t> within(static_cast<std::size_t>(wide.dim() - 1));
  std::iota(within.begin(), within.end(), 1);
  return wide.norm(2, within, /*keepdim=*/true);
}

}  // namespace

const OptionList<AGCOptions>& AGCOptions::option_list() {
  static const auto list =
      OptionList<AGCOptions>("AGC")
          .option(STEPSIZE_OPTION(clipping))
          .must_be("finite and > 0", is_agc_number)
          .option(STEPSIZE_OPTION(eps))
          .must_be("finite and > 0", is_agc_number)
          .seed(STEPSIZE_OPTION(last_group))
          .count_must_be(">= -1", [](int64_t value) { return value >= -1; });
  return list;
}

ClippedGradients AGC::clip(const ClipInput& input) {
  // All units' norms of gradients, then of weights, in one list: with other
  // ranks one sum makes them alike.
  std::vector<std::size_t> chosen;
  std::vector<at::Tensor> norms;
  for (std::size_t i = 0; i < input.gradients.size(); ++i) {
    const auto group = static_cast<int64_t>(input.groups[i]);
    if (options().last_group() >= 0 && group > options().last_group()) continue;
    if (input.gradients[i].numel() == 0) continue;
    chosen.push_back(i);
    for (const at::Tensor& tensor :
         {input.gradients[i], input.parameters[i].detach()}) {
      norms.push_back(unit_norms(tensor).to(at::kCPU, at::kDouble));
    }
  }
  std::vector<double> numbers;
  for (const at::Tensor& norm : norms) {
    const at::Tensor flat = norm.contiguous();
    const double* const data = flat.data_ptr<double>();
    numbers.insert(numbers.end(), data, data + flat.numel());
  }
  numbers = input.over_ranks(numbers);
  std::size_t next = 0;
  for (at::Tensor& norm : norms) {
    norm = at::empty_like(norm);
    std::copy_n(
        numbers.begin() + static_cast<std::ptrdiff_t>(next),
        norm.numel(),
        norm.data_ptr<double>());
    next += static_cast<std::size_t>(norm.numel());
  }
  std::vector<at::Tensor> clipped = input.gradients;
  for (std::size_t k = 0; k < chosen.size(); ++k) {
    const at::Tensor& gradient = input.gradients[chosen[k]];
    const at::Tensor& norm = norms[2 * k];
    const at::Tensor longest =
        norms[2 * k + 1].clamp_min(options().eps()).mul(options().clipping());
    const at::Tensor is_long = norm.gt(longest);
    if (!is_long.any().item<bool>()) continue;
    const at::Tensor factors =
        at::where(is_long, longest.div(norm), at::ones_like(norm));
    const at::Tensor wide = gradient.to(detail::state_type(gradient));
    clipped[chosen[k]] =
        wide.mul(factors.to(wide.options())).to(gradient.scalar_type());
  }
  return {std::move(clipped)};
}

}  // namespace stepsize
