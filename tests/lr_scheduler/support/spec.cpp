#include "tests/lr_scheduler/support/spec.h"

#include <cstddef>
#include <stdexcept>

namespace stepsize::test {
namespace {

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Spec value() {
    Spec spec;
    if (take('[')) {
      spec.is_list = true;
      while (!take(']')) {
        spec.items.push_back(value());
        skip_comma();
      }
      return spec;
    }
    const std::size_t start = at_;
    while (at_ < text_.size() &&
           std::string("[]()=, ").find(text_[at_]) == std::string::npos) {
      ++at_;
    }
    if (at_ == start) throw std::runtime_error("no value in " + text_);
    spec.word = text_.substr(start, at_ - start);
    if (!take('(')) return spec;
    while (!take(')')) {
      const Spec name = value();
      if (!take('=')) throw std::runtime_error("no '=' in " + text_);
      spec.options.emplace_back(name.word, value());
      skip_comma();
    }
    return spec;
  }

 private:
  bool take(char character) {
    if (at_ >= text_.size() || text_[at_] != character) return false;
    ++at_;
    return true;
  }
  void skip_comma() {
    if (take(',')) take(' ');
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

}  // namespace

Spec parse_spec(const std::string& text) { return Parser(text).value(); }

const Spec* Spec::find(const std::string& name) const {
  for (const auto& option : options) {
    if (option.first == name) return &option.second;
  }
  return nullptr;
}

double Spec::number(const std::string& name, double fallback) const {
  const Spec* found = find(name);
  return found == nullptr ? fallback : std::stod(found->word);
}

int64_t Spec::integer(const std::string& name, int64_t fallback) const {
  const Spec* found = find(name);
  return found == nullptr ? fallback : std::stoll(found->word);
}

bool Spec::flag(const std::string& name, bool fallback) const {
  const Spec* found = find(name);
  return found == nullptr ? fallback : found->word == "True";
}

std::string Spec::text(const std::string& name, const char* fallback) const {
  const Spec* found = find(name);
  return found == nullptr ? fallback : found->word;
}

}  // namespace stepsize::test
