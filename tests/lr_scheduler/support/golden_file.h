#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace stepsize::test {

/// One case of a file that scripts/make_goldens.py writes.
struct GoldenCase {
  std::string spec;
  std::string optimizer;
  std::vector<double> base_lrs;
  std::string before;  // a scheduler that was at work first, or empty
  int64_t before_steps = 0;
  /// Series by name ("lr", "momentum", "metrics"), one for each group.
  std::map<std::string, std::vector<std::vector<double>>> series;
};

/// The cases of goldens/NAME.txt; throws where there is none.
std::vector<GoldenCase> read_goldens(const std::string& name);

/// Whether a rate equals Python's to 1e-12 of it. One rounding error of the
/// largest rate of the series is let pass besides: Python's OneCycleLR reaches
/// its last rate as (last - peak) * 1 + peak.
bool close(double ours, double python, double largest);

}  // namespace stepsize::test
