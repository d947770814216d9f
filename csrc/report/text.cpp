#include "csrc/report/text.h"

#include <array>
#include <charconv>
#include <cstdint>

namespace stepsize::report {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

bool is_printable(char32_t c) {
  if (c < 0x20 || (c >= 0x7F && c < 0xA0)) return false;
  // Line and paragraph separators and the bidirectional controls would change
  // the text around them.
  if (c == 0x2028 || c == 0x2029 || (c >= 0x202A && c <= 0x202E) ||
      (c >= 0x2066 && c <= 0x2069)) {
    return false;
  }
  return c != 0xFFFE && c != 0xFFFF;
}

bool between(char32_t c, char32_t first, char32_t last) {
  return first <= c && c <= last;
}

std::u32string shorten_code_points(
    std::u32string text,
    double max_width,
    const Measure& measure,
    const std::u32string& ellipsis) {
  if (measure(text) <= max_width) return text;
  while (!text.empty() &&
         (text.back() == U' ' || measure(text + ellipsis) > max_width)) {
    text.pop_back();
  }
  return text + ellipsis;
}

}  // namespace

std::string fixed_number(double value, int decimals) {
  std::array<char, 64> buffer;
  const auto result = std::to_chars(
      buffer.data(),
      buffer.data() + buffer.size(),
      value,
      std::chars_format::fixed,
      decimals);
  std::string text(buffer.data(), result.ptr);
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text == "-0" ? "0" : text;
}

std::u32string decode_utf8(const std::string& text) {
  std::u32string result;
  size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80   ? 1
                          : lead < 0xC2 ? 0
                          : lead < 0xE0 ? 2
                          : lead < 0xF0 ? 3
                          : lead < 0xF5 ? 4
                                        : 0;
    bool valid = length > 0 && i + length <= text.size();
    char32_t c = length < 2 ? lead : lead & (0x7F >> length);
    for (size_t k = 1; valid && k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      valid = (next & 0xC0) == 0x80;
      c = (c << 6) | (next & 0x3F);
    }
    // Overlong forms, surrogates and what lies past Unicode's end.
    valid = valid && !(length == 3 && c < 0x800) &&
            !(length == 4 && (c < 0x10000 || c > 0x10FFFF)) &&
            !between(c, 0xD800, 0xDFFF);
    if (valid) {
      result += is_printable(c) ? c : U' ';
      i += length;
    } else {
      result += kReplacement;
      ++i;
    }
  }
  return result;
}

std::string encode_utf8(const std::u32string& text) {
  std::string result;
  const auto add = [&result](char32_t byte) {
    result += static_cast<char>(static_cast<unsigned char>(byte));
  };
  for (const char32_t c : text) {
    if (c < 0x80) {
      add(c);
    } else if (c < 0x800) {
      add(0xC0 | (c >> 6));
      add(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
      add(0xE0 | (c >> 12));
      add(0x80 | ((c >> 6) & 0x3F));
      add(0x80 | (c & 0x3F));
    } else {
      add(0xF0 | (c >> 18));
      add(0x80 | ((c >> 12) & 0x3F));
      add(0x80 | ((c >> 6) & 0x3F));
      add(0x80 | (c & 0x3F));
    }
  }
  return result;
}

std::string escape_xml(const std::string& text) {
  std::string result;
  for (const char c : encode_utf8(decode_utf8(text))) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

int terminal_columns(char32_t c) {
  if (between(c, 0x0300, 0x036F) || between(c, 0x200B, 0x200F) ||
      between(c, 0xFE00, 0xFE0F)) {
    return 0;
  }
  const bool wide = between(c, 0x1100, 0x115F) || between(c, 0x2E80, 0xA4CF) ||
                    between(c, 0xAC00, 0xD7A3) || between(c, 0xF900, 0xFAFF) ||
                    between(c, 0xFE30, 0xFE6F) || between(c, 0xFF00, 0xFF60) ||
                    between(c, 0xFFE0, 0xFFE6) ||
                    between(c, 0x1F300, 0x1FAFF) ||
                    between(c, 0x20000, 0x3FFFD);
  return wide ? 2 : 1;
}

double sans_serif_em(char32_t c) {
  if (c >= 0x80) return 0.7 * terminal_columns(c);
  const auto is_one_of = [c](const char* set) {
    return std::string(set).find(static_cast<char>(c)) != std::string::npos;
  };
  if (is_one_of(" .,:;'|!ijl[]()I/\\")) return 0.4;
  if (is_one_of("frt-\"")) return 0.46;
  if (is_one_of("mwMW@%")) return 1.0;
  if (is_one_of("+<=>_~#&")) return 0.84;
  if (between(c, U'A', U'Z')) return 0.74;
  return 0.64;
}

Measure terminal_measure() {
  return [](const std::u32string& text) {
    double columns = 0;
    for (const char32_t c : text) columns += terminal_columns(c);
    return columns;
  };
}

Measure sans_serif_measure(double font_size) {
  return [font_size](const std::u32string& text) {
    double em = 0;
    for (const char32_t c : text) em += sans_serif_em(c);
    return em * font_size;
  };
}

std::string shorten(
    const std::string& text,
    double max_width,
    const Measure& measure,
    const std::u32string& ellipsis) {
  return encode_utf8(
      shorten_code_points(decode_utf8(text), max_width, measure, ellipsis));
}

std::vector<std::string> wrap(
    const std::string& text,
    double max_width,
    int max_lines,
    const Measure& measure,
    const std::u32string& ellipsis) {
  std::vector<std::string> lines;
  std::u32string rest = decode_utf8(text);
  while (true) {
    const size_t first = rest.find_first_not_of(U' ');
    if (first == std::u32string::npos) return lines;
    rest.erase(0, first);
    if (static_cast<int>(lines.size()) + 1 == max_lines ||
        measure(rest) <= max_width) {
      lines.push_back(
          encode_utf8(shorten_code_points(rest, max_width, measure, ellipsis)));
      return lines;
    }
    size_t fits = 1;
    while (fits < rest.size() &&
           measure(rest.substr(0, fits + 1)) <= max_width) {
      ++fits;
    }
    // A space right after the last character that fits is a good break, too.
    const size_t space = rest.rfind(U' ', fits);
    const size_t cut = space == std::u32string::npos ? fits : space;
    lines.push_back(encode_utf8(rest.substr(0, cut)));
    rest.erase(0, cut);
  }
}

}  // namespace stepsize::report
