#include <stepsize/checkpoint/checkpoint_info.h>

#include "csrc/checkpoint/checkpoint_file.h"

namespace stepsize {

const char* checkpoint_entry_kind_name(CheckpointEntryKind kind) {
  switch (kind) {
    case CheckpointEntryKind::kModule:
      return "module";
    case CheckpointEntryKind::kOptimizer:
      return "optimizer";
    case CheckpointEntryKind::kState:
      return "state";
    case CheckpointEntryKind::kGenerator:
      return "generator";
    case CheckpointEntryKind::kTensor:
      return "tensor";
    case CheckpointEntryKind::kCounter:
      return "counter";
    case CheckpointEntryKind::kNumber:
      return "number";
    case CheckpointEntryKind::kText:
      return "text";
  }
  return "unknown";
}

CheckpointInfo read_checkpoint_info(const std::string& path) {
  return detail::CheckpointFile("read_checkpoint_info", path).info();
}

CheckpointInfo verify_checkpoint(const std::string& path) {
  detail::CheckpointFile file("verify_checkpoint", path);
  file.check_data();
  return file.info();
}

}  // namespace stepsize
