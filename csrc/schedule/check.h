#pragma once

#include <string_view>

namespace stepsize::detail {

/// Throws std::invalid_argument "<who>: <rule>, got <value>" unless `ok`.
void check(bool ok, std::string_view who, std::string_view rule, double value);

/// 0 <= value < infinity, for a duration that may be empty.
void check_length(double value, std::string_view who, std::string_view what);
/// 0 < value < infinity.
void check_positive(double value, std::string_view who, std::string_view what);
/// 0 <= value < infinity, for a factor.
void check_factor(double value, std::string_view who, std::string_view what);
/// 0 < value <= 1.
void check_decay(double value, std::string_view who, std::string_view what);
/// 0 <= value <= 1.
void check_share(double value, std::string_view who, std::string_view what);
/// The same for a floor, which is often given as a rate; `positive`: not 0.
void check_floor(double value, std::string_view who, bool positive = false);

}  // namespace stepsize::detail
