#pragma once

#include <cstdint>
#include <string>

#include "csrc/text/number.h"  // for errors that a check_option cannot say

namespace stepsize::detail {

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
