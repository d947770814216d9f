#include <stepsize/optim/ada_gc.h>

#include <ATen/Functions.h>
#include <c10/util/Exception.h>
#include <stepsize/kernels/grad_norm.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace stepsize {

const OptionList<AdaGCOptions>& AdaGCOptions::option_list() {
  static const auto list =
      OptionList<AdaGCOptions>("AdaGC")
          .option(STEPSIZE_OPTION(lambda_rel))
          .must_be(
              "finite and > 0",
              [](double value) { return std::isfinite(value) && value > 0; })
          .option(STEPSIZE_OPTION(lambda_abs))
          .must_be("> 0", [](double value) { return value > 0; })
          .option(STEPSIZE_OPTION(beta))
          .share()
          .option(STEPSIZE_OPTION(warmup_steps))
          .at_least(1);
  return list;
}

ClippedGradients AdaGC::clip(const ClipInput& input) {
  std::vector<double> norms;
  norms.reserve(input.gradients.size());
  for (const at::Tensor& gradient : input.gradients) {
    norms.push_back(global_norm(gradient).item<double>());
  }
  norms = input.over_ranks(norms);
  const bool early = seen_ + 1 < options().warmup_steps();
  const double shared =
      input.norm > 0 ? std::min(1.0, options().lambda_abs() / input.norm) : 1.0;
  const double beta = options().beta();
  std::vector<at::Tensor> clipped;
  clipped.reserve(input.gradients.size());
  for (std::size_t i = 0; i < input.gradients.size(); ++i) {
    const std::size_t position = input.positions[i];
    if (position >= usual_.size()) usual_.resize(position + 1, 0.0);
    double& usual = usual_[position];
    const bool known = usual > 0;
    double factor = shared;
    if (!early) {
      factor = known && norms[i] > 0
                   ? std::min(1.0, options().lambda_rel() * usual / norms[i])
                   : 1.0;
    }
    const double left = factor * norms[i];
    if (left > 0) {
      usual = !known  ? left
              : early ? std::min(usual, left)
                      : beta * usual + (1 - beta) * left;
    }
    clipped.push_back(
        !early && factor < 1 ? input.gradients[i] * factor
                             : input.gradients[i]);
  }
  seen_ = std::min(seen_ + 1, options().warmup_steps());
  return {std::move(clipped), early ? shared : 1};
}

std::vector<double> AdaGC::state() const {
  std::vector<double> all{static_cast<double>(seen_)};
  all.insert(all.end(), usual_.begin(), usual_.end());
  return all;
}

void AdaGC::restore(const std::vector<double>& state) {
  TORCH_CHECK(
      !state.empty() && state[0] == std::floor(state[0]) &&
          state[0] <= static_cast<double>(options().warmup_steps()) &&
          std::all_of(
              state.begin(),
              state.end(),
              [](double value) { return std::isfinite(value) && value >= 0; }),
      "AdaGC: this is no state of that rule");
  seen_ = static_cast<int64_t>(state[0]);
  usual_.assign(state.begin() + 1, state.end());
}

}  // namespace stepsize
