#pragma once

#include <stepsize/state/optimizer_traits.h>

#include <string>
#include <utility>
#include <vector>

#include "csrc/optim/common_options.h"

namespace stepsize::detail {

/// The options of a DiagonalHessianOptimizer.
template <typename Options>
OptionList<Options>& add_products(OptionList<Options>& list) {
  return list.option(STEPSIZE_OPTION(interval))
      .at_least(1)
      .same_in_groups()
      .seed(STEPSIZE_OPTION(seed))
      .same_in_groups();
}

/// What is known of one, but for the names of its state.
template <typename Optimizer, typename Options>
OptimizerTraits diagonal_hessian_traits(std::vector<std::string> state) {
  return OptimizerTraits::of<Optimizer>(Options::option_list())
      .gradient(GradientUse::kScalesCoordinates)
      .momentum_is_mean(true)
      .wants_graph(true)
      .state(std::move(state))
      .skipped_steps(skipped_by<Optimizer>);
}

}  // namespace stepsize::detail
