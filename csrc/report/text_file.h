#pragma once

#include <string>

namespace stepsize::report {

/// Writes the text to the file at `path`, replacing it. Throws
/// std::runtime_error that begins with `who` and names path and reason if that
/// fails.
void write_text_file(
    const std::string& who, const std::string& path, const std::string& text);

}  // namespace stepsize::report
