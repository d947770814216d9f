#include "csrc/schedule/lexer.h"

#include <stepsize/schedule/parse.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

namespace stepsize::detail {
namespace {

// The C locale's classes, whatever the program has set.
bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

class Lexer {
 public:
  explicit Lexer(const std::string& text) : text_(text) {}

  Token next() {
    while (at_ < text_.size() && is_space(text_[at_])) {
      ++at_;
    }
    Token token;
    token.column = at_ + 1;
    if (at_ == text_.size()) {
      return token;
    }
    const char c = text_[at_];
    if (is_digit(c) || c == '.' ||
        ((c == '-' || c == '+') && digit_follows())) {
      read_number(token);
    } else if (is_letter(c)) {
      read_word(token);
    } else if (std::string_view(">*():").find(c) != std::string_view::npos) {
      token.kind = TokenKind::kSymbol;
      token.text = text_.substr(at_++, 1);
    } else {
      throw_parse_error(
          text_,
          token.column,
          "expected a curve, a number, '>', '*' or a parenthesis");
    }
    return token;
  }

 private:
  bool digit_follows() const {
    return at_ + 1 < text_.size() &&
           (is_digit(text_[at_ + 1]) || text_[at_ + 1] == '.');
  }

  void read_word(Token& token) {
    token.kind = TokenKind::kWord;
    while (at_ < text_.size() && (is_letter(text_[at_]) ||
                                  is_digit(text_[at_]) || text_[at_] == '-')) {
      token.text += text_[at_] == '-' ? '_' : text_[at_];
      ++at_;
    }
    if (token.text == "inf") {
      token.kind = TokenKind::kNumber;
      token.number = HUGE_VAL;
    }
  }

  void read_number(Token& token) {
    token.kind = TokenKind::kNumber;
    const std::size_t start = at_;
    // from_chars takes no leading plus.
    const char* first = text_.data() + at_ + (text_[at_] == '+' ? 1 : 0);
    const char* last = text_.data() + text_.size();
    const auto result = std::from_chars(first, last, token.number);
    if (result.ec == std::errc::result_out_of_range) {
      throw_parse_error(
          text_, token.column, "expected a number in the range of a double");
    }
    if (result.ec != std::errc()) {
      throw_parse_error(text_, token.column, "expected a number");
    }
    at_ = static_cast<std::size_t>(result.ptr - text_.data());
    std::string suffix;
    const std::size_t suffix_column = at_ + 1;
    while (at_ < text_.size() && (is_letter(text_[at_]) || text_[at_] == '%')) {
      suffix += text_[at_++];
    }
    if (suffix == "ep") {
      token.unit = Unit::kEpochs;
    } else if (suffix == "%") {
      token.unit = Unit::kPercent;
    } else if (!suffix.empty()) {
      throw_parse_error(
          text_,
          suffix_column,
          "expected 'ep' (epochs), '%' (of the run) or a space after a "
          "number, got '" +
              suffix + "'");
    }
    token.text = text_.substr(start, at_ - start);
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

}  // namespace

std::vector<Token> tokenize(const std::string& text) {
  Lexer lexer(text);
  std::vector<Token> tokens;
  do {
    tokens.push_back(lexer.next());
  } while (tokens.back().kind != TokenKind::kEnd);
  return tokens;
}

void throw_parse_error(
    const std::string& text, std::size_t column, const std::string& message) {
  // The text may have several lines; the caret goes under the one meant.
  const std::size_t at = std::min(column - 1, text.size());
  const std::size_t line_start =
      at == 0 ? 0 : text.rfind('\n', at - 1) + 1;  // npos + 1 is 0
  const std::size_t line_end = std::min(text.find('\n', at), text.size());
  std::string caret;
  for (std::size_t i = line_start; i < at; ++i) {
    // One space a character, not a byte, and tabs as they are.
    if ((static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U) {
      caret += text[i] == '\t' ? '\t' : ' ';
    }
  }
  throw ParseError(
      "schedule, column " + std::to_string(column) + ": " + message + "\n  " +
          text.substr(line_start, line_end - line_start) + "\n  " + caret + "^",
      column);
}

}  // namespace stepsize::detail
