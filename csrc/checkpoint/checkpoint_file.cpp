#include "csrc/checkpoint/checkpoint_file.h"

#include <c10/util/Exception.h>
#include <c10/util/StringUtil.h>

#include <algorithm>
#include <array>
#include <exception>
#include <utility>
#include <vector>

#include "csrc/checkpoint/guarded.h"
#include "csrc/checkpoint/index.h"

namespace stepsize::detail {

CheckpointFile::CheckpointFile(std::string kind, std::string path)
    : kind_(std::move(kind)), path_(std::move(path)), file_(kind_, path_) {
  std::array<char, kMostHeadSize> start{};
  const std::size_t size = file_.read(0, start.data(), start.size());
  file_.check();
  const std::string fault =
      read_checkpoint_head(start.data(), size, file_.size(), head_);
  if (!fault.empty()) {
    if (head_.is_of_other_format) unreadable(fault);
    damaged(fault);
  }
  const uint64_t index_at = checkpoint_head_size(head_);
  data_at_ = index_at + head_.index_size;
  if (crc_of(index_at, head_.index_size) != head_.index_crc) {
    damaged("is damaged: the checksum of its index is wrong");
  }
  // The sizes fit the file's: no more is allocated than it has.
  std::string index(static_cast<std::size_t>(head_.index_size), '\0');
  const std::size_t read = file_.read(index_at, index.data(), index.size());
  file_.check();
  if (read != index.size()) damaged("cannot be read to its end");
  try {
    read_index(index, info_);
  } catch (const std::exception&) {
    unreadable(
        "has an index that cannot be read: " +
        text_of(std::current_exception()));
  }
  info_.format_version = head_.format;
  info_.torch_version = head_.torch_version;
  info_.file_size = static_cast<int64_t>(file_.size());
}

void CheckpointFile::check_data() {
  if (crc_of(data_at_, head_.data_size) != head_.data_crc) {
    damaged("is damaged: the checksum of its data is wrong");
  }
}

void CheckpointFile::read_data(torch::serialize::InputArchive& archive) {
  // LibTorch's reader checks no sums.
  check_data();
  try {
    archive.load_from(
        [this](uint64_t at, void* bytes, std::size_t size) -> std::size_t {
          if (at > head_.data_size) return 0;
          const uint64_t rest = head_.data_size - at;
          const auto part =
              static_cast<std::size_t>(std::min<uint64_t>(size, rest));
          return file_.read(data_at_ + at, bytes, part);
        },
        [this] { return static_cast<std::size_t>(head_.data_size); },
        at::Device(at::kCPU));
  } catch (const std::exception&) {
    const auto thrown = std::current_exception();
    file_.check();
    unreadable("has data that LibTorch cannot read: " + text_of(thrown));
  }
  file_.check();
}

uint32_t CheckpointFile::crc_of(uint64_t at, uint64_t size) {
  constexpr std::size_t kPart = std::size_t{1} << 20;
  std::vector<char> buffer(
      static_cast<std::size_t>(std::min<uint64_t>(size, kPart)));
  uint32_t crc = 0;
  while (size > 0) {
    const auto part =
        static_cast<std::size_t>(std::min<uint64_t>(size, buffer.size()));
    const std::size_t read = file_.read(at, buffer.data(), part);
    file_.check();
    if (read != part) damaged("cannot be read to its end");
    crc = checkpoint_crc(crc, buffer.data(), part);
    at += part;
    size -= part;
  }
  return crc;
}

void CheckpointFile::damaged(const std::string& what) const {
  throw CheckpointDamage(
      {__func__, __FILE__, static_cast<uint32_t>(__LINE__)},
      c10::str(kind_, ": ", path_, ": the file ", what));
}

void CheckpointFile::unreadable(const std::string& what) const {
  TORCH_CHECK(false, kind_, ": ", path_, ": the file ", what);
}

}  // namespace stepsize::detail
