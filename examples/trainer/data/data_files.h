#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "examples/trainer/data/byte_file.h"
#include "examples/trainer/data/tar_file.h"

namespace stepsize::trainer {

/// Where the files of a data set lie: a folder, or a tar archive, which is read
/// in memory and unpacked nowhere.
class DataFiles {
 public:
  /// In a folder, a file may also be gzip with ".gz" at its end.
  static DataFiles of_folder(std::filesystem::path folder);
  /// A tar archive, gzip or not. In it, a file is found by the last part of its
  /// name. Throws std::runtime_error as read_bytes() and tar_members() do, and
  /// for an archive that has more than 1 GiB, unpacked.
  static DataFiles of_archive(const std::filesystem::path& path);

  bool has(const std::string& name) const;
  /// Throws std::runtime_error naming the file where it is not there, is there
  /// twice or cannot be read.
  FileBytes read(const std::string& name) const;

  /// The folder or archive.
  const std::filesystem::path& path() const { return path_; }

 private:
  explicit DataFiles(std::filesystem::path path) : path_(std::move(path)) {}
  std::vector<TarMember> members_named(const std::string& name) const;

  std::filesystem::path path_;
  std::optional<FileBytes> archive_;
  std::vector<TarMember> members_;
};

/// Whether there is a regular file of this path; false where that cannot be
/// told.
bool is_file(const std::filesystem::path& path);
bool is_folder(const std::filesystem::path& path);

/// What to do about files in a folder that hold a data set in a form that is
/// not read here: "; images.zip is a zip archive: unpack it with ...". Empty
/// where there are none.
std::string advice_on(const std::filesystem::path& folder);

}  // namespace stepsize::trainer
