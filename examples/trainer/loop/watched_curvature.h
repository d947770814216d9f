#pragma once

#include <stepsize/curvature/curvature_monitor.h>

#include <optional>
#include <string>
#include <vector>

#include "examples/trainer/cli/options.h"
#include "examples/trainer/loop/trained_optimizer.h"

namespace stepsize::trainer {

/// What --monitor asks for; nothing without it. Optimizer and model must
/// outlive it.
std::optional<CurvatureMonitor> make_monitor(
    TrainedOptimizer& optimizer, const TrainOptions& options);

/// A line for a person; empty where nothing was measured.
std::string curvature_text(const std::vector<CurvatureMeasurement>& rows);

}  // namespace stepsize::trainer
