#include "csrc/schedule/cycle_position.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace stepsize::detail {
namespace {

// A whole stretch keeps every term a whole number, so that each sum is exact
// up to 2^53; otherwise expm1 keeps the digits that a subtraction would lose
// near stretch = 1.
double geometric_sum(double stretch, double index) {
  if (std::floor(stretch) != stretch) {
    return std::expm1(index * std::log(stretch)) / (stretch - 1);
  }
  double sum = 0;
  double power = 1;
  for (double i = 0; i < index && std::isfinite(sum); ++i) {
    sum += power;
    power *= stretch;
  }
  return sum;
}

// Where cycle `index` is the one around t. Rounding may put t a hair outside.
CyclePosition position(double t, double index, double start, double length) {
  length = std::min(length, std::numeric_limits<double>::max());
  return {index, std::clamp(t - start, 0.0, length), length};
}

}  // namespace

// Where nothing decays or the level is 0, the two decays are one and the same.
CycleDecay::CycleDecay(double peak_decay, double height_decay, double level)
    : factor_(height_decay < 1 ? height_decay : peak_decay),
      level_(level),
      of_height_(height_decay < 1 && level > 0) {}

double CycleDecay::peak(double index) const {
  const double left = std::pow(factor_, index);
  return of_height_ ? left + level_ * (1 - left) : std::max(level_, left);
}

double CycleDecay::height(double index) const {
  const double left = std::pow(factor_, index);
  if (of_height_ || left == 1) {
    return left;
  }
  return left > level_ ? (left - level_) / (1 - level_) : 0;
}

double cycle_start(double index, double first, double stretch) {
  return first * (stretch == 1 ? index : geometric_sum(stretch, index));
}

CyclePosition locate_cycle(double t, double first, double stretch) {
  if (stretch == 1) {
    const double offset = std::fmod(t, first);
    return {std::round((t - offset) / first), offset, first};
  }
  if (std::floor(stretch) == stretch) {
    double index = 0;
    double sum = 0;
    double power = 1;
    while (first * (sum + power) <= t) {
      sum += power;
      power *= stretch;
      ++index;
    }
    return position(t, index, first * sum, first * power);
  }
  // The logarithm is only a guess, a cycle or two out; the boundaries decide.
  // Past 2^53 cycles their number is itself rounded and the guess stands.
  const double scaled = t / first * (stretch - 1);
  const double ratio = std::isfinite(scaled) ? std::log1p(scaled)
                                             : std::log(t) - std::log(first) +
                                                   std::log(stretch - 1);
  double index = std::floor(ratio / std::log(stretch));
  if (index < 0x1p53) {
    while (index > 0 && cycle_start(index, first, stretch) > t) {
      --index;
    }
    while (cycle_start(index + 1, first, stretch) <= t) {
      ++index;
    }
  }
  return position(
      t,
      index,
      cycle_start(index, first, stretch),
      first * std::pow(stretch, index));
}

}  // namespace stepsize::detail
