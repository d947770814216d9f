// Averages of weights.

#include <stepsize/adaptive/averaged_model.h>
#include <stepsize/adaptive/snapshot_ensemble.h>
#include <torch/nn/modules/linear.h>

#include <vector>

#include "tests/hardening/option_table.h"
#include "tests/support/leaf.h"

namespace stepsize::test {

OptionTable averaging_table() {
  OptionTable table;
  const auto use = [](const AveragedModelOptions& options) {
    AveragedModel averaged(std::vector<torch::Tensor>{leaf({1})}, options);
    for (int i = 0; i < 3; ++i) averaged.update();
  };
  using Options = AveragedModelOptions;
  OptionCases(table, "AveragedModelOptions", "AveragedModel")
      .refuses(
          "mode",
          "7",
          {"mode", "got 7"},
          [use] { use(Options().mode(static_cast<AveragingMode>(7))); })
      .number(
          "decay",
          kNotBelowOne,
          {0, kBelowOne},
          [use](double v) {
            use(Options().mode(AveragingMode::kExponential).decay(v));
          })
      .number(
          "tail_fraction",
          kNotShareOverZero,
          {kSmallest, 1},
          [use](double v) {
            use(Options().mode(AveragingMode::kTail).tail_fraction(v));
          })
      .count(
          "tail_updates",
          kNegativeCount,
          {0, 1, kMostCount},
          [use](int64_t v) {
            use(Options().mode(AveragingMode::kTail).tail_updates(v));
          })
      .count("update_every", kNotCount, {1, kMostCount}, [use](int64_t v) {
        use(Options().update_every(v));
      });
  OptionCases(table, "SnapshotEnsembleOptions", "SnapshotEnsemble")
      .count("max_snapshots", kNotCount, {1, kMostCount}, [](int64_t v) {
        const torch::nn::Linear module(1, 1);
        SnapshotEnsemble ensemble(
            *module, SnapshotEnsembleOptions().max_snapshots(v));
        ensemble.add();
        ensemble.add();
      });
  return table;
}

}  // namespace stepsize::test
