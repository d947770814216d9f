#pragma once

#include <stepsize/curvature/curvature_measurement.h>
#include <stepsize/report/html_report.h>
#include <stepsize/report/line_plot.h>
#include <stepsize/schedule/schedule.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "examples/trainer/loop/results.h"

namespace stepsize::trainer {

/// Where the rates of a run's updates come from.
enum class RateOrigin : std::uint8_t {
  kSchedule,  ///< but for rollbacks
  kFound,     ///< found by the optimizer, times the schedule's factor
  kLearned,   ///< from the schedule's on
};

/// What of a run is known before it, for its pictures.
struct RunPlan {
  Schedule schedule;
  /// What the schedule multiplies.
  double lr = 0;
  /// Updates to come.
  std::int64_t steps = 0;
  /// Where gradients are clipped.
  std::optional<double> max_norm = std::nullopt;
  /// Whether updates are made from several micro-batches.
  bool batch_varies = false;
  RateOrigin rate = RateOrigin::kSchedule;
  /// For a run that measures its sharpness: the largest lr * sharpness that is
  /// stable.
  std::optional<double> stability_limit = std::nullopt;
  /// Whether the curvature is watched.
  bool monitors = false;
  /// Whether the folder has the picture of a range test of this run.
  bool has_range_test = false;
  /// Whether it has that of a search for the rate.
  bool has_search = false;
  /// Whether ensemble.csv, where it is there, is of this run.
  bool has_ensemble = false;
  /// What a page says of the run: its title, what it is, and all its options.
  std::string title = "Run";
  HtmlReport::Facts facts = {};
  HtmlReport::Facts options = {};
};

/// All that a run has measured so far.
struct RunRows {
  const std::vector<StepResult>& steps;
  const std::vector<EpochResult>& epochs;
  const std::vector<CurvatureMeasurement>& curvature;
};

/// A picture of a run by the name of its file.
struct RunPicture {
  std::string file;
  LinePlot plot;
};

/// Each value becomes the mean of the ones around it, so that a curve of single
/// batches can be read. Those that are not finite stay, and count for no other.
std::vector<double> smoothed(const std::vector<double>& values);

/// Pictures that draw_results() may leave beside lr.svg.
const std::vector<std::string>& result_pictures();

/// lr.svg: the rate as planned; its factor where the rate is found.
void draw_plan(const std::filesystem::path& folder, const RunPlan& plan);

/// The rate as planned, and as taken where it was found, learned, or lower
/// after a rollback.
RunPicture rate_picture(const RunPlan& plan, const RunRows& rows);

/// loss.svg, accuracy.svg and gradient.svg; sharpness.svg for a run that
/// measures its sharpness or is watched, batch.svg for one with several
/// micro-batches an update.
std::vector<RunPicture> result_plots(const RunPlan& plan, const RunRows& rows);

/// Draws all of these. Throws std::runtime_error naming a path that cannot be
/// written.
void draw_results(
    const std::filesystem::path& folder,
    const RunPlan& plan,
    const RunRows& rows);

}  // namespace stepsize::trainer
