#pragma once

#include <stepsize/schedule/schedule.h>

#include <cstddef>
#include <stdexcept>
#include <string>

namespace stepsize {

/// What the durations of a schedule's text are resolved against, all in the
/// unit of the schedule's time. 0 means unknown: a text that needs it is
/// refused.
struct ParseContext {
  /// Steps in one epoch: "2ep" lasts twice as long.
  double steps_per_epoch = 0;
  /// Steps in the whole run: "5%" is a share of it, and a curve written
  /// without a duration takes what is left of it.
  double run_length = 0;
};

/// A text that is no schedule. what() shows the text, a caret under the
/// column, and what was expected there.
class ParseError : public std::invalid_argument {
 public:
  ParseError(const std::string& message, std::size_t column)
      : std::invalid_argument(message), column_(column) {}
  /// 1-based column of the offending character.
  std::size_t column() const { return column_; }

 private:
  std::size_t column_;
};

/// Turns text into a schedule:
///
///     warmup 500 > cosine 9500 to 0.1
///     warmup 2ep cosine > constant for 70% > cooldown sqrt
///     (triangular 2000 from 0.1) * noise 0.05 seed 7
///
/// `A > B` plays B after A, `A * B` multiplies (and binds tighter), and after
/// a curve or a parenthesis come `for N`, `clamp LOW HIGH`, `repeat [N]`,
/// `stretch_to N` and `shift N`. Durations are steps ("500", "5e3"), epochs
/// ("2ep") or shares of the run ("5%"); a curve of finite length without one
/// takes the rest of the run. docs/schedules.md lists every curve. For every
/// schedule s without a callable, parse(s.to_string()) == s.
///
/// Throws ParseError.
Schedule parse(const std::string& text, const ParseContext& context = {});

}  // namespace stepsize
