#include "csrc/schedule/check.h"

#include <cmath>
#include <stdexcept>

#include "csrc/text/number.h"

namespace stepsize::detail {

void check(bool ok, std::string_view who, std::string_view rule, double value) {
  if (!ok) {
    throw std::invalid_argument(
        std::string(who) + ": " + std::string(rule) + ", got " +
        number_text(value));
  }
}

void check_length(double value, std::string_view who, std::string_view what) {
  check(
      value >= 0 && std::isfinite(value),
      who,
      std::string(what) + " must be >= 0 and finite",
      value);
}

void check_positive(double value, std::string_view who, std::string_view what) {
  check(
      value > 0 && std::isfinite(value),
      who,
      std::string(what) + " must be > 0 and finite",
      value);
}

void check_factor(double value, std::string_view who, std::string_view what) {
  check_length(value, who, what);
}

void check_decay(double value, std::string_view who, std::string_view what) {
  check(
      value > 0 && value <= 1,
      who,
      std::string(what) + " must be in (0, 1]",
      value);
}

void check_share(double value, std::string_view who, std::string_view what) {
  check(
      value >= 0 && value <= 1,
      who,
      std::string(what) + " must be in [0, 1]",
      value);
}

void check_floor(double value, std::string_view who, bool positive) {
  check(
      value <= 1 && (positive ? value > 0 : value >= 0),
      who,
      positive ? "floor must be a factor of the base rate in (0, 1]"
               : "floor must be a factor of the base rate in [0, 1]",
      value);
}

}  // namespace stepsize::detail
