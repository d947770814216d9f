#include "csrc/checkpoint/durable_file.h"

#include <c10/util/Exception.h>
#include <c10/util/StringUtil.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "csrc/checkpoint/system_file.h"

namespace stepsize::detail {
namespace {

constexpr int kMostLeft = 10000;

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

[[noreturn]] void fail(
    const std::string& kind,
    const std::string& path,
    const char* what,
    int error) {
  TORCH_CHECK(false, kind, ": ", path, ": ", what, ": ", std::strerror(error));
}

std::string temporary_name(const std::string& path) {
  static std::atomic<uint64_t> count{0};
  return path + temporary_mark() + std::to_string(process_id()) + "-" +
         std::to_string(count++);
}

}  // namespace

struct DurableFile::Handle {
  SystemFile file;
  int error = 0;
  bool flushed = false;
};

DurableFile::DurableFile(std::string kind, std::string path)
    : kind_(std::move(kind)),
      path_(std::move(path)),
      temporary_(temporary_name(path_)),
      handle_(std::make_unique<Handle>()) {
  int error = handle_->file.create(temporary_);
  // A process of the same number was killed before it had done.
  for (int i = 0; error == EEXIST && i < kMostLeft; ++i) {
    temporary_ = temporary_name(path_);
    error = handle_->file.create(temporary_);
  }
  if (error != 0) fail(kind_, path_, "cannot be written", error);
}

DurableFile::~DurableFile() {
  if (temporary_.empty()) return;
  handle_->file.close();
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

void DurableFile::write(const void* bytes, std::size_t size) noexcept {
  if (handle_->error == 0) handle_->error = handle_->file.append(bytes, size);
}

void DurableFile::write_at_start(const void* bytes, std::size_t size) noexcept {
  if (handle_->error == 0) {
    handle_->error = handle_->file.write_at_start(bytes, size);
  }
}

void DurableFile::flush() {
  if (handle_->flushed) return;
  int error = handle_->error;
  if (error == 0) error = handle_->file.flush_to_disk();
  const int close_error = handle_->file.close();
  if (error == 0) error = close_error;
  if (error != 0) fail(kind_, path_, "cannot be written", error);
  handle_->flushed = true;
}

void DurableFile::commit() {
  flush();
  std::error_code failure;
  std::filesystem::rename(temporary_, path_, failure);
  if (failure) fail(kind_, path_, "cannot be replaced", failure.value());
  temporary_.clear();
  const int error = flush_folder(folder_of(path_));
  if (error != 0) {
    fail(
        kind_,
        path_,
        "was written, but its name may not have reached the disk",
        error);
  }
}

struct SourceFile::Handle {
  SystemFile file;
};

SourceFile::SourceFile(const std::string& kind, const std::string& path)
    : kind_(kind), path_(path), handle_(std::make_unique<Handle>()) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  TORCH_CHECK(
      !std::filesystem::exists(status) ||
          std::filesystem::is_regular_file(status),
      kind,
      ": ",
      path,
      ": is no regular file");
  const int error = handle_->file.open(path);
  if (error == ENOENT) {
    throw MissingFile(
        {__func__, __FILE__, static_cast<uint32_t>(__LINE__)},
        c10::str(kind, ": ", path, ": cannot be read: ", std::strerror(error)));
  }
  if (error != 0) fail(kind, path, "cannot be read", error);
}

SourceFile::~SourceFile() = default;

uint64_t SourceFile::size() const { return handle_->file.size(); }

std::size_t SourceFile::read(
    uint64_t at, void* bytes, std::size_t size) noexcept {
  return handle_->file.read(at, bytes, size);
}

void SourceFile::check() const {
  const int error = handle_->file.read_error();
  if (error != 0) fail(kind_, path_, "cannot be read", error);
}

bool link_durably(const std::string& path, const std::string& other) {
  const std::string temporary = temporary_name(other);
  std::error_code failure;
  std::filesystem::create_hard_link(path, temporary, failure);
  if (failure) return false;
  std::filesystem::rename(temporary, other, failure);
  if (failure) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    return false;
  }
  // rename() of two links of one file does nothing, and leaves both.
  std::error_code ignored;
  std::filesystem::remove(temporary, ignored);
  flush_folder(folder_of(other));
  return true;
}

void copy_durably(
    const std::string& kind,
    const std::string& path,
    const std::string& other) {
  SourceFile source(kind, path);
  DurableFile copy(kind, other);
  std::vector<char> buffer(std::size_t{1} << 20);
  uint64_t at = 0;
  while (at < source.size()) {
    const std::size_t part = source.read(at, buffer.data(), buffer.size());
    source.check();
    TORCH_CHECK(part > 0, kind, ": ", path, ": cannot be read to its end");
    copy.write(buffer.data(), part);
    at += part;
  }
  copy.commit();
}

void make_folder(const std::string& kind, const std::string& path) {
  std::error_code failure;
  const bool made = std::filesystem::create_directories(path, failure);
  if (failure) fail(kind, path, "cannot be made", failure.value());
  if (!made) return;
  // The names above it too: some may be new, and the others cost little.
  std::string folder = std::filesystem::absolute(path).string();
  while (folder_of(folder) != folder) {
    folder = folder_of(folder);
    flush_folder(folder);
  }
}

void flush_names(const std::string& folder) noexcept { flush_folder(folder); }

void remove_file(const std::string& kind, const std::string& path) {
  std::error_code failure;
  std::filesystem::remove(path, failure);
  if (failure) fail(kind, path, "cannot be removed", failure.value());
}

void remove_abandoned_files(const std::string& folder) noexcept {
  try {
    std::error_code ignored;
    const std::string mark = ".ckpt" + std::string(temporary_mark());
    for (const auto& entry :
         std::filesystem::directory_iterator(folder, ignored)) {
      const std::string name = entry.path().filename().string();
      const auto at = name.rfind(mark);
      if (at == std::string::npos) continue;
      const std::string process = name.substr(at + mark.size());
      if (is_abandoned(entry.path().string(), process)) {
        std::filesystem::remove(entry.path(), ignored);
      }
    }
  } catch (const std::exception&) {
    // They take room, no more: the next save tries again.
  }
}

}  // namespace stepsize::detail
