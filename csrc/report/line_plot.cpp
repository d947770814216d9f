#include <stepsize/report/line_plot.h>

#include <cmath>
#include <stdexcept>

#include "csrc/text/number.h"

namespace stepsize {
namespace {

void check_range(const char* name, double lo, double hi, bool log) {
  const std::string got = ", got [" + detail::number_text(lo) + ", " +
                          detail::number_text(hi) + "]";
  if (!std::isfinite(lo) || !std::isfinite(hi) || !(lo < hi)) {
    throw std::invalid_argument(
        std::string("LinePlot: ") + name + " must be finite with lo < hi" +
        got);
  }
  if (log && lo <= 0) {
    throw std::invalid_argument(
        std::string("LinePlot: ") + name +
        " must be above 0 on a logarithmic axis" + got);
  }
}

}  // namespace

LinePlot::LinePlot(std::string title) : title_(std::move(title)) {}

LinePlot& LinePlot::x_label(std::string label) {
  x_label_ = std::move(label);
  return *this;
}

LinePlot& LinePlot::y_label(std::string label) {
  y_label_ = std::move(label);
  return *this;
}

LinePlot& LinePlot::x_log(bool log) {
  if (x_range_) {
    check_range("x_range", x_range_->first, x_range_->second, log);
  }
  x_log_ = log;
  return *this;
}

LinePlot& LinePlot::y_log(bool log) {
  if (y_range_) {
    check_range("y_range", y_range_->first, y_range_->second, log);
  }
  y_log_ = log;
  return *this;
}

LinePlot& LinePlot::x_range(double lo, double hi) {
  check_range("x_range", lo, hi, x_log_);
  x_range_ = Range(lo, hi);
  return *this;
}

LinePlot& LinePlot::y_range(double lo, double hi) {
  check_range("y_range", lo, hi, y_log_);
  y_range_ = Range(lo, hi);
  return *this;
}

LinePlot& LinePlot::line(
    std::string name, std::vector<double> x, std::vector<double> y) {
  return add(Style::kLine, std::move(name), std::move(x), std::move(y));
}

LinePlot& LinePlot::points(
    std::string name, std::vector<double> x, std::vector<double> y) {
  return add(Style::kPoints, std::move(name), std::move(x), std::move(y));
}

LinePlot& LinePlot::mark(double x, std::string label) {
  if (!std::isfinite(x)) {
    throw std::invalid_argument(
        "LinePlot: mark \"" + label + "\" must have a finite x, got " +
        detail::number_text(x));
  }
  marks_.push_back({x, std::move(label)});
  return *this;
}

LinePlot& LinePlot::add(
    Style style,
    std::string name,
    std::vector<double> x,
    std::vector<double> y) {
  if (x.size() != y.size()) {
    throw std::invalid_argument(
        "LinePlot: series \"" + name + "\" has " + std::to_string(x.size()) +
        " x values and " + std::to_string(y.size()) +
        " y values, expected as many of each");
  }
  series_.push_back({std::move(name), std::move(x), std::move(y), style});
  return *this;
}

}  // namespace stepsize
