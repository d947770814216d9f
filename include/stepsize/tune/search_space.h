#pragma once

#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/schedule.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace stepsize {

/// In what a search takes equal steps of a number.
enum class SearchScale : std::uint8_t {
  kLinear,    ///< the number x itself
  kLog,       ///< ln x, for 0 < low: rates, decays, sizes
  kLogToOne,  ///< ln(1 - x), for high < 1: momenta and betas
};

/// A number that a search looks for, with its range.
///
/// Its text is NAME:LOW..HIGH, with "log", "log1m" (kLogToOne) or "int" behind
/// it: "lr:1e-5..10 log", "batch:16..512 log int". A name is a letter and then
/// letters, digits and '_'; '-' is read as '_'.
struct SearchNumber {
  std::string name;
  double low = 0;
  double high = 1;
  SearchScale scale = SearchScale::kLinear;
  /// Whole numbers only; low and high are then such.
  bool is_integer = false;
  /// What stands behind the number in a schedule's text: "", "%" or "ep".
  std::string unit = "";

  /// The number at a place u of [0, 1], from low to high.
  double at(double u) const;
  /// The place of a number: at() of it is the number again, up to rounding.
  double place_of(double value) const;
  /// The text that reads back as the same.
  std::string to_string() const;
};

/// The numbers that a search looks for, and how they are written.
///
///     SearchSpace space("lr:1e-5..10 log, momentum:0.5..0.99 log1m");
///     space.add_schedule(
///         "warmup {w:1%..20% log} > cosine to {floor:0..0.3}");
///     space.schedule_text({0.1, 0.9, 5, 0.2});
///         // "warmup 5% > cosine to 0.2"
///
/// A schedule's text has its numbers in braces, each a number's text as above,
/// in which LOW and HIGH may have the unit "%" or "ep"; {NAME} alone is the
/// number once more.
///
/// Throws c10::Error where low and high are no range of the scale or a name is
/// there twice, ParseError, with the column, where a text is none; a call that
/// throws has changed nothing.
class SearchSpace {
 public:
  SearchSpace() = default;
  /// The numbers of a text, separated by commas.
  SearchSpace(const std::string& numbers);
  SearchSpace(const char* numbers) : SearchSpace(std::string(numbers)) {}

  SearchSpace& add(const SearchNumber& number);
  SearchSpace& add(const SearchSpace& other);
  /// Adds the numbers in the braces of a schedule's text, of which a space has
  /// one at most. The context is what its durations count in. The text is tried
  /// with its numbers at all corners of their ranges (of more than six: where
  /// all are lowest, and highest) and at 64 places between.
  SearchSpace& add_schedule(
      const std::string& text, const ParseContext& context = {});

  std::size_t size() const { return numbers_.size(); }
  const std::vector<SearchNumber>& numbers() const { return numbers_; }
  bool has_schedule() const { return !pieces_.empty(); }
  const ParseContext& context() const { return context_; }
  /// Where the number of that name stands. Throws c10::Error, naming those that
  /// there are.
  std::size_t index_of(const std::string& name) const;

  /// Numbers at places of [0, 1], one a number, and the way back. Throw
  /// c10::Error where there are not size() of them.
  std::vector<double> at(const std::vector<double>& places) const;
  std::vector<double> places_of(const std::vector<double>& values) const;

  /// The schedule's text with these values. Throws c10::Error where there are
  /// not size() of them, or no schedule.
  std::string schedule_text(const std::vector<double>& values) const;
  Schedule schedule(const std::vector<double>& values) const;

  /// The numbers as the text that the constructor reads, those of a schedule
  /// too, and the schedule's text behind a ';'.
  std::string to_string() const;

 private:
  // Text, and the number that follows it; the last one has none.
  struct Piece {
    std::string text;
    std::optional<std::size_t> number;
  };

  void check_count(const std::vector<double>& values) const;
  void try_schedule() const;

  std::vector<SearchNumber> numbers_;
  std::vector<Piece> pieces_;
  std::string template_;
  ParseContext context_;
};

}  // namespace stepsize
