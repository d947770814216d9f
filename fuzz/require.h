#pragma once

#include <cstdio>
#include <cstdlib>

namespace stepsize::fuzz {

/// Ends the process, which libFuzzer counts as a finding, unless `holds`.
inline void require(bool holds, const char* broken) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: %s\n", broken);
  std::abort();
}

}  // namespace stepsize::fuzz
