#include <c10/util/Exception.h>
#include <stepsize/optim/power_method_sgd.h>

#include <string>

#include "csrc/core/check.h"
#include "csrc/optim/common_options.h"

namespace stepsize {

PowerMethodSGDOptions::PowerMethodSGDOptions(double lr) : lr_(lr) {}

// The buffers belong to a model and are in no archive.
const OptionList<PowerMethodSGDOptions>& PowerMethodSGDOptions::option_list() {
  static const auto list =
      OptionList<PowerMethodSGDOptions>("PowerMethodSGD")
          .include(
              SharpnessTrackerOptions::option_list(),
              [](auto& own) -> auto& { return own.tracker(); })
          .option(STEPSIZE_OPTION(start_products))
          .at_least(1)
          .choice(
              STEPSIZE_OPTION(method),
              {"kAutomatic",
               "kExact",
               "kFiniteDifference",
               "kCentralDifference"})
          .seed(STEPSIZE_OPTION(seed))
          .all_same_in_groups()
          .option(STEPSIZE_OPTION(lr))
          .not_negative()
          .role(OptionRole::kRate)
          .option(STEPSIZE_OPTION(momentum))
          .share()
          .role(OptionRole::kMomentum)
          .option(STEPSIZE_OPTION(nesterov))
          .role(OptionRole::kNesterov)
          .choice(
              STEPSIZE_OPTION(momentum_limit), {"kEffectiveRate", "kQuadratic"})
          .option(STEPSIZE_OPTION(weight_decay))
          .not_negative()
          .role(OptionRole::kWeightDecay)
          .option(STEPSIZE_OPTION(decoupled_weight_decay))
          .role(OptionRole::kDecouples)
          .rule([](const PowerMethodSGDOptions& own, const std::string& kind) {
            TORCH_CHECK(
                !own.nesterov() || own.momentum() > 0,
                kind,
                ": nesterov wants momentum > 0, got ",
                detail::number_text(own.momentum()));
          });
  return list;
}

const OptimizerTraits& PowerMethodSGDOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<PowerMethodSGD>(option_list())
          .gradient(GradientUse::kDescends)
          .sets_own_rate(true)
          .wants_graph(true)
          .state({"momentum_buffer", "power_vector"})
          .skipped_steps(detail::skipped_by<PowerMethodSGD>);
  return traits;
}

}  // namespace stepsize
