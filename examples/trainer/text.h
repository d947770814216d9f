#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace stepsize::trainer {

/// snprintf, for a line of text.
template <typename... Values>
std::string format(const char* pattern, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

/// "1 epoch", "3 epochs".
inline std::string counted(std::int64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace stepsize::trainer
