#pragma once

#include <string>
#include <utility>
#include <vector>

#include <stepsize/report/line_plot.h>
#include <stepsize/report/svg.h>

namespace stepsize {

/// A report as a value: sections of texts, tables and plots, which `to_html`
/// makes one page of.
///
///     HtmlReport report("Run 7");
///     report.section("Summary").facts({{"test accuracy", "91.2%"}});
///     report.section("Losses").plot(plot);
///     write_html("report.html", report);
///
/// A section that nothing was added to is left out. Texts are UTF-8 and
/// nothing but text: what would be markup in them is shown as it stands.
class HtmlReport {
 public:
  using Facts = std::vector<std::pair<std::string, std::string>>;
  using Rows = std::vector<std::vector<std::string>>;

  explicit HtmlReport(std::string title);

  /// Begins a section, which all that is added from now on belongs to. What
  /// comes before the first one stands under the title.
  HtmlReport& section(std::string title);

  /// Adds a paragraph.
  HtmlReport& text(const std::string& text);
  /// Adds a table of names and values; none where there are no facts.
  HtmlReport& facts(const Facts& facts);
  /// Adds a table; none where there are no rows. Cells that begin as a number
  /// does are set to the right. Throws std::invalid_argument, and adds nothing,
  /// unless there is a column and each row has a cell for each.
  HtmlReport& table(const std::vector<std::string>& columns, const Rows& rows);
  /// Adds a plot, drawn as by `to_svg`.
  HtmlReport& plot(const LinePlot& plot, const SvgOptions& options = {});
  /// Adds a document that `to_svg` has made, or `write_svg`. Throws
  /// std::invalid_argument, and adds nothing, where it is none: it may hold
  /// shapes and texts only, no scripts, styles or links.
  HtmlReport& svg(const std::string& document);

  const std::string& title() const { return title_; }

 private:
  friend std::string to_html(const HtmlReport& report);

  struct Section {
    std::string title;
    std::string body;
  };

  HtmlReport& add(const std::string& markup);

  std::string title_;
  std::vector<Section> sections_;
};

/// One self-contained document: HTML that is well-formed XML too, plots as
/// inline SVG. It has no script, and names nothing to be fetched, which a
/// content security policy in it forbids besides. It is light or dark as the
/// reader's system is, fits a narrow screen, and prints on white.
std::string to_html(const HtmlReport& report);

/// Writes `to_html` to the file at `path`, replacing it. Throws
/// std::runtime_error that names path and reason if that fails.
void write_html(const std::string& path, const HtmlReport& report);

}  // namespace stepsize
