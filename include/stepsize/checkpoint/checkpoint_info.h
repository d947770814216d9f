#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace stepsize {

/// What Checkpoint names a thing with.
enum class CheckpointEntryKind : std::uint8_t {
  kModule,
  kOptimizer,
  kState,
  kGenerator,
  kTensor,
  kCounter,
  kNumber,
  kText,
};

/// "module", "optimizer", ...
const char* checkpoint_entry_kind_name(CheckpointEntryKind kind);

struct CheckpointEntry {
  std::string name;
  CheckpointEntryKind kind;
  /// Of modules, optimizers and states: "torch::optim::Adam". Else empty.
  std::string class_name;
};

/// What a checkpoint says of itself.
struct CheckpointInfo {
  /// Of the file; this library writes 1.
  int64_t format_version = 0;
  /// The LibTorch that wrote it: "1.13.1".
  std::string torch_version;
  /// In the order in which they were named.
  std::vector<CheckpointEntry> entries;
  /// Whether the default generators' states are in it.
  bool random_state = false;
  std::map<std::string, int64_t> counters;
  std::map<std::string, double> numbers;
  std::map<std::string, std::string> texts;
  std::map<std::string, std::string> values;
  /// What CheckpointFolder::save() was given; none for save_checkpoint().
  std::optional<int64_t> step;
  std::optional<double> metric;
  /// Bytes of the file.
  int64_t file_size = 0;
};

/// Reads the description at the head of a checkpoint, without its tensors and
/// without touching any object. Quick: of the file's data it checks the length
/// alone; load_checkpoint() checks the rest. Throws c10::Error
/// "read_checkpoint_info: PATH: ..." as load_checkpoint() does.
CheckpointInfo read_checkpoint_info(const std::string& path);

/// Reads all of a checkpoint and checks its length and every checksum, without
/// touching any object; load_checkpoint() passes the same checks first. Whether
/// the file fits a run it does not tell. Returns the description. Throws
/// c10::Error "verify_checkpoint: PATH: ..." as load_checkpoint() does.
///
/// Cost: one pass over the file, and about a megabyte of memory.
CheckpointInfo verify_checkpoint(const std::string& path);

}  // namespace stepsize
