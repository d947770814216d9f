#pragma once

#include <string>

#include "csrc/checkpoint/container.h"

namespace stepsize::fuzz {

/// A checkpoint of this index and these data: all of its checksums are right.
inline std::string checkpoint_bytes(
    const std::string& index, const std::string& data) {
  detail::CheckpointHead head;
  head.format = detail::kCheckpointFormat;
  head.index_size = index.size();
  head.data_size = data.size();
  head.index_crc = detail::checkpoint_crc(0, index.data(), index.size());
  head.data_crc = detail::checkpoint_crc(0, data.data(), data.size());
  head.torch_version = "1.13.1";
  return detail::checkpoint_head_bytes(head) + index + data;
}

}  // namespace stepsize::fuzz
