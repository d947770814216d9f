#include "examples/trainer/data/data_files.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "examples/trainer/cli/text.h"

namespace stepsize::trainer {

namespace fs = std::filesystem;

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

DataFiles DataFiles::of_folder(fs::path folder) {
  return DataFiles(std::move(folder));
}

DataFiles DataFiles::of_archive(const fs::path& path) {
  // CIFAR-10 has 184 MB.
  constexpr std::size_t kMostBytes = std::size_t{1} << 30U;
  DataFiles files(path);
  files.archive_.emplace(path, read_bytes(path, kMostBytes));
  files.members_ = tar_members(*files.archive_);
  return files;
}

std::vector<TarMember> DataFiles::members_named(const std::string& name) const {
  std::vector<TarMember> found;
  std::copy_if(
      members_.begin(),
      members_.end(),
      std::back_inserter(found),
      [&](const TarMember& member) {
        return fs::path(member.name).filename() == name;
      });
  return found;
}

bool DataFiles::has(const std::string& name) const {
  return archive_ ? !members_named(name).empty()
                  : is_file(path_ / name) || is_file(path_ / (name + ".gz"));
}

FileBytes DataFiles::read(const std::string& name) const {
  if (!has(name)) {
    throw std::runtime_error(
        "cannot find " + (path_ / name).string() +
        (archive_ ? "" : " (nor with .gz at its end)") +
        (archive_ ? "" : advice_on(path_)));
  }
  if (!archive_) {
    const auto plain = path_ / name;
    const auto path = is_file(plain) ? plain : path_ / (name + ".gz");
    return {path, read_bytes(path)};
  }
  const auto found = members_named(name);
  if (found.size() > 1) {
    throw std::runtime_error(
        path_.string() + ": has both " + found[0].name + " and " +
        found[1].name);
  }
  return extract(*archive_, found.front());
}

std::string advice_on(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& path : files) {
    const std::string ending = path.extension().string();
    const std::string name = path.filename().string();
    const std::string file = shell_word(path.string());
    const std::string where = shell_word(folder.string());
    if (ending == ".zip") {
      return "; " + name + " is a zip archive: unpack it with\n  unzip " +
             file + " -d " + where;
    }
    if (ending == ".tgz" || ending == ".tar" ||
        (ending == ".gz" && path.stem().extension() == ".tar")) {
      return "; " + name + " is a tar archive: unpack it with\n  tar -xf " +
             file + " -C " + where;
    }
    if (ending == ".xz") {
      return "; " + name + " is compressed with xz: unpack it with\n  xz -dk " +
             file;
    }
    for (const auto* foreign :
         {".npz", ".npy", ".mat", ".parquet", ".arrow", ".csv", ".tfrecord"}) {
      if (ending == foreign) {
        return "; " + name +
               " is in a format that is not read here: take the " +
               "binary files that the data set's own page offers";
      }
    }
  }
  return {};
}

}  // namespace stepsize::trainer
