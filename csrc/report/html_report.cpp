#include <stepsize/report/html_report.h>

#include <algorithm>
#include <cstddef>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "csrc/report/text.h"
#include "csrc/report/text_file.h"

namespace stepsize {
namespace {

using report::escape_xml;

// Pictures are dark on white. On a dark page they are inverted, and their hues
// turned back.
constexpr const char* kStyle = R"css(
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #ffffff;
  --faint: #5c636e; --line: #d5d9df; --band: #f4f6f8; --link: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --paper: #16181b; --faint: #a2aab5;
    --line: #3a3f46; --band: #202327; --link: #8ab8ff; }
  figure svg { filter: invert(0.9) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 3rem;
  background: var(--paper); color: var(--ink); line-height: 1.5;
  font-family: system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; margin: 0 0 0.5rem; line-height: 1.2; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 0.8rem; padding-bottom: 0.3rem;
  border-bottom: 1px solid var(--line); }
a { color: var(--link); }
nav { display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; }
.wide { overflow-x: auto; margin: 0.8rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.9rem 0.3rem 0; text-align: left;
  vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { color: var(--faint); font-weight: 600; white-space: nowrap; }
tbody th { color: var(--faint); font-weight: 400; }
th { overflow-wrap: normal; }
tbody tr:nth-child(even) { background: var(--band); }
.number { text-align: right; white-space: nowrap; }
figure { margin: 1rem 0; }
figure svg { display: block; max-width: 100%; height: auto; }
@media print {
  :root { --ink: #000000; --paper: #ffffff; --faint: #444444;
    --line: #bbbbbb; --band: #ffffff; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .wide { overflow: visible; }
  thead th { white-space: normal; }
  nav { display: none; }
  figure svg { filter: none; }
  figure, tr { break-inside: avoid; }
  h2, section > p { break-after: avoid; }
}
)css";

bool looks_like_number(const std::string& text) {
  const std::size_t sign = !text.empty() && text[0] == '-' ? 1 : 0;
  const char first = text.size() > sign ? text[sign] : ' ';
  return (first >= '0' && first <= '9') || text == "nan" || text == "inf" ||
         text == "-inf";
}

std::string row_of(
    const std::vector<std::string>& cells,
    const std::string& element,
    const std::vector<bool>& is_number) {
  std::string row = "<tr>";
  for (std::size_t i = 0; i < cells.size(); ++i) {
    row += "<" + element + (is_number[i] ? " class=\"number\">" : ">") +
           escape_xml(cells[i]) + "</" + element + ">";
  }
  return row + "</tr>\n";
}

constexpr const char* kSvgStart = "<svg xmlns=\"http://www.w3.org/2000/svg\"";

// Whether it may be the value of the attribute, without escapes. Of functions,
// which might name a file, there is only the one of turned labels.
bool is_plain_value(const std::string& attribute, const std::string& value) {
  if (attribute == "xmlns") return value == "http://www.w3.org/2000/svg";
  std::string rest = value;
  if (attribute == "transform") {
    const std::string start = "rotate(";
    if (value.rfind(start, 0) != 0 || value.back() != ')') return false;
    rest = value.substr(start.size(), value.size() - start.size() - 1);
  }
  return std::all_of(rest.begin(), rest.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') ||
           std::string(" #.,-").find(c) != std::string::npos;
  });
}

// Whether escape_xml might have written it, but for quotes and line breaks,
// which it may hold.
bool is_plain_content(const std::string& text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '<' || text[i] == '>') return false;
    if (text[i] != '&') continue;
    const auto begins = [&](const std::string& entity) {
      return text.compare(i, entity.size(), entity) == 0;
    };
    if (!begins("&amp;") && !begins("&lt;") && !begins("&gt;") &&
        !begins("&quot;") && !begins("&#39;")) {
      return false;
    }
  }
  return true;
}

// Whether it is valid UTF-8 that holds no controls but line breaks.
bool is_clean(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return report::encode_utf8(report::decode_utf8(text)) == text;
}

// Whether the text between < and > begins an element, or is one, of those that
// to_svg writes, with attributes of those that it gives them.
bool is_plain_tag(const std::string& tag) {
  static const std::set<std::string> kElements{
      "svg", "title", "g", "rect", "line", "polyline", "circle", "text"};
  static const std::set<std::string> kAttributes{
      "xmlns",
      "width",
      "height",
      "viewBox",
      "role",
      "font-family",
      "font-size",
      "font-weight",
      "fill",
      "fill-opacity",
      "stroke",
      "stroke-width",
      "points",
      "stroke-linejoin",
      "stroke-dasharray",
      "x",
      "y",
      "x1",
      "y1",
      "x2",
      "y2",
      "cx",
      "cy",
      "r",
      "text-anchor",
      "transform"};
  std::set<std::string> names;
  std::size_t at = tag.find_first_of(" /");
  if (kElements.count(tag.substr(0, at)) == 0) return false;
  while (at < tag.size() && tag.compare(at, std::string::npos, "/") != 0) {
    const std::size_t equals = tag.find("=\"", at);
    if (equals == std::string::npos || tag[at] != ' ') return false;
    const std::string name = tag.substr(at + 1, equals - at - 1);
    const std::size_t end = tag.find('"', equals + 2);
    if (kAttributes.count(name) == 0 || !names.insert(name).second ||
        end == std::string::npos ||
        !is_plain_value(name, tag.substr(equals + 2, end - equals - 2))) {
      return false;
    }
    at = end + 1;
  }
  return true;
}

// Whether it is one element, closed in turn, of what to_svg writes.
bool is_plain_svg(const std::string& text) {
  if (text.rfind(kSvgStart, 0) != 0 || !is_clean(text)) return false;
  std::vector<std::string> open;
  std::size_t at = 0;
  do {
    const std::size_t end = text.find('>', at);
    if (end == std::string::npos || text[at] != '<') return false;
    const std::string tag = text.substr(at + 1, end - at - 1);
    if (!tag.empty() && tag[0] == '/') {
      if (open.empty() || tag != "/" + open.back()) return false;
      open.pop_back();
    } else if (!is_plain_tag(tag)) {
      return false;
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
    at = open.empty() ? end + 1 : text.find('<', end);
    if (!open.empty() && at != std::string::npos &&
        !is_plain_content(text.substr(end + 1, at - end - 1))) {
      return false;
    }
  } while (!open.empty() && at != std::string::npos);
  return open.empty() &&
         (at == text.size() || text.compare(at, std::string::npos, "\n") == 0);
}

std::string section_id(std::size_t i) { return "part-" + std::to_string(i); }

}  // namespace

HtmlReport::HtmlReport(std::string title)
    : title_(std::move(title)), sections_(1) {}

HtmlReport& HtmlReport::section(std::string title) {
  sections_.push_back({std::move(title), ""});
  return *this;
}

HtmlReport& HtmlReport::add(const std::string& markup) {
  sections_.back().body += markup;
  return *this;
}

HtmlReport& HtmlReport::text(const std::string& text) {
  return add("<p>" + escape_xml(text) + "</p>\n");
}

HtmlReport& HtmlReport::facts(const Facts& facts) {
  if (facts.empty()) return *this;
  std::string table = "<div class=\"wide\"><table><tbody>\n";
  for (const auto& [name, value] : facts) {
    table += "<tr><th scope=\"row\">" + escape_xml(name) + "</th><td>" +
             escape_xml(value) + "</td></tr>\n";
  }
  return add(table + "</tbody></table></div>\n");
}

HtmlReport& HtmlReport::table(
    const std::vector<std::string>& columns, const Rows& rows) {
  if (columns.empty()) {
    throw std::invalid_argument("HtmlReport: a table must have a column");
  }
  std::vector<bool> is_number(columns.size(), true);
  for (const auto& row : rows) {
    if (row.size() != columns.size()) {
      throw std::invalid_argument(
          "HtmlReport: a row must have as many cells as there are columns, " +
          std::to_string(columns.size()) + ", got " +
          std::to_string(row.size()));
    }
    for (std::size_t i = 0; i < row.size(); ++i) {
      is_number[i] =
          is_number[i] && (row[i].empty() || looks_like_number(row[i]));
    }
  }
  if (rows.empty()) return *this;
  std::string table = "<div class=\"wide\"><table><thead>\n" +
                      row_of(columns, "th", is_number) + "</thead><tbody>\n";
  for (const auto& row : rows) {
    table += row_of(row, "td", is_number);
  }
  return add(table + "</tbody></table></div>\n");
}

HtmlReport& HtmlReport::plot(const LinePlot& plot, const SvgOptions& options) {
  return add("<figure>" + to_svg(plot, options) + "</figure>\n");
}

HtmlReport& HtmlReport::svg(const std::string& document) {
  if (!is_plain_svg(document)) {
    throw std::invalid_argument(
        "HtmlReport: svg must be a document that to_svg has made, got '" +
        document.substr(0, 40) + "'");
  }
  return add("<figure>" + document + "</figure>\n");
}

std::string to_html(const HtmlReport& report) {
  const std::string title = escape_xml(report.title_);
  std::string contents;
  std::string body;
  for (std::size_t i = 0; i < report.sections_.size(); ++i) {
    const auto& section = report.sections_[i];
    if (section.body.empty()) continue;
    if (i == 0) {
      body += section.body;
      continue;
    }
    const std::string name = escape_xml(section.title);
    contents += "<a href=\"#" + section_id(i) + "\">" + name + "</a>\n";
    body += "<section id=\"" + section_id(i) + "\">\n<h2>" + name + "</h2>\n" +
            section.body + "</section>\n";
  }
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
         "<meta charset=\"utf-8\"/>\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
         "'none'; style-src 'unsafe-inline'\"/>\n"
         "<meta name=\"viewport\" content=\"width=device-width, "
         "initial-scale=1\"/>\n"
         "<title>" +
         title + "</title>\n<style>" + kStyle +
         "</style>\n</head>\n<body>\n<h1>" + title + "</h1>\n" +
         (contents.empty() ? "" : "<nav>\n" + contents + "</nav>\n") + body +
         "</body>\n</html>\n";
}

void write_html(const std::string& path, const HtmlReport& report) {
  report::write_text_file("write_html", path, to_html(report));
}

}  // namespace stepsize
