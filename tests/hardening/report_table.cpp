// Plots: sizes, ranges and marks.

#include <stepsize/report/csv_writer.h>
#include <stepsize/report/html_report.h>
#include <stepsize/report/line_plot.h>
#include <stepsize/report/svg.h>
#include <stepsize/report/terminal_plot.h>

#include <limits>
#include <vector>

#include "tests/hardening/option_table.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

// All that is drawn is drawn.
LinePlot plot() {
  LinePlot plot("A plot");
  plot.line("a", {1, 2, 3}, {1, kNaN, 1e308}).points("b", {2}, {2});
  return plot;
}

void draw(const LinePlot& plot) {
  to_svg(plot);
  to_terminal(plot);
}

}  // namespace

OptionTable report_table() {
  OptionTable table;
  OptionCases(table, "SvgOptions", "SvgOptions")
      .count(
          "width",
          {239, 0, -1, INT64_MIN, 10001, kMostCount},
          {240, 10000},
          [](int64_t v) { to_svg(plot(), SvgOptions().width(v)); })
      .count(
          "height",
          {179, 0, -1, INT64_MIN, 10001, kMostCount},
          {180, 10000},
          [](int64_t v) { to_svg(plot(), SvgOptions().height(v)); });
  OptionCases(table, "TerminalPlotOptions", "TerminalPlotOptions")
      .count(
          "width",
          {39, 0, -1, INT64_MIN, 501, kMostCount},
          {40, 500},
          [](int64_t v) {
            to_terminal(plot(), TerminalPlotOptions().width(v));
          })
      .count(
          "height",
          {3, 0, -1, INT64_MIN, 201, kMostCount},
          {4, 200},
          [](int64_t v) {
            to_terminal(plot(), TerminalPlotOptions().height(v));
          });
  OptionCases cases(table, "LinePlot", "LinePlot");
  cases.number("mark", kNotFinite, {-kHuge, kHuge}, [](double v) {
    draw(plot().mark(v, "m"));
  });
  for (const double value : kNotFinite) {
    const std::string text = text_of(value);
    cases.refuses("x_range", text, {"x_range", text}, [value] {
      plot().x_range(value, 1);
    });
    cases.refuses("y_range", text, {"y_range", text}, [value] {
      plot().y_range(0, value);
    });
  }
  cases
      .refuses(
          "x_range", "{2, 2}", {"x_range", "2"}, [] { plot().x_range(2, 2); })
      .refuses(
          "x_range",
          "{0, 2} log",
          {"x_range", "0", "logarithmic"},
          [] { plot().x_log().x_range(0, 2); })
      .refuses(
          "y_range",
          "{-1, 2} log",
          {"y_range", "-1", "logarithmic"},
          [] { plot().y_range(-1, 2).y_log(); })
      .takes("x_range", "+-1e308", [] {
        draw(plot().x_range(-kHuge, kHuge).y_range(-kHuge, kHuge));
      });
  cases
      .takes(
          "y_range",
          "5e-324 log",
          [] { draw(plot().y_log().y_range(kSmallest, kHuge)); })
      .refuses(
          "line", "2 and 3 values", {"series", "2 x values", "3 y values"}, [] {
            plot().line("c", {1, 2}, {1, 2, 3});
          });
  OptionCases(table, "CsvWriter", "CsvWriter")
      .refuses(
          "columns",
          "{}",
          {"columns", "empty"},
          [] { CsvWriter("", std::vector<std::string>{}); })
      .refuses("columns", "{a, a}", {"columns", "got", "a"}, [] {
        CsvWriter("", {"a", "a"});
      });
  OptionCases(table, "HtmlReport", "HtmlReport")
      .refuses(
          "table",
          "no column",
          {"column"},
          [] { HtmlReport("").table({}, {}); })
      .refuses(
          "table",
          "2 columns, 1 cell",
          {"row", "2", "1"},
          [] {
            HtmlReport("").table({"a", "b"}, {{"c"}});
          })
      .refuses(
          "svg", "<p/>", {"svg", "<p/>"}, [] { HtmlReport("").svg("<p/>"); });
  return table;
}

}  // namespace stepsize::test
