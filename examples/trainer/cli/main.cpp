#include <unistd.h>

#include <iostream>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "examples/trainer/cli/options.h"
#include "examples/trainer/run/run.h"

namespace {

// A training step allocates and frees the same large blocks again and again.
// By default glibc gives them back to the system each time and gets them anew,
// page by page; kept, they cost nothing.
void keep_freed_memory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  const auto command = stepsize::trainer::parse_command_line(argc, argv);
  if (command.exit_status) {
    return *command.exit_status;
  }
  return stepsize::trainer::run(
      command, std::cout, std::cerr, isatty(STDOUT_FILENO) != 0);
}
