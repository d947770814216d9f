#include <stepsize/optim/agc.h>

#include <ATen/Functions.h>

#include <cmath>
#include <numeric>

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

std::vector<at::Tensor> AGC::clip(const ClipInput& input) {
  std::vector<at::Tensor> clipped = input.gradients;
  for (std::size_t i = 0; i < clipped.size(); ++i) {
    const auto group = static_cast<int64_t>(input.groups[i]);
    if (options().last_group() >= 0 && group > options().last_group()) continue;
    const at::Tensor& gradient = input.gradients[i];
    if (gradient.numel() == 0) continue;
    const at::Tensor longest =
        unit_norms(input.parameters[i].detach()).clamp_min(options().eps()) *
        options().clipping();
    const at::Tensor norms = unit_norms(gradient);
    const at::Tensor is_long = norms.gt(longest);
    if (!is_long.any().item<bool>()) continue;
    const at::Tensor factors =
        at::where(is_long, longest / norms, at::ones_like(norms));
    clipped[i] = (gradient * factors).to(gradient.scalar_type());
  }
  return clipped;
}

}  // namespace stepsize
