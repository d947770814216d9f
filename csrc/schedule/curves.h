#pragma once

#include "csrc/schedule/call.h"

#include <stepsize/schedule/schedule.h>

#include <cstddef>
#include <vector>

namespace stepsize::detail {

/// How a curve is written and built.
struct CurveSpec {
  const char* name;
  const char* usage;  ///< for errors: "cosine [LENGTH] [to M] [k K]"
  std::size_t max_numbers;
  std::vector<const char*> keywords;
  std::vector<const char*> flags;
  Schedule (*build)(const Call& call);
};

/// Every curve that the text form knows.
const std::vector<CurveSpec>& curve_specs();

}  // namespace stepsize::detail
