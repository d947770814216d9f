#pragma once

#include <stepsize/state/option_list.h>

namespace stepsize::detail {

/// The rule of the option before: beta.
template <typename Options>
OptionList<Options>& share_of_average(OptionList<Options>& list) {
  return list
      .must_be("in (0, 1)", [](double value) { return value > 0 && value < 1; })
      .role(OptionRole::kMomentum);
}

/// The options of warm-up and weights.
template <typename Options>
OptionList<Options>& add_weights_of_average(OptionList<Options>& list) {
  return list.option(STEPSIZE_OPTION(warmup_steps))
      .at_least(0)
      .option(STEPSIZE_OPTION(r))
      .not_negative()
      .option(STEPSIZE_OPTION(weight_lr_power))
      .not_negative();
}

}  // namespace stepsize::detail
