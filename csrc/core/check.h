#pragma once

#include <cstdint>
#include <string>

namespace stepsize::detail {

/// The shortest text that reads back as the same number.
std::string number_text(double value);

/// The same of the value rounded to so many significant digits, for a sentence.
std::string short_number_text(double value, int digits = 4);

/// Throws c10::Error "Kind: option must be RULE, got VALUE" unless `holds`.
void check_option(
    bool holds,
    const std::string& kind,
    const std::string& option,
    const std::string& rule,
    double value);
void check_option(
    bool holds,
    const std::string& kind,
    const std::string& option,
    const std::string& rule,
    int64_t value);

}  // namespace stepsize::detail
