// Mixed precision: checked when a scaler or a guard is made.

#include <stepsize/optim/autocast.h>
#include <stepsize/optim/grad_scaler.h>

#include <limits>

#include "tests/hardening/option_table.h"
#include "tests/support/numbers.h"

namespace stepsize::test {

OptionTable mixed_precision_table() {
  OptionTable table;
  const std::vector<double> not_scale = {
      0, -1, kSmallest, kHuge, kNaN, kInfinity, -kInfinity};
  const std::vector<double> ends_of_scale = {
      std::numeric_limits<float>::min(), std::numeric_limits<float>::max()};
  OptionCases(table, "GradScalerOptions", "GradScaler")
      .number(
          "init_scale",
          not_scale,
          ends_of_scale,
          [](double v) {
            GradScaler scaler(GradScalerOptions().init_scale(v));
          })
      .number(
          "growth_factor",
          kNotOverOne,
          {1 + 0x1p-52, kHuge},
          [](double v) {
            GradScaler scaler(GradScalerOptions().growth_factor(v));
          })
      .number(
          "backoff_factor",
          kNotInside,
          {kSmallest, kBelowOne},
          [](double v) {
            GradScaler scaler(GradScalerOptions().backoff_factor(v));
          })
      .count("growth_interval", kNotCount, {1, kMostCount}, [](int64_t v) {
        GradScaler scaler(GradScalerOptions().growth_interval(v));
      });
  OptionCases(table, "GradScaler", "GradScaler")
      .number("new_scale", not_scale, ends_of_scale, [](double v) {
        GradScaler scaler;
        scaler.update(v);
      });
  OptionCases(table, "AutocastOptions", "Autocast")
      .refuses(
          "dtype",
          "float32",
          {"dtype", "got Float"},
          [] { Autocast guard(at::kCPU, at::kFloat); })
      .takes(
          "dtype", "bfloat16", [] { Autocast guard(at::kCPU, at::kBFloat16); });
  return table;
}

}  // namespace stepsize::test
