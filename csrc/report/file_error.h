#pragma once

#include <string>

namespace stepsize::report {

/// Throws std::runtime_error "<who>: cannot <what> <path>: <reason>", the
/// reason being that of the errno value, if it is one.
[[noreturn]] void throw_file_error(
    const std::string& who,
    const std::string& what,
    const std::string& path,
    int error);

}  // namespace stepsize::report
