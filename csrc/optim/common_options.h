#pragma once

#include <c10/util/Exception.h>
#include <stepsize/optim/clipped_optimizer.h>
#include <stepsize/state/option_list.h>

#include <string>

#include "csrc/text/number.h"

namespace stepsize::detail {

template <typename Optimizer>
int64_t skipped_by(const torch::optim::Optimizer& optimizer) {
  return static_cast<const Optimizer&>(optimizer).skipped_steps();
}

/// The options that are torch::optim::SGD's too.
template <typename Options>
OptionList<Options> sgd_options(const char* kind) {
  return OptionList<Options>(kind)
      .option(STEPSIZE_OPTION(lr))
      .not_negative()
      .role(OptionRole::kRate)
      .option(STEPSIZE_OPTION(momentum))
      .share()
      .role(OptionRole::kMomentum)
      .option(STEPSIZE_OPTION(dampening))
      .finite()
      .role(OptionRole::kDampening)
      .option(STEPSIZE_OPTION(weight_decay))
      .not_negative()
      .role(OptionRole::kWeightDecay)
      .option(STEPSIZE_OPTION(nesterov))
      .role(OptionRole::kNesterov)
      .rule([](const Options& own, const std::string& name) {
        TORCH_CHECK(
            !own.nesterov() || (own.momentum() > 0 && own.dampening() == 0),
            name,
            ": nesterov wants momentum > 0 and dampening 0, got momentum ",
            number_text(own.momentum()),
            " and dampening ",
            number_text(own.dampening()));
      });
}

/// Those of a ClippedOptimizer.
template <typename Options>
void add_clip_options(OptionList<Options>& list) {
  list.option(STEPSIZE_OPTION(max_norm))
      .must_be("> 0", [](double norm) { return norm > 0; })
      .same_in_groups()
      .choice(STEPSIZE_OPTION(norm_type), {"kTwo", "kInfinity"})
      .same_in_groups()
      .choice(STEPSIZE_OPTION(non_finite), {"kSkip", "kThrow"})
      .role(OptionRole::kNonFinite)
      .same_in_groups();
}

}  // namespace stepsize::detail
