// The first argument of each recipe and application.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <iostream>

namespace recipes {

/// A number on the command line, or else `usual`: how much to train on or for,
/// which makes a program short enough for a test. Ends the program with 2 where
/// there is no number of `least` or more.
inline int64_t argument(
    int argc, char** argv, int64_t usual, int64_t least = 1) {
  if (argc < 2) return usual;
  char* end = nullptr;
  errno = 0;
  const int64_t value = std::strtoll(argv[1], &end, 10);
  if (end == argv[1] || *end != '\0' || errno != 0 || value < least) {
    std::cerr << argv[0] << ": the first argument must be a number of " << least
              << " or more, not '" << argv[1] << "'\n";
    std::exit(2);
  }
  return value;
}

}  // namespace recipes
