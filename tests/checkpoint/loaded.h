#pragma once

#include <stepsize/checkpoint/load_result.h>
#include <torch/nn/module.h>

#include <sstream>
#include <string>
#include <vector>

namespace stepsize::test {

/// "module 'net': parameter 'fc.weight': reason", a line a note.
inline std::vector<std::string> lines_of(const std::vector<LoadNote>& notes) {
  std::vector<std::string> lines;
  for (const LoadNote& note : notes) {
    std::string line = note.item;
    if (!note.tensor.empty()) line += ": " + note.tensor;
    if (!note.reason.empty()) line += ": " + note.reason;
    lines.push_back(line);
  }
  return lines;
}

inline std::string bits_of(const torch::nn::Module& module) {
  std::ostringstream stream;
  for (const auto& tensor : module.parameters()) stream << tensor;
  return stream.str();
}

}  // namespace stepsize::test
