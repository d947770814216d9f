#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace stepsize::trainer {

/// A folder of its own for each test, gone at the end of it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const {
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

using Bytes = std::vector<std::uint8_t>;

void write_plain(const std::filesystem::path& path, const Bytes& bytes);
void write_gzip(const std::filesystem::path& path, const Bytes& bytes);
std::string read_text(const std::filesystem::path& path);

/// An IDX file: the magic number, the sizes, the values.
Bytes idx(
    std::uint32_t magic,
    const std::vector<std::uint32_t>& sizes,
    const Bytes& values);

/// A CIFAR record: the labels, then `pixel` 3072 times.
Bytes cifar_record(const Bytes& labels, std::uint8_t pixel);

/// An entry of a tar archive; '0' is a file, '5' a folder.
struct TarEntry {
  std::string name;
  std::string content;
  char type = '0';
};

/// A tar archive (ustar).
Bytes tar(const std::vector<TarEntry>& entries);

/// Writes the checksum of the header at this place.
void set_tar_sum(Bytes& archive, std::size_t header);

/// Pixels to a side that are enough to learn from, at a ninth of the time that
/// those of Fashion-MNIST, twice as many, take.
inline constexpr std::uint32_t kBarsSide = 14;

/// A small set in the layout of Fashion-MNIST: `train` and `test` noisy images,
/// `side` a multiple of kBarsSide, whose class shows as a bright bar.
void write_bars(
    const std::filesystem::path& folder,
    std::uint32_t train,
    std::uint32_t test,
    std::uint32_t side = kBarsSide);

/// The message that `action` throws, or "" where it throws nothing.
std::string message_of(const std::function<void()>& action);

}  // namespace stepsize::trainer
