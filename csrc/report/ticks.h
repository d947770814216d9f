#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace stepsize::report {

struct Tick {
  double value;
  std::string label;
};

/// Ticks of an axis, in rising order.
struct Ticks {
  std::vector<Tick> major;
  /// Values of the unlabelled ticks between (log axes only).
  std::vector<double> minor;
};

/// n * 10^exponent as a decimal number: "0.050" for (50, -3).
std::string plain_decimal(int64_t n, int exponent);

/// n * 10^exponent with one digit before the point: "5e-2" for (50, -3).
std::string scientific(int64_t n, int exponent);

/// Multiples of 1, 2 or 5 times a power of ten within [lo, hi], with the
/// smallest such step that gives at most max_count of them (one more where both
/// ends are ticks). All labels have the same decimals, or are scientific where
/// the largest value is at least 1e6 or below 1e-3. Needs lo < hi.
Ticks linear_ticks(double lo, double hi, int max_count);

/// Decades within [lo, hi], every second, third... one where they are more than
/// max_count; minor ticks at 2..9 times a decade or at the decades left out.
/// Below two decades 1-2-5 multiples are labelled if they are few enough, and
/// where not even two of them fit in, the ticks are linear ones.
/// Needs 0 < lo < hi.
Ticks log_ticks(double lo, double hi, int max_count);

}  // namespace stepsize::report
