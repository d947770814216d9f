#include <stepsize/tune/curvature_report.h>

#include <stepsize/report/csv_writer.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>

namespace stepsize {
namespace {

// The values of a column that is drawn where it has any.
template <typename Value>
void add_line(
    LinePlot& plot,
    const std::string& name,
    const std::vector<CurvatureMeasurement>& rows,
    const Value& value) {
  std::vector<double> updates;
  std::vector<double> values;
  bool any = false;
  for (const CurvatureMeasurement& row : rows) {
    const std::optional<double> number = value(row);
    any = any || number;
    updates.push_back(static_cast<double>(row.update));
    values.push_back(number.value_or(std::numeric_limits<double>::quiet_NaN()));
  }
  if (!any) return;
  plot.line(name, updates, values);
  // So few that each one shows, and one alone is seen at all.
  constexpr std::size_t kMostDots = 40;
  if (rows.size() <= kMostDots) plot.points(name, updates, values);
}

// Whether rate x sharpness is made from another number than the sharpness.
bool has_effective(const std::vector<CurvatureMeasurement>& rows) {
  return std::any_of(rows.begin(), rows.end(), [](const auto& row) {
    return row.effective_sharpness > row.sharpness ||
           row.effective_sharpness < row.sharpness;
  });
}

void add_error_bars(
    LinePlot& plot, const std::vector<CurvatureMeasurement>& rows) {
  std::vector<double> updates;
  std::vector<double> ends;
  for (const CurvatureMeasurement& row : rows) {
    if (!row.trace || !row.trace_error) continue;
    for (const double sign : {-1.0, 1.0}) {
      updates.push_back(static_cast<double>(row.update));
      ends.push_back(*row.trace + sign * *row.trace_error);
    }
  }
  if (!updates.empty()) plot.points("trace", updates, ends);
}

}  // namespace

const std::vector<std::string>& curvature_columns() {
  static const std::vector<std::string> columns{
      "update",
      "lr",
      "sharpness",
      "effective_sharpness",
      "lr_sharpness",
      "limit",
      "trace",
      "trace_error"};
  return columns;
}

std::vector<CsvCell> curvature_cells(const CurvatureMeasurement& row) {
  return {
      row.update,
      row.lr,
      row.sharpness,
      row.effective_sharpness,
      row.lr_sharpness,
      row.limit,
      row.trace,
      row.trace_error};
}

void write_csv(
    const std::string& path, const std::vector<CurvatureMeasurement>& rows) {
  CsvWriter table(path, curvature_columns());
  for (const CurvatureMeasurement& row : rows) table.row(curvature_cells(row));
}

LinePlot curvature_plot(
    const std::vector<CurvatureMeasurement>& rows, const std::string& title) {
  LinePlot plot(title);
  plot.x_label("update").y_log();
  add_line(plot, "sharpness", rows, [](const CurvatureMeasurement& row) {
    return std::optional<double>(row.sharpness);
  });
  if (has_effective(rows)) {
    add_line(plot, "effective", rows, [](const CurvatureMeasurement& row) {
      return std::optional<double>(row.effective_sharpness);
    });
  }
  add_line(plot, "rate x sharpness", rows, [](const CurvatureMeasurement& row) {
    return row.lr_sharpness;
  });
  // From end to end, also where there is one row.
  const bool has_limit = !rows.empty() && rows.back().limit;
  if (has_limit) {
    plot.line(
        "its limit",
        {0, static_cast<double>(rows.back().update)},
        {*rows.back().limit, *rows.back().limit});
  }
  add_line(plot, "trace", rows, [](const CurvatureMeasurement& row) {
    return row.trace;
  });
  add_error_bars(plot, rows);
  return plot;
}

}  // namespace stepsize
