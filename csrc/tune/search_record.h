#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace stepsize::detail {

/// One line of a search's journal: a flat JSON object.
struct SearchRecord {
  enum class Kind : std::uint8_t {
    kSearch,  ///< what is searched for: the first line
    kStart,   ///< a trial has its numbers
    kReport,  ///< a loss on the way
    kEnd,     ///< a repeat has ended
  };

  Kind kind = Kind::kSearch;
  int64_t trial = 0;
  int64_t repeat = 0;
  int64_t step = 0;
  double loss = 0;
  std::string status;          ///< of kEnd: "finished", "stopped" or "diverged"
  std::vector<double> values;  ///< of kStart

  std::string space;  ///< of kSearch
  /// What durations of the space's schedule count in: steps an epoch, a run.
  std::vector<double> context = {0, 0};
  std::string label;
  int64_t seed = 0;
  int64_t repeats = 1;

  /// The line, without its end.
  std::string to_line() const;
  /// Nothing where the text is no such line, whatever it is.
  static std::optional<SearchRecord> parse(const std::string& line);
};

}  // namespace stepsize::detail
