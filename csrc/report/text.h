#pragma once

#include <functional>
#include <string>
#include <vector>

namespace stepsize::report {

/// At most `decimals` digits after the point, trailing zeros dropped. For
/// coordinates: value must be finite and |value| < 1e15.
std::string fixed_number(double value, int decimals);

/// UTF-8 to code points. Invalid bytes become U+FFFD; characters that XML 1.0
/// forbids or a terminal would obey (controls, line breaks) become spaces.
std::u32string decode_utf8(const std::string& text);
std::string encode_utf8(const std::u32string& text);

/// Escapes &, <, > and quotes, after the cleaning of `decode_utf8`.
std::string escape_xml(const std::string& text);

/// Columns that a terminal gives a character: 0 (combining), 1 or 2 (East Asian
/// wide, emoji).
int terminal_columns(char32_t c);

/// Width of a character in em in a common sans-serif face; an upper estimate,
/// since the reader's font is not known.
double sans_serif_em(char32_t c);

/// Width of a text in the caller's units.
using Measure = std::function<double(const std::u32string&)>;

Measure terminal_measure();
Measure sans_serif_measure(double font_size);

/// The text, or its longest beginning with `ellipsis` after it that fits.
std::string shorten(
    const std::string& text,
    double max_width,
    const Measure& measure,
    const std::u32string& ellipsis = U"\u2026");

/// Breaks at spaces (inside a word only where it is wider than a line) into at
/// most max_lines lines; the last one is shortened if text is left over.
std::vector<std::string> wrap(
    const std::string& text,
    double max_width,
    int max_lines,
    const Measure& measure,
    const std::u32string& ellipsis = U"\u2026");

}  // namespace stepsize::report
