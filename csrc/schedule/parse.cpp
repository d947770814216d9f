#include <stepsize/schedule/parse.h>

#include <stepsize/schedule/cycle.h>

#include "csrc/schedule/check.h"
#include "csrc/schedule/curves.h"
#include "csrc/schedule/lexer.h"
#include "csrc/schedule/node.h"
#include "csrc/schedule/parse_part.h"
#include "csrc/text/edit_distance.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

namespace stepsize {
namespace detail {
namespace {

// "did you mean 'cosine'?", or nothing where none of the words is near.
std::string suggestion(
    const std::string& word, const std::vector<const char*>& known) {
  const char* nearest = nullptr;
  std::size_t nearest_distance = std::min<std::size_t>(3, word.size());
  for (const char* candidate : known) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < nearest_distance) {
      nearest = candidate;
      nearest_distance = distance;
    }
  }
  return nearest == nullptr ? ""
                            : "did you mean '" + std::string(nearest) + "'?";
}

std::string listed(const std::vector<const char*>& words) {
  std::string list;
  for (const char* word : words) {
    list += (list.empty() ? "" : ", ") + std::string(word);
  }
  return list;
}

std::string unknown_curve_message(const std::string& word) {
  if (word == "plateau") {
    return "'plateau' goes by a metric and is no curve; a PhasedLR takes it, "
           "by parse_phases() or its constructor";
  }
  std::vector<const char*> names;
  for (const CurveSpec& spec : curve_specs()) {
    names.push_back(spec.name);
  }
  const std::string near = suggestion(word, names);
  return "'" + word + "' is no curve; " +
         (near.empty() ? "expected one of " + listed(names) : near);
}

bool contains(const std::vector<const char*>& words, const std::string& word) {
  return std::any_of(words.begin(), words.end(), [&word](const char* known) {
    return word == known;
  });
}

// Curves of the shapes exclude each other; the other flags do not.
bool is_shape(const std::string& flag) {
  return flag != "staircase" && flag != "three_phase";
}

class Parser {
 public:
  Parser(
      const std::string& text,
      const ParseContext& context,
      std::vector<Token> tokens)
      : text_(text), context_(context), tokens_(std::move(tokens)) {}

  Schedule parse(double elapsed) {
    if (peek().kind == TokenKind::kEnd) {
      fail("expected a curve, as in 'warmup 500 > cosine 9500'");
    }
    Schedule schedule = sequence(elapsed);
    if (peek().kind != TokenKind::kEnd) {
      std::vector<const char*> words = accepted_;
      words.insert(
          words.end(),
          {"for", "clamp", "repeat", "stretch_to", "shift", "stairs"});
      const std::string near =
          peek().kind == TokenKind::kWord ? suggestion(peek().text, words) : "";
      fail(
          "unexpected '" + peek().text + "'; " +
          (near.empty() ? "" : near + " ") + "expected '>', '*', " +
          listed(words) + " or the end");
    }
    return schedule;
  }

 private:
  const Token& peek() const { return tokens_[at_]; }
  Token take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool take_symbol(const char* symbol) {
    const bool found =
        peek().kind == TokenKind::kSymbol && peek().text == symbol;
    at_ += found ? 1 : 0;
    return found;
  }
  bool take_word(const char* word) {
    const bool found = peek().kind == TokenKind::kWord && peek().text == word;
    at_ += found ? 1 : 0;
    return found;
  }
  [[noreturn]] void fail(const std::string& message) const {
    throw_parse_error(text_, peek().column, message);
  }

  // Runs `make`, and moves what a factory refuses to the text's column.
  template <typename Make>
  Schedule at_column(std::size_t column, const Make& make) const {
    try {
      return make();
    } catch (const ParseError&) {
      throw;
    } catch (const std::invalid_argument& error) {
      throw_parse_error(text_, column, error.what());
    }
  }

  // `elapsed` is the time at which the part begins, where that is known: what
  // a curve without a length is measured from.
  Schedule sequence(double elapsed) {
    const std::size_t column = peek().column;
    std::vector<Schedule> parts = {product(elapsed)};
    while (peek().kind == TokenKind::kSymbol && peek().text == ">") {
      const Schedule& before = parts.back();
      if (!std::isfinite(before.length())) {
        fail(
            "'" + before.to_string() +
            "' has no end, so that nothing can follow it; expected an end "
            "before, as in '" +
            before.to_string() + " for 100'");
      }
      take();
      elapsed += before.length();
      parts.push_back(product(elapsed));
    }
    return at_column(column, [&] { return join(parts); });
  }

  Schedule product(double elapsed) {
    const std::size_t column = peek().column;
    std::vector<Schedule> parts = {modified(elapsed)};
    while (take_symbol("*")) {
      parts.push_back(modified(elapsed));
    }
    return at_column(column, [&] { return multiply(parts); });
  }

  Schedule modified(double elapsed) {
    Schedule schedule = primary(elapsed);
    while (peek().kind == TokenKind::kWord) {
      const std::size_t column = peek().column;
      if (take_word("for")) {
        const double length = duration("for");
        schedule = at_column(column, [&] { return schedule.limit(length); });
      } else if (take_word("stretch_to")) {
        const double length = duration("stretch_to");
        schedule =
            at_column(column, [&] { return schedule.stretch_to(length); });
      } else if (take_word("shift")) {
        const double delay = duration("shift");
        schedule = at_column(column, [&] { return schedule.shift(delay); });
      } else if (take_word("stairs")) {
        const double period = duration("stairs");
        schedule = at_column(column, [&] { return schedule.stairs(period); });
      } else if (take_word("clamp")) {
        const double low = number("the low bound of clamp");
        const double high = number("the high bound of clamp");
        schedule = at_column(column, [&] { return schedule.clamp(low, high); });
      } else if (take_word("repeat")) {
        schedule = repeat(schedule, column);
      } else {
        break;
      }
    }
    return schedule;
  }

  Schedule repeat(const Schedule& schedule, std::size_t column) {
    Call call(text_, context_, 0, tokens_[at_ - 1]);
    if (peek().kind == TokenKind::kNumber) {
      call.values.emplace_back(call.name(), take());
    }
    const CurveSpec spec{
        "repeat",
        "repeat [COUNT] [stretch S] [decay D [to M|above M]]",
        0,
        {"stretch", "decay", "to", "above"},
        {},
        nullptr};
    read_keywords(call, spec);
    return at_column(column, [&] {
      const LevelDecay decay = call.level_decay();
      if (decay.stands_alone) {
        call.fail(
            column,
            "expected 'decay D' where 'repeat' has a level: it is what a decay "
            "leaves where it is");
      }
      RepeatOptions options;
      options.count(call.count_or_forever("repeat"))
          .stretch(call.value_or("stretch", 1))
          .floor(decay.level);
      return schedule.repeat(
          decay.of_height ? options.height_decay(decay.factor)
                          : options.peak_decay(decay.factor));
    });
  }

  Schedule primary(double elapsed) {
    if (take_symbol("(")) {
      if (++depth_ > kMaxDepth) {
        fail(
            "expected at most " + std::to_string(kMaxDepth) +
            " parentheses inside each other");
      }
      Schedule inner = sequence(elapsed);
      if (!take_symbol(")")) {
        fail("expected ')'");
      }
      --depth_;
      accepted_.clear();
      return inner;
    }
    if (peek().kind != TokenKind::kWord) {
      fail("expected a curve, such as 'cosine', or '('");
    }
    const Token name = take();
    for (const CurveSpec& spec : curve_specs()) {
      if (name.text == spec.name) {
        return curve(spec, name, elapsed);
      }
    }
    throw_parse_error(text_, name.column, unknown_curve_message(name.text));
  }

  Schedule curve(const CurveSpec& spec, const Token& name, double elapsed) {
    Call call(text_, context_, elapsed, name);
    while (peek().kind == TokenKind::kNumber) {
      const Token number = take();
      if (std::string_view(spec.name) == "piecewise") {
        if (!take_symbol(":")) {
          fail("expected ':' and a factor, as in 'piecewise 0:0.1 500:1'");
        }
        if (peek().kind != TokenKind::kNumber) {
          fail("expected the factor of this point");
        }
        call.points.emplace_back(number, take());
      } else if (call.numbers.size() < spec.max_numbers) {
        call.numbers.push_back(number);
      } else {
        throw_parse_error(
            text_,
            number.column,
            "one number too many; expected " + std::string(spec.usage));
      }
    }
    read_keywords(call, spec);
    return at_column(name.column, [&] { return spec.build(call); });
  }

  void read_keywords(Call& call, const CurveSpec& spec) {
    accepted_ = spec.keywords;
    accepted_.insert(accepted_.end(), spec.flags.begin(), spec.flags.end());
    while (peek().kind == TokenKind::kWord) {
      const Token word = peek();
      if (contains(spec.flags, word.text)) {
        for (const Token& flag : call.flags) {
          if (flag.text == word.text ||
              (is_shape(flag.text) && is_shape(word.text))) {
            fail("'" + flag.text + "' has been said already");
          }
        }
        call.flags.push_back(take());
      } else if (contains(spec.keywords, word.text)) {
        for (const auto& [seen, value] : call.values) {
          if (seen.text == word.text) {
            fail("'" + word.text + "' has been said already");
          }
        }
        take();
        if (peek().kind != TokenKind::kNumber) {
          fail("expected a number after '" + word.text + "'");
        }
        call.values.emplace_back(word, take());
      } else {
        return;
      }
    }
  }

  Token number_token(const std::string& what) {
    if (peek().kind != TokenKind::kNumber) {
      fail("expected " + what);
    }
    return take();
  }
  double number(const std::string& what) {
    return Call(text_, context_, 0, peek()).resolve_number(number_token(what));
  }
  double duration(const std::string& word) {
    return Call(text_, context_, 0, peek())
        .resolve_duration(number_token("a duration after '" + word + "'"));
  }

  const std::string& text_;
  const ParseContext& context_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
  // Keywords that the last curve could take.
  std::vector<const char*> accepted_;
};

}  // namespace

Schedule parse_part(
    const std::string& text,
    const ParseContext& context,
    std::vector<Token> tokens,
    double elapsed) {
  return Parser(text, context, std::move(tokens)).parse(elapsed);
}

void check_context(const ParseContext& context) {
  check_length(context.steps_per_epoch, "ParseContext", "steps_per_epoch");
  check_length(context.run_length, "ParseContext", "run_length");
}

}  // namespace detail

Schedule parse(const std::string& text, const ParseContext& context) {
  detail::check_context(context);
  return detail::parse_part(text, context, detail::tokenize(text), 0);
}

}  // namespace stepsize
