// Files of the format safetensors. The last byte of the input says what the
// rest is: a whole file; a header, to which length and data are made that fit;
// or such a file that is loaded into a module. What is read and written again
// is the same, and what is refused has changed nothing.

#include <stepsize/checkpoint/safetensors.h>
#include <torch/nn/modules/batchnorm.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "csrc/checkpoint/safetensors_header.h"
#include "fuzz/memory_file.h"
#include "fuzz/require.h"

namespace {

using stepsize::SafetensorsInfo;
using stepsize::fuzz::require;

constexpr int kModes = 3;
constexpr uint64_t kMostData = 4096;

std::string file_of(const std::string& header) {
  // As many bytes of data as the header speaks of, where these are few.
  uint64_t size = 0;
  SafetensorsInfo info;
  stepsize::detail::read_safetensors_header(header, 0, info);
  for (const auto& tensor : info.tensors) {
    size = std::max(
        size,
        static_cast<uint64_t>(tensor.offset) +
            static_cast<uint64_t>(tensor.size));
  }
  std::string bytes;
  for (std::size_t i = 0; i < 8; ++i) {
    bytes.push_back(static_cast<char>(header.size() >> (8 * i) & 0xFFU));
  }
  bytes += header;
  bytes.append(static_cast<std::size_t>(std::min(size, kMostData)), '\1');
  return bytes;
}

void check_header(const SafetensorsInfo& info) {
  uint64_t size = 0;
  for (const auto& tensor : info.tensors) {
    require(
        static_cast<uint64_t>(tensor.offset) == size, "a hole or an overlap");
    size += static_cast<uint64_t>(tensor.size);
  }
  SafetensorsInfo again;
  const std::string fault = stepsize::detail::read_safetensors_header(
      stepsize::detail::safetensors_header_text("fuzz", info), size, again);
  require(fault.empty(), "what was read is refused when it is written");
  require(again.metadata == info.metadata, "other metadata");
  require(again.tensors.size() == info.tensors.size(), "other tensors");
}

void read_all(const std::string& bytes) {
  const stepsize::fuzz::MemoryFile file({bytes.begin(), bytes.end()});
  try {
    const auto info = stepsize::read_safetensors_info(file.path());
    const bool is_known = std::all_of(
        info.tensors.begin(), info.tensors.end(), [](const auto& t) {
          return stepsize::detail::safetensors_type(t.dtype).has_value();
        });
    if (is_known) check_header(info);
    const auto tensors = stepsize::load_safetensors(file.path());
    require(is_known, "a type that there is not");
    require(tensors.size() == info.tensors.size(), "other tensors");
    for (const auto& tensor : info.tensors) {
      const auto& value = tensors.at(tensor.name);
      require(value.sizes() == at::IntArrayRef(tensor.shape), "a shape");
      require(static_cast<int64_t>(value.nbytes()) == tensor.size, "a size");
    }
  } catch (const c10::Error&) {
  }
}

void read_into_module(const std::string& bytes) {
  torch::nn::BatchNorm1d norm(2);
  const stepsize::fuzz::MemoryFile file({bytes.begin(), bytes.end()});
  const auto is_as_made = [&norm] {
    return norm->weight.eq(1).all().item<bool>() &&
           norm->bias.eq(0).all().item<bool>() &&
           norm->running_mean.eq(0).all().item<bool>() &&
           norm->running_var.eq(1).all().item<bool>();
  };
  for (const bool what_fits : {false, true}) {
    try {
      stepsize::load_safetensors(
          file.path(),
          *norm,
          stepsize::SafetensorsOptions().what_fits(what_fits));
      return;
    } catch (const c10::Error&) {
      require(is_as_made(), "a load that was refused has changed something");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(
    const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data), size - 1);
  switch (data[size - 1] % kModes) {
    case 0:
      read_all(bytes);
      break;
    case 1:
      read_all(file_of(bytes));
      break;
    default:
      read_into_module(file_of(bytes));
  }
  return 0;
}
