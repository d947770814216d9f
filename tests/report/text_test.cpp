#include "csrc/report/text.h"

#include <gtest/gtest.h>

#include <locale>
#include <string>
#include <vector>

#include "csrc/text/number.h"

namespace stepsize::report {
namespace {

using Lines = std::vector<std::string>;

TEST(DecodeUtf8, ReadsOneToFourBytes) {
  EXPECT_EQ(
      decode_utf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
      U"a\u00E9\u20AC\U0001F600");
}

TEST(DecodeUtf8, ReplacesInvalidBytes) {
  EXPECT_EQ(decode_utf8("a\xFFz"), U"a\uFFFDz");
  EXPECT_EQ(decode_utf8("\xC0\x80"), U"\uFFFD\uFFFD");            // overlong
  EXPECT_EQ(decode_utf8("\xED\xA0\x80"), U"\uFFFD\uFFFD\uFFFD");  // surrogate
  EXPECT_EQ(decode_utf8("\xE2\x82"), U"\uFFFD\uFFFD");            // cut off
}

TEST(DecodeUtf8, DisarmsControlCharacters) {
  EXPECT_EQ(decode_utf8("a\x1B[31m\nb"), U"a [31m b");
}

TEST(EncodeUtf8, IsTheInverse) {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80";
  EXPECT_EQ(encode_utf8(decode_utf8(text)), text);
}

TEST(EscapeXml, EscapesMarkup) {
  EXPECT_EQ(escape_xml("a<b> & \"c\"'"), "a&lt;b&gt; &amp; &quot;c&quot;&#39;");
}

TEST(FixedNumber, DropsTrailingZeros) {
  EXPECT_EQ(fixed_number(1.5, 2), "1.5");
  EXPECT_EQ(fixed_number(100, 2), "100");
  EXPECT_EQ(fixed_number(-0.001, 2), "0");
  EXPECT_EQ(fixed_number(2.375, 2), "2.38");
}

/// A locale with a decimal comma and thousands grouped by points.
class CommaFormat : public std::numpunct<char> {
 protected:
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST(Numbers, HavePointsInALocaleWithCommas) {
  const std::locale before =
      std::locale::global(std::locale(std::locale(), new CommaFormat));
  const std::string fixed = fixed_number(12345.5, 2);
  const std::string shortest = detail::number_text(12345.5);
  std::locale::global(before);
  EXPECT_EQ(fixed, "12345.5");
  EXPECT_EQ(shortest, "12345.5");
}

TEST(Shorten, FitsWithItsEllipsis) {
  const Measure columns = terminal_measure();
  EXPECT_EQ(shorten("learning rate", 13, columns), "learning rate");
  EXPECT_EQ(shorten("learning rate", 12, columns), "learning ra\u2026");
  EXPECT_EQ(shorten("learning rate", 10, columns), "learning\u2026");
  EXPECT_EQ(shorten("learning rate", 8, columns, U"..."), "learn...");
}

TEST(Wrap, BreaksBetweenWords) {
  const Measure columns = terminal_measure();
  EXPECT_EQ(wrap("one two three", 7, 3, columns), (Lines{"one two", "three"}));
  EXPECT_EQ(wrap("one two three", 7, 1, columns), (Lines{"one tw\u2026"}));
  EXPECT_EQ(wrap("abcdefgh", 3, 5, columns), (Lines{"abc", "def", "gh"}));
  EXPECT_EQ(wrap("  ", 3, 5, columns), Lines{});
}

TEST(TerminalMeasure, CountsWideCharactersTwice) {
  EXPECT_EQ(terminal_measure()(U"a\u4E2De\u0301"), 4);
}

}  // namespace
}  // namespace stepsize::report
