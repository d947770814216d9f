// Reads recorded speech.
#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

namespace applications {

/// The samples of a WAVE file of 16 bits and one channel, six of which become
/// one. Where Debian's package alsa-utils is not installed the program ends
/// with 77, which ctest takes for a skipped test.
inline torch::Tensor read_wave(const std::string& name) {
  const std::string path = "/usr/share/sounds/alsa/" + name + ".wav";
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::cerr << "there is no " << path
              << ": install Debian's package alsa-utils\n";
    std::exit(77);
  }
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const std::size_t data = bytes.find("data");
  if (data == std::string::npos) {
    std::cerr << path << " is no WAVE file\n";
    std::exit(1);
  }
  std::vector<float> samples;
  for (std::size_t i = data + 8; i + 12 <= bytes.size(); i += 12) {
    float sum = 0;
    for (std::size_t j = i; j < i + 12; j += 2) {
      const auto low = static_cast<unsigned char>(bytes[j]);
      const auto high = static_cast<signed char>(bytes[j + 1]);
      sum += float(high * 256 + low);
    }
    samples.push_back(sum / 6);
  }
  return torch::tensor(samples);
}

}  // namespace applications
