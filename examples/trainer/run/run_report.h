#pragma once

#include <filesystem>
#include <string>

#include "examples/trainer/cli/options.h"
#include "examples/trainer/run/run_pictures.h"

namespace stepsize::trainer {

inline constexpr const char* kRunReport = "report.html";

/// Puts into the plan what a page says of a run: what it trains on what, with
/// which rate and versions, and its options. `data`: as data_text() has it.
void describe_for_report(
    const TrainOptions& options, const std::string& data, RunPlan& plan);

/// Writes report.html to the folder: the run so far on one page, with the
/// picture of its range test where there is one. Throws std::runtime_error
/// naming a path that cannot be written.
void write_report(
    const std::filesystem::path& folder,
    const RunPlan& plan,
    const RunRows& rows);

}  // namespace stepsize::trainer
