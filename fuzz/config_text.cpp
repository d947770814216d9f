// The JSON of a configuration: whatever the bytes are, from_config() makes a
// schedule of them or throws std::invalid_argument, and the schedule has
// factors, a text that gives an equal one, and a base rate > 0.

#include <stepsize/schedule/from_config.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(
    const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  stepsize::ConfiguredSchedule configured;
  stepsize::ParseContext context;
  // A last byte that no text needs says whether the run's length is known.
  context.run_length = size > 0 && data[size - 1] == '\n' ? 1000 : 0;
  try {
    configured = stepsize::from_config(text, context);
  } catch (const std::invalid_argument& error) {
    stepsize::fuzz::require(
        std::string(error.what()).rfind("from_config: ", 0) == 0,
        "an error by another name");
    return 0;
  }
  stepsize::fuzz::require(
      configured.lr.value_or(1) > 0, "a base rate that is not > 0");
  const std::string printed = configured.schedule.to_string();
  stepsize::fuzz::require(
      stepsize::parse(printed) == configured.schedule,
      "another schedule after a print");
  for (const double t : {0.0, 0.5, 1.0, 17.0, 1e4, 1e9, 0x1p53, 1e300}) {
    try {
      stepsize::fuzz::require(configured.schedule(t) >= 0, "a factor below 0");
    } catch (const std::domain_error&) {
    }
  }
  return 0;
}
