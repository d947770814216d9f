#include "csrc/report/file_error.h"

#include <stdexcept>
#include <system_error>

namespace stepsize::report {

void throw_file_error(
    const std::string& who,
    const std::string& what,
    const std::string& path,
    int error) {
  const std::string reason =
      error == 0 ? "unknown error" : std::generic_category().message(error);
  throw std::runtime_error(
      who + ": cannot " + what + " \"" + path + "\": " + reason);
}

}  // namespace stepsize::report
