#include "sample_files.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iomanip>
#include <iterator>
#include <numeric>
#include <random>
#include <sstream>
#include <stdexcept>

namespace stepsize::trainer {

namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder() {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  path_ = fs::temp_directory_path() /
          (std::string("stepsize-") + test->test_suite_name() + "-" +
           test->name() + "-" + std::to_string(getpid()));
  fs::create_directories(path_);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  fs::remove_all(path_, error);
}

void write_plain(const fs::path& path, const Bytes& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(
      reinterpret_cast<const char*>(bytes.data()),
      static_cast<std::streamsize>(bytes.size()));
  if (!file) {
    throw std::runtime_error("cannot write " + path.string());
  }
}

void write_gzip(const fs::path& path, const Bytes& bytes) {
  gzFile file = gzopen(path.string().c_str(), "wb");
  const int written =
      gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  if (gzclose(file) != Z_OK || written != static_cast<int>(bytes.size())) {
    throw std::runtime_error("cannot write " + path.string());
  }
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Bytes idx(
    std::uint32_t magic,
    const std::vector<std::uint32_t>& sizes,
    const Bytes& values) {
  Bytes bytes;
  const auto put = [&](std::uint32_t number) {
    for (const unsigned shift : {24U, 16U, 8U, 0U}) {
      bytes.push_back(static_cast<std::uint8_t>(number >> shift & 0xffU));
    }
  };
  put(magic);
  for (const std::uint32_t size : sizes) {
    put(size);
  }
  bytes.insert(bytes.end(), values.begin(), values.end());
  return bytes;
}

Bytes cifar_record(const Bytes& labels, std::uint8_t pixel) {
  Bytes bytes = labels;
  bytes.insert(bytes.end(), 3072, pixel);
  return bytes;
}

void set_tar_sum(Bytes& archive, std::size_t header) {
  constexpr std::size_t kSumAt = 148;
  const auto start = archive.begin() + static_cast<std::ptrdiff_t>(header);
  std::fill_n(start + kSumAt, 8, std::uint8_t{' '});
  const unsigned sum = std::accumulate(start, start + 512, 0U);
  char text[8];
  std::snprintf(text, sizeof text, "%06o", sum);
  std::copy_n(text, 7, start + kSumAt);
}

Bytes tar(const std::vector<TarEntry>& entries) {
  constexpr std::size_t kBlock = 512;
  Bytes bytes;
  for (const auto& entry : entries) {
    const std::size_t header = bytes.size();
    bytes.resize(header + kBlock, 0);
    const auto put = [&](std::size_t at, const std::string& text) {
      std::copy(
          text.begin(),
          text.end(),
          bytes.begin() + static_cast<std::ptrdiff_t>(header + at));
    };
    std::ostringstream size;
    size << std::oct << std::setw(11) << std::setfill('0')
         << entry.content.size();
    put(0, entry.name);
    put(100, "0000644");
    put(124, size.str());
    put(136, "00000000000");
    put(156, std::string(1, entry.type));
    put(257, "ustar");
    put(263, "00");
    set_tar_sum(bytes, header);
    bytes.insert(bytes.end(), entry.content.begin(), entry.content.end());
    bytes.resize((bytes.size() + kBlock - 1) / kBlock * kBlock, 0);
  }
  bytes.resize(bytes.size() + 2 * kBlock, 0);
  return bytes;
}

void write_bars(
    const fs::path& folder,
    std::uint32_t train,
    std::uint32_t test,
    std::uint32_t side) {
  std::minstd_rand random(1);
  const auto write = [&](const std::string& part, std::uint32_t count) {
    Bytes pixels;
    Bytes labels;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t label = i % 10;
      labels.push_back(static_cast<std::uint8_t>(label));
      for (std::uint32_t y = 0; y < side; ++y) {
        const bool bar = y / (side / kBarsSide) == label + 2;
        for (std::uint32_t x = 0; x < side; ++x) {
          const auto noise = static_cast<std::uint32_t>(random() % 64);
          pixels.push_back(
              static_cast<std::uint8_t>((bar ? 190U : 0U) + noise));
        }
      }
    }
    write_plain(
        folder / (part + "-images-idx3-ubyte"),
        idx(0x803, {count, side, side}, pixels));
    write_plain(
        folder / (part + "-labels-idx1-ubyte"), idx(0x801, {count}, labels));
  };
  fs::create_directories(folder);
  write("train", train);
  write("t10k", test);
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

}  // namespace stepsize::trainer
