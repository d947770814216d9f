// The text of a schedule: whatever the bytes are, parse() makes a schedule of
// them or throws ParseError, a schedule prints as a text that gives an equal
// one, and lint() has an answer for every schedule.

#include <stepsize/schedule/lint.h>
#include <stepsize/schedule/parse.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "fuzz/require.h"

namespace {

// A factor beyond the range of a double is refused when it is asked for.
void evaluate(const stepsize::Schedule& schedule) {
  for (const double t : {0.0, 0.5, 1.0, 17.0, 1e4, 1e9, 0x1p53, 1e300}) {
    try {
      stepsize::fuzz::require(schedule(t) >= 0, "a factor below 0");
    } catch (const std::domain_error&) {
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(
    const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  stepsize::ParseContext context;
  context.steps_per_epoch = 10;
  context.run_length = 1000;
  stepsize::Schedule schedule;
  try {
    schedule = stepsize::parse(text, context);
  } catch (const stepsize::ParseError& error) {
    stepsize::fuzz::require(
        error.column() >= 1 && error.column() <= size + 1,
        "a column outside of the text");
    return 0;
  }
  const std::string printed = schedule.to_string();
  // Without the context: a printed text stands for itself.
  const stepsize::Schedule again = stepsize::parse(printed);
  stepsize::fuzz::require(again == schedule, "another schedule after a print");
  stepsize::fuzz::require(again.to_string() == printed, "another print");
  evaluate(schedule);
  for (const double run_length : {0.5, 80.0, context.run_length, 1e300}) {
    stepsize::lint(schedule, run_length);
  }
  return 0;
}
