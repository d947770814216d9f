#include <stepsize/lr_scheduler/phased_lr.h>

#include <c10/util/Exception.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <set>
#include <utility>

#include "csrc/core/named_options.h"
#include "csrc/schedule/call.h"
#include "csrc/schedule/lexer.h"
#include "csrc/schedule/parse_part.h"

namespace stepsize {
namespace {

using detail::Token;
using detail::TokenKind;

constexpr char kPlateauUsage[] =
    "expected patience N, threshold X, cooldown N, min_lr X, eps X, cuts N, "
    "for DURATION, max, abs, python_rel, '>' or the end";

bool is_plateau(const std::vector<Token>& part) {
  return part.front().kind == TokenKind::kWord &&
         part.front().text == "plateau";
}

// Cut at each '>' outside of parentheses; the last token of each is its end.
std::vector<std::vector<Token>> parts_of(const std::string& text) {
  std::vector<std::vector<Token>> parts(1);
  int depth = 0;
  for (Token& token : detail::tokenize(text)) {
    const bool is_symbol = token.kind == TokenKind::kSymbol;
    if (is_symbol && token.text == "(") ++depth;
    if (is_symbol && token.text == ")") --depth;
    const bool cuts = is_symbol && token.text == ">" && depth <= 0;
    if (cuts) token.kind = TokenKind::kEnd;
    parts.back().push_back(std::move(token));
    if (cuts) parts.emplace_back();
  }
  return parts;
}

class PlateauText {
 public:
  PlateauText(
      const std::string& text,
      const ParseContext& context,
      const std::vector<Token>& part)
      : call_(text, context, 0, part.front()), part_(&part) {}

  PlateauPhase read() {
    if (at().kind == TokenKind::kNumber) {
      rule_.factor(call_.resolve_number(at()));
      ++at_;
    }
    PlateauPhase phase;
    while (at().kind != TokenKind::kEnd) {
      const Token word = at();
      if (word.kind != TokenKind::kWord) call_.fail(word.column, kPlateauUsage);
      if (!said_.insert(word.text).second) {
        call_.fail(word.column, "'" + word.text + "' has been said already");
      }
      ++at_;
      if (word.text == "patience") {
        rule_.patience(count());
      } else if (word.text == "cooldown") {
        rule_.cooldown(count());
      } else if (word.text == "threshold") {
        rule_.threshold(number());
      } else if (word.text == "min_lr") {
        rule_.min_lr(number());
      } else if (word.text == "eps") {
        rule_.eps(number());
      } else if (word.text == "cuts") {
        phase.cuts(count());
      } else if (word.text == "for") {
        phase.steps(whole(call_.resolve_duration(need())));
      } else if (word.text == "max") {
        rule_.mode(MetricMode::kMax);
      } else if (word.text == "abs" || word.text == "python_rel") {
        if (said_.count("abs") + said_.count("python_rel") > 1) {
          call_.fail(word.column, "expected 'abs' or 'python_rel', not both");
        }
        rule_.threshold_mode(
            word.text == "abs" ? ThresholdMode::kAbs
                               : ThresholdMode::kPythonRel);
      } else {
        call_.fail(
            word.column, "unexpected '" + word.text + "'; " + kPlateauUsage);
      }
    }
    phase.rule(rule_);
    try {
      phase.options();
    } catch (const c10::Error& error) {
      call_.fail(call_.column(), error.what_without_backtrace());
    }
    return phase;
  }

 private:
  const Token& at() const { return (*part_)[at_]; }
  const Token& need() {
    if (at().kind != TokenKind::kNumber) {
      call_.fail(
          at().column, "expected a number after '" + before().text + "'");
    }
    return (*part_)[at_++];
  }
  const Token& before() const { return (*part_)[at_ - 1]; }
  double number() { return call_.resolve_number(need()); }
  int64_t whole(double value) const {
    // To a whole step, as a schedule's end is.
    const double steps = std::ceil(value);
    if (!(steps >= 0 && steps <= 0x1p53)) {
      call_.fail(before().column, "expected a duration in [0, 2^53]");
    }
    return static_cast<int64_t>(steps);
  }
  int64_t count() {
    const Token& token = need();
    if (token.unit != detail::Unit::kNone ||
        token.number != std::floor(token.number) || token.number < 0 ||
        token.number > 0x1p53) {
      call_.fail(token.column, "expected a whole number >= 0");
    }
    return static_cast<int64_t>(token.number);
  }

  detail::Call call_;
  const std::vector<Token>* part_;
  std::size_t at_ = 1;
  std::set<std::string> said_;
  ReduceLROnPlateauOptions rule_;
};

// NaN where a metric may end it, so that the time of the rest is not known.
double length_in_text(const PlateauPhase& phase) {
  return phase.steps() && !phase.cuts()
             ? static_cast<double>(*phase.steps())
             : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

std::vector<LRPhase> parse_phases(
    const std::string& text, const ParseContext& context) {
  detail::check_context(context);
  const auto parts = parts_of(text);
  std::vector<LRPhase> phases;
  double elapsed = 0;
  for (std::size_t i = 0; i < parts.size();) {
    if (is_plateau(parts[i])) {
      PlateauPhase phase = PlateauText(text, context, parts[i]).read();
      const bool is_last = i + 1 == parts.size();
      if (!is_last && !phase.steps() && !phase.cuts()) {
        detail::throw_parse_error(
            text,
            parts[i].back().column,
            "this plateau has no end, so that nothing can follow it; expected "
            "'for DURATION' or 'cuts N' before");
      }
      elapsed += length_in_text(phase);
      phases.emplace_back(std::move(phase));
      ++i;
      continue;
    }
    // Curves up to the next plateau are one schedule.
    std::vector<Token> curves = parts[i++];
    for (; i < parts.size() && !is_plateau(parts[i]); ++i) {
      curves.back().kind = TokenKind::kSymbol;
      curves.insert(curves.end(), parts[i].begin(), parts[i].end());
    }
    for (const Token& token : curves) {
      if (token.kind != TokenKind::kWord || token.text != "plateau") continue;
      detail::throw_parse_error(
          text,
          token.column,
          "a plateau cannot stand in parentheses or in a product; expected it "
          "between '>'");
    }
    const Token end = curves.back();
    Schedule schedule =
        detail::parse_part(text, context, std::move(curves), elapsed);
    if (i < parts.size() && !std::isfinite(schedule.length())) {
      detail::throw_parse_error(
          text,
          end.column,
          "'" + schedule.to_string() +
              "' has no end, so that no plateau can follow it; expected an end "
              "before, as in 'for 100'");
    }
    elapsed += std::ceil(schedule.length());
    phases.emplace_back(std::move(schedule));
  }
  return phases;
}

}  // namespace stepsize
