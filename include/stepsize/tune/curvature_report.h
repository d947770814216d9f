#pragma once

#include <stepsize/curvature/curvature_measurement.h>
#include <stepsize/report/csv_cell.h>
#include <stepsize/report/line_plot.h>

#include <string>
#include <vector>

namespace stepsize {

/// The columns of measurements in a table: update, lr, sharpness,
/// effective_sharpness, lr_sharpness, limit, trace, trace_error.
const std::vector<std::string>& curvature_columns();

/// A measurement as a row of them, for a CsvWriter that is written while a run
/// goes on. What was not measured is an empty cell.
std::vector<CsvCell> curvature_cells(const CurvatureMeasurement& row);

/// Writes them all, replacing a file that is there. Throws std::runtime_error,
/// naming path and reason, where it cannot be written.
void write_csv(
    const std::string& path, const std::vector<CurvatureMeasurement>& rows);

/// Sharpness, rate x sharpness and its limit over the updates, on a log axis;
/// where the effective sharpness is another, and the trace, with dots a
/// standard error above and below, as far as they are measured.
LinePlot curvature_plot(
    const std::vector<CurvatureMeasurement>& rows,
    const std::string& title = "Sharpness");

}  // namespace stepsize
