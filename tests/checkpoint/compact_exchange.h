#pragma once

#include <string>

namespace stepsize::test {

/// Writes a checkpoint of optimizers whose state is in fewer bytes, and reads
/// one. Both return what the program is to exit with.
int write_compact(const std::string& path);
int read_compact(const std::string& path);

}  // namespace stepsize::test
