#pragma once

#include <ATen/Functions.h>
#include <stepsize/adaptive/hypergradient_rates.h>
#include <stepsize/optim/indexed_optimizer.h>

#include <cstddef>
#include <vector>

#include "csrc/kernels/hypergradient_loop.h"
#include "csrc/optim/fused_step.h"
#include "csrc/optim/rank_evaluation.h"

namespace stepsize::detail {

/// The sums of one parameter by tensor operations.
inline at::Tensor hypergradient_sums(
    const at::Tensor& gradient, const at::Tensor& direction) {
  const at::Tensor g = gradient.to(at::kDouble);
  const at::Tensor u = direction.to(at::kDouble);
  return at::stack({(g * u).sum(), g.square().sum(), u.square().sum()});
}

/// Makes the rates of groups that have an update by the sums of these, which
/// the loops make, or `by_operations(k)` on a device without loops.
template <typename Numbers, typename ByOperations, typename OptionsOf>
void renew_rates(
    const std::vector<Operands>& operands,
    const std::vector<ParameterUpdate>& updates,
    const SumLoop<Numbers> (&loops)[kFormatCount],
    const std::vector<Numbers>& numbers,
    const ByOperations& by_operations,
    const OptionsOf& options_of,
    std::size_t groups,
    Reduction* reduction,
    HypergradientRates& rates) {
  FusedStep<Numbers, kHypergradientSums> pass(operands);
  for (std::size_t k = 0; k < updates.size(); ++k) {
    if (!pass.add(k, loops, numbers[k])) pass.add_sums(k, by_operations(k));
  }
  const auto sums = pass.read();
  std::vector<double> totals(groups * kHypergradientSums, 0.0);
  std::vector<bool> moves(groups, false);
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const std::size_t group = updates[k].group;
    moves[group] = true;
    for (std::size_t i = 0; i < kHypergradientSums; ++i) {
      totals[group * kHypergradientSums + i] += sums[k][i];
    }
  }
  agree_on(totals, reduction);
  for (std::size_t g = 0; g < groups; ++g) {
    if (!moves[g]) continue;
    const auto& options = options_of(g);
    const double* const own = totals.data() + g * kHypergradientSums;
    rates.renew(
        g,
        options.lr(),
        {own[0], own[1], own[2]},
        options.hypergrad_lr(),
        options.form());
  }
}

}  // namespace stepsize::detail
