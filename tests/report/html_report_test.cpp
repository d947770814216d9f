#include <stepsize/report/html_report.h>

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace stepsize {
namespace {

constexpr const char* kNasty =
    "<script>alert(1)</script> & \"q\" 'a' \x01\xFF ]]> --> <b";

// What lies inside the elements, with the style's text, which is no markup,
// left out.
std::string without_style(const std::string& html) {
  const auto begin = html.find("<style>");
  const auto end = html.find("</style>");
  return html.substr(0, begin) + html.substr(end + 8);
}

// The name of the first element that is not closed in turn; empty if there is
// none.
std::string unbalanced(const std::string& xml) {
  std::vector<std::string> open;
  for (std::size_t at = xml.find('<'); at != std::string::npos;
       at = xml.find('<', at + 1)) {
    const std::string tag = xml.substr(at + 1, xml.find('>', at) - at - 1);
    if (tag[0] == '!') continue;
    const std::string name = tag.substr(0, tag.find_first_of(" /\n", 1));
    if (tag[0] == '/') {
      if (open.empty() || tag != "/" + open.back()) return tag;
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(name);
    }
  }
  return open.empty() ? "" : open.back();
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t result = 0;
  for (auto at = text.find(part); at != std::string::npos;
       at = text.find(part, at + 1)) {
    ++result;
  }
  return result;
}

LinePlot plot(const std::string& name) {
  return LinePlot(name).x_label(name).line(name, {0, 1}, {0, 1}).mark(1, name);
}

HtmlReport report_of(const std::string& text) {
  HtmlReport report(text);
  report.text(text)
      .section(text)
      .facts({{text, text}})
      .table({text, "b"}, {{text, "1"}, {"2", text}})
      .section(text)
      .plot(plot(text))
      .svg(to_svg(plot(text)));
  return report;
}

TEST(HtmlReport, ShowsHostileTextsAsTheyStand) {
  const std::string html = to_html(report_of(kNasty));
  EXPECT_EQ(unbalanced(without_style(html)), "");
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("<b"), html.find("<body"));
  EXPECT_EQ(html.find('\x01'), std::string::npos);
  EXPECT_NE(
      html.find("<td>&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;q"),
      std::string::npos);
}

TEST(HtmlReport, CheckOfBalanceSeesFaults) {
  EXPECT_EQ(unbalanced("<a><b/>x</a>"), "");
  EXPECT_EQ(unbalanced("<a><b></a></b>"), "/a");
  EXPECT_EQ(unbalanced("<a>"), "a");
}

TEST(HtmlReport, NamesNothingOutsideOfItself) {
  std::string html = to_html(report_of("a"));
  const std::string name_of_svg = "xmlns=\"http://www.w3.org/2000/svg\"";
  for (auto at = html.find(name_of_svg); at != std::string::npos;
       at = html.find(name_of_svg)) {
    html.erase(at, name_of_svg.size());
  }
  for (const char* part :
       {"://", "src=", "@import", "url(", "<link", "<script", "<iframe"}) {
    EXPECT_EQ(html.find(part), std::string::npos) << part;
  }
  // Its links are to its own parts, all of which are there.
  EXPECT_EQ(count(html, "href="), count(html, "href=\"#part-"));
  EXPECT_EQ(count(html, "href=\"#part-1\""), 1U);
  EXPECT_EQ(count(html, "id=\"part-1\""), 1U);
}

TEST(HtmlReport, LeavesOutSectionsWithoutContent) {
  HtmlReport report("Run");
  report.section("Summary").text("one");
  report.section("Sharpness").facts({}).table({"a"}, {});
  report.section("Losses").plot(plot("loss"));
  const std::string html = to_html(report);
  EXPECT_EQ(html.find("Sharpness"), std::string::npos);
  EXPECT_EQ(count(html, "<section "), 2U);
  EXPECT_LT(html.find(">Summary</h2>"), html.find(">Losses</h2>"));
}

TEST(HtmlReport, WithoutSectionsHasNoContents) {
  const std::string html = to_html(HtmlReport("Empty"));
  EXPECT_EQ(html.find("<nav>"), std::string::npos);
  EXPECT_EQ(count(html, "<title>Empty</title>"), 1U);
  EXPECT_EQ(unbalanced(without_style(html)), "");
}

TEST(HtmlReport, SetsNumbersToTheRight) {
  HtmlReport report("Run");
  report.table({"epoch", "loss", "note"}, {{"1", "-2e-3", "x"}, {"2", "", ""}});
  const std::string html = to_html(report);
  EXPECT_NE(html.find("<td class=\"number\">-2e-3</td><td>x</td>"), html.npos);
  EXPECT_NE(
      html.find("<th class=\"number\">loss</th><th>note</th>"), html.npos);
}

TEST(HtmlReport, RefusesRowsOfAnotherLength) {
  HtmlReport report("Run");
  report.section("Table");
  EXPECT_THROW(report.table({}, {}), std::invalid_argument);
  EXPECT_THROW(report.table({"a", "b"}, {{"1"}}), std::invalid_argument);
  EXPECT_EQ(to_html(report).find("Table"), std::string::npos);
}

TEST(HtmlReport, TakesPicturesOfToSvgOnly) {
  const std::string start = "<svg xmlns=\"http://www.w3.org/2000/svg\">";
  HtmlReport report("Run");
  report.section("Pictures");
  for (const std::string& bad : std::vector<std::string>{
           "",
           "text",
           "<svg",
           start,
           "<p></p>",
           start + "</svg><p>",
           start + "</svg><svg></svg>",
           start + "<g></svg></g>",
           start + "<script>x</script></svg>",
           start + "<image href=\"a\"/></svg>",
           start + "<text onclick=\"a\">x</text></svg>",
           start + "<text\nonclick=\"a\">x</text></svg>",
           start + "<text x=\">\" onclick=\"a\">x</text></svg>",
           start + "<text x='>' onclick='a'>x</text></svg>",
           start + "<text fill=\"url(a)\">x</text></svg>",
           start + "<text fill=\"URL(http://x/a#b)\">x</text></svg>",
           start + "<text fill=\"&#117;rl(http://x/a#b)\">x</text></svg>",
           start + "<g transform=\"rotate(0) url(a)\"></g></svg>",
           start + "<g transform=\"\"></g></svg>",
           start + "<text>a & b</text></svg>",
           start + "<text>&nope;</text></svg>",
           start + "<text>&#1;</text></svg>",
           start + "<text>]]></text></svg>",
           start + "<text>\x01</text></svg>",
           start + "<text>\xff</text></svg>",
           start + "<text>" + std::string(1, '\0') + "</text></svg>",
           start + "<rect x=\"1\" x=\"2\"/></svg>",
           start + "<rect x=\"<\"/></svg>",
           start + "<g xmlns=\"http://www.w3.org/1999/xhtml\"></g></svg>",
           "<svg xmlns=\"http://www.w3.org/1999/xhtml\"></svg>",
           "<svg width=\"1\"></svg>",
           start + "<rect style=\"fill:red\"/></svg>",
           start + "<!-- --></svg>"}) {
    EXPECT_THROW(report.svg(bad), std::invalid_argument) << bad;
  }
  EXPECT_EQ(to_html(report).find("Pictures"), std::string::npos);
  report.svg(start + "<g fill=\"red\"><rect width=\"1\"/></g></svg>\n");
  EXPECT_NE(to_html(report).find("<rect width=\"1\"/>"), std::string::npos);
}

TEST(HtmlReport, TakesWhatToSvgMakesOfAnyText) {
  const std::string text = "a & <b> \"c\" 'd' \x01\xff \u00b5\n]]> url(e)";
  LinePlot picture(text);
  picture.x_label(text).y_label(text).mark(1.5, text);
  for (int i = 0; i < 20; ++i) picture.line(text, {1, 2}, {1e-9, -3e7});
  picture.points(text, {1, 2}, {0, 1});
  HtmlReport report("Run");
  report.svg(to_svg(picture));
  EXPECT_EQ(count(to_html(report), "<figure>"), 1U);
}

TEST(HtmlReport, IsWrittenToAFile) {
  const auto path = std::filesystem::path(testing::TempDir()) / "report.html";
  write_html(path.string(), report_of("a"));
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_EQ(text.str(), to_html(report_of("a")));
  std::filesystem::remove(path);
  try {
    write_html("/nowhere/report.html", HtmlReport("a"));
    FAIL();
  } catch (const std::runtime_error& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("write_html"), std::string::npos) << what;
    EXPECT_NE(what.find("/nowhere/report.html"), std::string::npos) << what;
  }
}

}  // namespace
}  // namespace stepsize
