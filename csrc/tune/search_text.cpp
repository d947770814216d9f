#include "csrc/tune/search_text.h"

#include <stepsize/schedule/parse.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

#include "csrc/text/number.h"

namespace stepsize::detail {
namespace {

// The C locale's classes, whatever the program has set.
bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool is_figure(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// Whole numbers beyond have gaps as doubles.
constexpr double kMostWhole = 0x1p53;

bool is_whole(double value) {
  return std::abs(value) <= kMostWhole && std::floor(value) == value;
}

}  // namespace

void SearchText::skip_spaces() {
  while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
}

bool SearchText::take(char c) {
  const bool found = at_ < text_.size() && text_[at_] == c;
  at_ += found ? 1 : 0;
  return found;
}

std::string SearchText::name() {
  if (at_end() || !is_name_start(text_[at_])) {
    fail("expected the name of a number, as in 'lr:1e-5..10 log'");
  }
  std::string name;
  while (at_ < text_.size() && (is_name_start(text_[at_]) ||
                                is_figure(text_[at_]) || text_[at_] == '-')) {
    name += text_[at_] == '-' ? '_' : text_[at_];
    ++at_;
  }
  return name;
}

double SearchText::number(const char* what, std::string* unit) {
  skip_spaces();
  const std::size_t start = at_;
  // Up to "..", of which from_chars would take the first point.
  std::size_t end = at_;
  while (end < text_.size() && text_.compare(end, 2, "..") != 0 &&
         (is_figure(text_[end]) || text_[end] == '.' || text_[end] == '-' ||
          text_[end] == '+' ||
          ((text_[end] == 'e' || text_[end] == 'E') && end > start &&
           text_.compare(end, 2, "ep") != 0))) {
    ++end;
  }
  double value = 0;
  const char* first = text_.data() + start + (take('+') ? 1 : 0);
  const char* last = text_.data() + end;
  const auto read = std::from_chars(first, last, value);
  if (read.ec == std::errc::result_out_of_range) {
    fail(start, "expected a number in the range of a double");
  }
  if (read.ec != std::errc() || !std::isfinite(value)) {
    fail(start, std::string("expected ") + what + ", a number");
  }
  at_ = static_cast<std::size_t>(read.ptr - text_.data());
  if (read.ptr != last) fail("expected '..', a unit or a space");
  for (const char* known : {"%", "ep"}) {
    const std::string word = known;
    if (text_.compare(at_, word.size(), word) == 0) {
      if (unit == nullptr) {
        fail("'" + word + "' is a unit of a schedule's numbers only");
      }
      *unit = word;
      at_ += word.size();
      break;
    }
  }
  return value;
}

SearchNumber SearchText::range_of(const std::string& name, bool units) {
  SearchNumber number;
  number.name = name;
  skip_spaces();
  const std::size_t start = at_;
  if (!take(':')) fail("expected ':' and a range, as in 'lr:1e-5..10 log'");
  std::string low_unit;
  number.low = this->number("the lowest value", units ? &low_unit : nullptr);
  skip_spaces();
  if (text_.compare(at_, 2, "..") != 0) {
    fail("expected '..' and the highest value");
  }
  at_ += 2;
  skip_spaces();
  const std::size_t high_at = at_;
  number.high =
      this->number("the highest value", units ? &number.unit : nullptr);
  // "1..20%" has the unit twice.
  if (!low_unit.empty() && low_unit != number.unit) {
    fail(high_at, "expected the highest value in '" + low_unit + "' too");
  }
  bool has_scale = false;
  for (skip_spaces(); !at_end() && is_name_start(text_[at_]); skip_spaces()) {
    const std::size_t word_at = at_;
    const std::string word = this->name();
    if (word == "int" && !number.is_integer) {
      number.is_integer = true;
    } else if ((word == "log" || word == "log1m") && !has_scale) {
      has_scale = true;
      number.scale = word == "log" ? SearchScale::kLog : SearchScale::kLogToOne;
    } else {
      fail(word_at, "unexpected '" + word + "'; expected log, log1m or int");
    }
  }
  const std::string fault = fault_of(number);
  if (!fault.empty()) fail(start + 1, fault);
  return number;
}

void SearchText::fail(std::size_t place, const std::string& message) const {
  const std::size_t at = std::min(place, text_.size());
  const std::size_t line_start =
      at == 0 ? 0 : text_.rfind('\n', at - 1) + 1;  // npos + 1 is 0
  const std::size_t line_end = std::min(text_.find('\n', at), text_.size());
  std::string caret;
  for (std::size_t i = line_start; i < at; ++i) {
    // One space a character, not a byte, and tabs as they are.
    if ((static_cast<unsigned char>(text_[i]) & 0xC0U) != 0x80U) {
      caret += text_[i] == '\t' ? '\t' : ' ';
    }
  }
  throw ParseError(
      "SearchSpace, column " + std::to_string(at + 1) + ": " + message +
          "\n  " + text_.substr(line_start, line_end - line_start) + "\n  " +
          caret + "^",
      at + 1);
}

std::string fault_of(const SearchNumber& number) {
  const double low = number.low;
  const double high = number.high;
  const auto got = [&] {
    return ", got " + number_text(low) + ".." + number_text(high);
  };
  if (!std::isfinite(low) || !std::isfinite(high) || !(low < high) ||
      !std::isfinite(high - low)) {
    return "the range of " + number.name + " must be finite, with low < high" +
           got();
  }
  if (number.scale == SearchScale::kLog && !(low > 0)) {
    return "the range of " + number.name + " must be > 0 for log" + got();
  }
  if (number.scale == SearchScale::kLogToOne && !(high < 1)) {
    return "the range of " + number.name + " must be < 1 for log1m" + got();
  }
  if (number.is_integer && !(is_whole(low) && is_whole(high))) {
    return "the range of " + number.name + " must be of whole numbers for int" +
           got();
  }
  return "";
}

}  // namespace stepsize::detail
