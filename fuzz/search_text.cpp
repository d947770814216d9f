// The texts of a search: whatever the bytes are, SearchSpace is made of them or
// throws, what it prints reads back as the same, all its numbers lie in their
// ranges, a schedule's text with them is a schedule's or is refused, and a line
// of a journal is a record, which writes the same line once more, or none.

#include <stepsize/tune/search_space.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "csrc/tune/search_record.h"
#include "csrc/tune/search_state.h"
#include "fuzz/require.h"

namespace {

using stepsize::SearchSpace;
using stepsize::detail::SearchRecord;
using stepsize::fuzz::require;

void use(const SearchSpace& space) {
  for (const double place : {-1.0, 0.0, 0.3, 0.999, 1.0, 2.0}) {
    const auto values = space.at(std::vector<double>(space.size(), place));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto& number = space.numbers()[i];
      require(
          values[i] >= number.low && values[i] <= number.high,
          "a number out of its range");
    }
    if (!space.has_schedule()) continue;
    try {
      space.schedule(values);
    } catch (const stepsize::ParseError&) {
    }
  }
}

void read_space(const std::string& text) {
  try {
    const SearchSpace space(text);
    const std::string printed = space.to_string();
    require(SearchSpace(printed).to_string() == printed, "another print");
    use(space);
  } catch (const stepsize::ParseError& error) {
    require(
        error.column() >= 1 && error.column() <= text.size() + 1,
        "a column outside of the text");
  }
  SearchSpace space;
  try {
    space.add_schedule(text, {/*steps_per_epoch=*/10, /*run_length=*/1000});
    use(space);
  } catch (const stepsize::ParseError&) {
    require(space.size() == 0 && !space.has_schedule(), "half a schedule");
  }
}

void read_journal(const std::string& text) {
  stepsize::detail::SearchState state(/*numbers=*/2, /*repeats=*/2);
  std::size_t start = 0;
  while (start < text.size()) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const auto record = SearchRecord::parse(text.substr(start, end - start));
    start = end + 1;
    if (!record) continue;
    const std::string line = record->to_line();
    const auto again = SearchRecord::parse(line);
    require(again && again->to_line() == line, "another line");
    state.apply(*record);
    for (std::size_t i = 0; i < state.trials().size(); ++i) {
      const auto number = static_cast<std::int64_t>(i);
      state.goes_on(number, 0, 5, 1, 3);
      if (state.trials()[i].status() == "stopped") state.stopped_loss(number);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(
    const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  read_space(text);
  read_journal(text);
  return 0;
}
