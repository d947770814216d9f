#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace stepsize::detail {

enum class TokenKind : std::uint8_t { kWord, kNumber, kSymbol, kEnd };

/// What stands behind a number: nothing, epochs ("2ep") or percent ("5%").
enum class Unit : std::uint8_t { kNone, kEpochs, kPercent };

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;  ///< as written; a word with '-' read as '_'
  std::size_t column = 1;
  double number = 0;
  Unit unit = Unit::kNone;
};

/// Cuts a schedule's text into tokens, the last of kind kEnd. Throws
/// ParseError at a character or number that no token begins with.
std::vector<Token> tokenize(const std::string& text);

/// Throws the ParseError that shows `text`, a caret under `column` and
/// `message`.
[[noreturn]] void throw_parse_error(
    const std::string& text, std::size_t column, const std::string& message);

}  // namespace stepsize::detail
