#include "csrc/schedule/cycles.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace stepsize::detail {
namespace {

// stretch^index - 1 over stretch - 1: the sum of a geometric series. For a
// whole stretch repeated squaring keeps each term a whole number; otherwise
// expm1 keeps the digits that the subtraction would lose near stretch = 1.
double geometric_sum(double stretch, double index) {
  if (std::floor(stretch) != stretch) {
    return std::expm1(index * std::log(stretch)) / (stretch - 1);
  }
  double power = 1;
  double square = stretch;
  // 2^1100 overflows already.
  for (auto n = static_cast<std::uint64_t>(std::min(index, 1100.0)); n != 0;
       n /= 2) {
    if (n % 2 == 1) {
      power *= square;
    }
    square *= square;
  }
  return (power - 1) / (stretch - 1);
}

}  // namespace

double cycle_start(double index, double first, double stretch) {
  return first * (stretch == 1 ? index : geometric_sum(stretch, index));
}

CyclePosition locate_cycle(double t, double first, double stretch) {
  if (stretch == 1) {
    const double offset = std::fmod(t, first);
    return {std::round((t - offset) / first), offset, first};
  }
  // The logarithm is only a guess; the boundaries decide.
  double index =
      std::floor(std::log1p(t / first * (stretch - 1)) / std::log(stretch));
  while (index > 0 && cycle_start(index, first, stretch) > t) {
    --index;
  }
  while (cycle_start(index + 1, first, stretch) <= t) {
    ++index;
  }
  const double start = cycle_start(index, first, stretch);
  return {index, t - start, cycle_start(index + 1, first, stretch) - start};
}

}  // namespace stepsize::detail
