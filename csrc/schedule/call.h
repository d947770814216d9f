#pragma once

#include "csrc/schedule/lexer.h"

#include <stepsize/schedule/parse.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace stepsize::detail {

/// What `decay D`, `to M` and `above M` say of the cycles.
struct LevelDecay {
  double factor;
  double level;
  bool of_height;     ///< `above`: the height above the level decays
  bool stands_alone;  ///< a level and no `decay`
};

/// One curve of the text form as it was written: its name, the numbers right
/// behind it, and its keywords. Resolves durations and reports at columns.
/// `elapsed` is a NaN where it is not known.
class Call {
 public:
  Call(
      const std::string& text,
      const ParseContext& context,
      double elapsed,
      Token name)
      : text_(text),
        context_(context),
        elapsed_(elapsed),
        name_(std::move(name)) {}

  std::vector<Token> numbers;
  std::vector<std::pair<Token, Token>> points;  ///< t:factor
  std::vector<std::pair<Token, Token>> values;  ///< keyword and its number
  std::vector<Token> flags;

  const Token& name() const { return name_; }
  bool has_flag(const std::string& flag) const;

  /// The i-th number as a duration in steps; an error without it.
  double duration(std::size_t i, const char* what) const;
  /// The i-th number as a duration; without it what is left of the run.
  double duration_or_rest(std::size_t i) const;
  /// The i-th number plain.
  double number(std::size_t i, const char* what) const;
  double value_or(const std::string& keyword, double standard) const;
  double value(const std::string& keyword) const;
  double duration_value_or(const std::string& keyword, double standard) const;
  /// `decay D to M` or `decay D above M`; an error where both M stand.
  LevelDecay level_decay() const;
  /// A count >= 1 behind a keyword; without the keyword kForever.
  int64_t count_or_forever(const std::string& keyword) const;
  std::uint64_t seed() const;

  double resolve_duration(const Token& token) const;
  double resolve_number(const Token& token) const;
  std::size_t column() const { return name_.column; }
  [[noreturn]] void fail(std::size_t column, const std::string& message) const;

 private:
  const Token* find(const std::string& keyword) const;

  const std::string& text_;
  const ParseContext& context_;
  double elapsed_;
  Token name_;
};

}  // namespace stepsize::detail
