// Clip rules: checked when a rule is made.

#include <stepsize/optim/ada_gc.h>
#include <stepsize/optim/agc.h>
#include <stepsize/optim/value_clip.h>
#include <stepsize/optim/z_clip.h>

#include "tests/hardening/option_table.h"
#include "tests/support/numbers.h"

namespace stepsize::test {

OptionTable clip_table() {
  OptionTable table;
  const std::vector<double> not_longest = {0, -1, kNaN, -kInfinity};
  const std::vector<double> not_part = {
      -kSmallest, -1, 1, kHuge, kNaN, kInfinity, -kInfinity};
  OptionCases(table, "ValueClipOptions", "ValueClip")
      .number("max_value", kNotPositive, {kSmallest, kHuge}, [](double v) {
        ValueClip rule{ValueClipOptions(v)};
      });
  OptionCases(table, "AGCOptions", "AGC")
      .number(
          "clipping",
          kNotPositive,
          {kSmallest, kHuge},
          [](double v) { AGC rule{AGCOptions(v)}; })
      .number(
          "eps",
          kNotPositive,
          {kSmallest, kHuge},
          [](double v) { AGC rule(AGCOptions().eps(v)); })
      .count("last_group", {-2, INT64_MIN}, {-1, 0, kMostCount}, [](int64_t v) {
        AGC rule(AGCOptions().last_group(v));
      });
  OptionCases(table, "ZClipOptions", "ZClip")
      .number(
          "alpha",
          not_part,
          {0, kBelowOne},
          [](double v) { ZClip rule(ZClipOptions().alpha(v)); })
      .number(
          "z_thresh",
          kNotPositive,
          {kSmallest, kHuge},
          [](double v) { ZClip rule(ZClipOptions().z_thresh(v)); })
      .count(
          "warmup_steps",
          kNotCount,
          {1, kMostCount},
          [](int64_t v) { ZClip rule(ZClipOptions().warmup_steps(v)); })
      .number(
          "max_norm", not_longest, {kSmallest, kHuge, kInfinity}, [](double v) {
            ZClip rule(ZClipOptions().max_norm(v));
          });
  OptionCases(table, "AdaGCOptions", "AdaGC")
      .number(
          "lambda_rel",
          kNotPositive,
          {kSmallest, kHuge},
          [](double v) { AdaGC rule(AdaGCOptions().lambda_rel(v)); })
      .number(
          "lambda_abs",
          not_longest,
          {kSmallest, kHuge, kInfinity},
          [](double v) { AdaGC rule(AdaGCOptions().lambda_abs(v)); })
      .number(
          "beta",
          not_part,
          {0, kBelowOne},
          [](double v) { AdaGC rule(AdaGCOptions().beta(v)); })
      .count("warmup_steps", kNotCount, {1, kMostCount}, [](int64_t v) {
        AdaGC rule(AdaGCOptions().warmup_steps(v));
      });
  return table;
}

}  // namespace stepsize::test
