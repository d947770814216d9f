#pragma once

#include <c10/util/Exception.h>
#include <stepsize/checkpoint/checkpoint_info.h>
#include <torch/serialize/archive.h>

#include <cstdint>
#include <string>

#include "csrc/checkpoint/container.h"
#include "csrc/checkpoint/durable_file.h"

namespace stepsize::detail {

/// A file is damaged: it does not begin as a checkpoint does, is not of the
/// length that it says, or a checksum is wrong. Nothing else is damage: another
/// format, a system that fails or has no memory left say nothing of the file.
class CheckpointDamage : public c10::Error {
 public:
  using c10::Error::Error;
};

/// A checkpoint that is open for reading. Throws c10::Error
/// "KIND: PATH: ...", CheckpointDamage where it is about the file itself.
class CheckpointFile {
 public:
  /// Reads and checks head and index.
  CheckpointFile(std::string kind, std::string path);

  const CheckpointInfo& info() const { return info_; }
  /// Checks the data's checksum.
  void check_data();
  /// Checks the data's checksum, and only then reads them. The tensors lie on
  /// the CPU.
  void read_data(torch::serialize::InputArchive& archive);

 private:
  uint32_t crc_of(uint64_t at, uint64_t size);
  [[noreturn]] void damaged(const std::string& what) const;
  // The file is whole, and cannot be made use of.
  [[noreturn]] void unreadable(const std::string& what) const;

  std::string kind_;
  std::string path_;
  SourceFile file_;
  CheckpointHead head_;
  uint64_t data_at_ = 0;
  CheckpointInfo info_;
};

}  // namespace stepsize::detail
