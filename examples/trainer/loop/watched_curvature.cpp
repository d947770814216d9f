#include "examples/trainer/loop/watched_curvature.h"

#include <cmath>

#include "examples/trainer/cli/text.h"
#include "examples/trainer/loop/optimizer_table.h"

namespace stepsize::trainer {

std::optional<CurvatureMonitor> make_monitor(
    TrainedOptimizer& optimizer, const TrainOptions& options) {
  if (options.monitor.empty()) {
    return std::nullopt;
  }
  CurvatureMonitorOptions monitor;
  monitor.every(options.monitor_every)
      .budget(options.monitor_budget)
      // Many updates lie between two, in which the direction turns: with one
      // product they came out up to 40 % too small.
      .meter(CurvatureMeterOptions().start_products(10).products(3).buffers(
          optimizer.model().buffers()));
  if (optimizer_row(options.optimizer).rho) {
    // Its gradients are those of other points than the optimizer inside knows.
    return CurvatureMonitor(
        optimizer.model().parameters(), monitor.has_limit(false));
  }
  return CurvatureMonitor(optimizer.inner(), monitor);
}

std::string curvature_text(const std::vector<CurvatureMeasurement>& rows) {
  const CurvatureMeasurement* last = nullptr;
  const CurvatureMeasurement* most = nullptr;
  for (const auto& row : rows) {
    if (std::isnan(row.sharpness)) {
      continue;
    }
    last = &row;
    if (most == nullptr || row.sharpness > most->sharpness) {
      most = &row;
    }
  }
  if (last == nullptr) {
    return {};
  }
  std::string text = format(
      "sharpness %.3g after update %lld, at most %.3g (after %lld)",
      last->sharpness,
      static_cast<long long>(last->update),
      most->sharpness,
      static_cast<long long>(most->update));
  if (last->lr_sharpness) {
    text += format(
        "; rate x sharpness %.3g, its limit %.3g",
        *last->lr_sharpness,
        *last->limit);
  }
  return text;
}

}  // namespace stepsize::trainer
