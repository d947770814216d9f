#pragma once

#include <stepsize/checkpoint/checkpoint_info.h>

#include <string>

namespace stepsize::detail {

/// The description of a checkpoint as the bytes of its index, and back. Format,
/// LibTorch's version and the file's size stand elsewhere. Throws c10::Error
/// where the bytes say something else.
std::string index_bytes(const CheckpointInfo& info);
void read_index(const std::string& bytes, CheckpointInfo& info);

}  // namespace stepsize::detail
