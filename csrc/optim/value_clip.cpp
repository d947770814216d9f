#include <stepsize/optim/value_clip.h>

#include <ATen/Functions.h>

#include <cmath>
#include <utility>

namespace stepsize {

const OptionList<ValueClipOptions>& ValueClipOptions::option_list() {
  static const auto list = OptionList<ValueClipOptions>("ValueClip")
                               .option(STEPSIZE_OPTION(max_value))
                               .must_be("finite and > 0", [](double value) {
                                 return std::isfinite(value) && value > 0;
                               });
  return list;
}

ClippedGradients ValueClip::clip(const ClipInput& input) {
  const double most = options().max_value();
  std::vector<at::Tensor> clipped;
  clipped.reserve(input.gradients.size());
  for (const at::Tensor& gradient : input.gradients) {
    const bool within =
        gradient.numel() == 0 || gradient.abs().max().item<double>() <= most;
    clipped.push_back(within ? gradient : gradient.clamp(-most, most));
  }
  return {std::move(clipped)};
}

}  // namespace stepsize
