#include <stepsize/tune/lr_range_result.h>

#include <stepsize/report/csv_writer.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <stdexcept>

#include "csrc/text/number.h"

namespace stepsize {
namespace {

std::string json_text(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof(code), "\\u%04x", static_cast<unsigned>(c));
      quoted += code;
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string json_number(std::optional<double> value) {
  return value && std::isfinite(*value) ? detail::number_text(*value) : "null";
}

std::string json_list(const std::vector<double>& values) {
  std::string list = "[";
  for (std::size_t i = 0; i < values.size(); ++i) {
    list += (i == 0 ? "" : ", ") + json_number(values[i]);
  }
  return list + "]";
}

}  // namespace

LinePlot LRRangeTestResult::plot(const std::string& title) const {
  LinePlot plot(title);
  plot.x_label("learning rate").x_log().y_label("loss");
  plot.line("smooth", lrs, smoothed).points("raw", lrs, losses);
  // A divergence would leave the rest of the curve flat: the smooth curve says
  // how high the picture is, and both how deep.
  double lowest = std::numeric_limits<double>::infinity();
  double highest = -lowest;
  for (const double value : smoothed) {
    if (!std::isfinite(value)) continue;
    lowest = std::min(lowest, value);
    highest = std::max(highest, value);
  }
  for (const double value : losses) {
    if (std::isfinite(value)) lowest = std::min(lowest, value);
  }
  if (lowest < highest) {
    const double room = 0.05 * (highest - lowest);
    plot.y_range(lowest - room, highest + room);
  }
  const auto mark = [&plot](std::optional<double> lr, const char* name) {
    if (lr)
      plot.mark(
          *lr, std::string(name) + " " + detail::short_number_text(*lr, 2));
  };
  mark(suggestions.steepest, "steepest");
  mark(suggestions.suggested, "suggested");
  mark(suggestions.maximal, "maximal");
  mark(suggestions.peak, "peak");
  return plot;
}

std::string LRRangeTestResult::to_terminal(
    const TerminalPlotOptions& options) const {
  return stepsize::to_terminal(plot(), options);
}

void LRRangeTestResult::write_svg(
    const std::string& path, const SvgOptions& options) const {
  stepsize::write_svg(path, plot(), options);
}

void LRRangeTestResult::write_csv(const std::string& path) const {
  CsvWriter csv(path, {"iteration", "lr", "loss", "averaged", "smoothed"});
  for (std::size_t i = 0; i < lrs.size(); ++i) {
    csv.row({i, lrs[i], losses[i], averaged[i], smoothed[i]});
  }
}

std::string LRRangeTestResult::to_json() const {
  std::string json = "{\n";
  const auto add = [&json](const char* key, const std::string& value) {
    json += "  \"" + std::string(key) + "\": " + value + ",\n";
  };
  add("status", json_text(to_string(status)));
  add("reason", json_text(reason));
  add("still_falling", still_falling ? "true" : "false");
  add("suggested", json_number(suggestions.suggested));
  add("low", json_number(suggestions.low));
  add("maximal", json_number(suggestions.maximal));
  add("peak", json_number(suggestions.peak));
  add("steepest", json_number(suggestions.steepest));
  add("steepest_low", json_number(suggestions.steepest_low));
  add("steepest_high", json_number(suggestions.steepest_high));
  add("valley", json_number(valley));
  add("steep", json_number(steep));
  add("minimum_tenth", json_number(minimum_tenth));
  add("max_stable_lr", json_number(max_stable_lr));
  add("max_stable_lr_at_lowest", json_number(max_stable_lr_at_lowest));
  add("group_ratios", json_list(group_ratios));
  add("lrs", json_list(lrs));
  add("losses", json_list(losses));
  add("averaged", json_list(averaged));
  add("smoothed", json_list(smoothed));
  json.replace(json.size() - 2, 2, "\n}\n");
  return json;
}

void LRRangeTestResult::write_json(const std::string& path) const {
  std::ofstream file(path);
  file << to_json();
  file.close();
  if (!file) {
    throw std::runtime_error(
        "LRRangeTestResult: cannot write " + path + ": " +
        std::strerror(errno));
  }
}

}  // namespace stepsize
