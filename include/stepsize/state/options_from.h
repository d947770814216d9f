#pragma once

#include <cstdint>

namespace stepsize {

/// Whose options hold after a load of a state that was saved with others.
enum class OptionsFrom : std::uint8_t {
  kMustAgree,  ///< none: it is refused, and the error names each that differs
  kProgram,    ///< those that the object has; the file gives the rest
  kFile,       ///< those of the file
};

}  // namespace stepsize
