#pragma once

#include <c10/core/ScalarType.h>
#include <stepsize/checkpoint/safetensors.h>

#include <cstdint>
#include <optional>
#include <string>

namespace stepsize::detail {

/// The longest header that readers of the format take.
constexpr uint64_t kMostSafetensorsHeader = 100000000;
/// Before the header stands its length.
constexpr uint64_t kSafetensorsLength = 8;

/// The type of that name, where LibTorch 1.13 has it.
std::optional<at::ScalarType> safetensors_type(const std::string& dtype);

/// Where a type stands in the order in which a file has them: that of their
/// alignment; and its name. Null and -1 where the format lacks it.
struct SafetensorsDtype {
  const char* name = nullptr;
  int rank = -1;
};
SafetensorsDtype safetensors_dtype(at::ScalarType type);

/// The header as text, filled up to a multiple of 8 bytes. Throws c10::Error
/// "PLACE: ..." where a name or a text is not UTF-8, or it is too long.
std::string safetensors_header_text(
    const std::string& place, const SafetensorsInfo& info);

/// Reads a header, and checks it against the number of bytes that follow it.
/// Returns what is wrong, as the end of a sentence ("has the tensor 'w'
/// twice"), or an empty text. Whatever the text is, it allocates no more than a
/// small multiple of it.
std::string read_safetensors_header(
    const std::string& text, uint64_t data_size, SafetensorsInfo& info);

/// A name for a message: quoted, and cut where it is long.
std::string quoted_name(const std::string& name);

}  // namespace stepsize::detail
