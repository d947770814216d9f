#pragma once

#include <stepsize/tune/search_space.h>

#include <cstddef>
#include <string>

namespace stepsize::detail {

/// Reads the texts of a search space from left to right.
class SearchText {
 public:
  explicit SearchText(const std::string& text, std::size_t at = 0)
      : text_(text), at_(at) {}

  void skip_spaces();
  bool at_end() const { return at_ == text_.size(); }
  std::size_t at() const { return at_; }
  /// Goes on behind the character where it is the next one.
  bool take(char c);

  /// A name; '-' is read as '_'.
  std::string name();
  /// What stands behind a name: ":LOW..HIGH" and words. `units`: whether LOW
  /// and HIGH may have one.
  SearchNumber range_of(const std::string& name, bool units);

  /// Throws the ParseError that shows the text, a caret under the place and the
  /// message.
  [[noreturn]] void fail(std::size_t place, const std::string& message) const;
  [[noreturn]] void fail(const std::string& message) const {
    fail(at_, message);
  }

 private:
  double number(const char* what, std::string* unit);

  const std::string& text_;
  std::size_t at_;
};

/// Why the number is none to search for, or nothing.
std::string fault_of(const SearchNumber& number);

}  // namespace stepsize::detail
