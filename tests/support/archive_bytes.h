#pragma once

#include <torch/serialize.h>

#include <sstream>
#include <string>

namespace stepsize::test {

/// What torch::save writes.
template <typename T>
std::string saved(const T& value) {
  std::ostringstream stream;
  torch::save(value, stream);
  return stream.str();
}

/// torch::load from what torch::save wrote.
template <typename T>
void load(T& value, const std::string& bytes) {
  std::istringstream stream(bytes);
  torch::load(value, stream);
}

}  // namespace stepsize::test
