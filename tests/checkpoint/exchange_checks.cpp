#include "tests/checkpoint/exchange_checks.h"

#include <ATen/Functions.h>
#include <stepsize/checkpoint/checkpoint_info.h>
#include <torch/serialize/input-archive.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <vector>

namespace stepsize::test {
namespace {

int differing = 0;

}  // namespace

int differences() { return differing; }

void expect(bool holds, const std::string& what) {
  if (holds) return;
  ++differing;
  std::cout << "differs: " << what << '\n';
}

void expect_close(
    const at::Tensor& own, const at::Tensor& other, const std::string& what) {
  expect(at::allclose(own, other, 1e-9, 1e-12), what);
}

void expect_close(double own, double other, const std::string& what) {
  expect(std::abs(own - other) <= 1e-9 * std::abs(own), what);
}

std::string temporary_file(const std::string& name) {
  return (std::filesystem::temp_directory_path() /
          ("stepsize-" + name + "-" + std::to_string(getpid())))
      .string();
}

namespace {

using torch::serialize::InputArchive;

int64_t compare_archives(
    InputArchive& left, InputArchive& right, const std::string& place);

// Whether the bytes are an archive, such as a state's.
bool open_archive(const at::Tensor& bytes, InputArchive& archive) {
  if (bytes.scalar_type() != at::kByte || bytes.dim() != 1) return false;
  const at::Tensor plain = bytes.contiguous();
  const std::string text(
      static_cast<const char*>(plain.data_ptr()), plain.nbytes());
  if (text.substr(0, 4) != "PK\x03\x04") return false;
  std::istringstream stream(text);
  archive.load_from(stream);
  return true;
}

bool same_bits(const at::Tensor& left, const at::Tensor& right) {
  InputArchive left_archive;
  InputArchive right_archive;
  if (open_archive(left, left_archive) && open_archive(right, right_archive)) {
    // Two versions write the same values in other bytes.
    const int before = differing;
    compare_archives(left_archive, right_archive, "an archive within");
    return differing == before;
  }
  if (left.scalar_type() != right.scalar_type() ||
      left.sizes() != right.sizes()) {
    return false;
  }
  const at::Tensor a = left.detach().contiguous();
  const at::Tensor b = right.detach().contiguous();
  return a.nbytes() == 0 ||
         std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0;
}

bool same_bits(const c10::IValue& left, const c10::IValue& right) {
  if (left.tagKind() != right.tagKind()) return false;
  if (left.isTensor()) return same_bits(left.toTensor(), right.toTensor());
  if (left.isDouble()) {
    const double a = left.toDouble();
    const double b = right.toDouble();
    return std::memcmp(&a, &b, sizeof(a)) == 0;
  }
  if (left.isList()) {
    const auto a = left.toListRef();
    const auto b = right.toListRef();
    return std::equal(
        a.begin(),
        a.end(),
        b.begin(),
        b.end(),
        [](const c10::IValue& one, const c10::IValue& other) {
          return same_bits(one, other);
        });
  }
  return left == right;
}

std::vector<std::string> sorted_keys(InputArchive& archive) {
  auto keys = archive.keys();
  std::sort(keys.begin(), keys.end());
  return keys;
}

// What version 0.1, which wrote the files, did not save.
bool is_newer(const std::string& key) {
  static const std::vector<std::string> names{
      "cautious",
      "in_update",
      "option_list",
      "peak_lr",
      "slow_ratio",
      "rollback_trend",
      "rollback_trend_span",
      "roundings",
      "state_type",
      "total_rounding"};
  return std::find(names.begin(), names.end(), key) != names.end() ||
         (key.rfind("group_", 0) == 0 &&
          key.find("_rounding") != std::string::npos);
}

// All of the left, and no more than a later version adds, is on the right.
bool has_keys_of(
    const std::vector<std::string>& left,
    const std::vector<std::string>& right) {
  return std::includes(right.begin(), right.end(), left.begin(), left.end()) &&
         std::all_of(right.begin(), right.end(), [&](const std::string& key) {
           return is_newer(key) ||
                  std::binary_search(left.begin(), left.end(), key);
         });
}

// Returns how many values there are.
int64_t compare_archives(
    InputArchive& left, InputArchive& right, const std::string& place) {
  const auto keys = sorted_keys(left);
  expect(has_keys_of(keys, sorted_keys(right)), place + ": its keys");
  int64_t count = 0;
  for (const std::string& key : keys) {
    const std::string what = place + "/" + key;
    InputArchive left_part;
    InputArchive right_part;
    c10::IValue left_value;
    c10::IValue right_value;
    if (left.try_read(key, left_part) && right.try_read(key, right_part)) {
      count += compare_archives(left_part, right_part, what);
    } else {
      const bool found =
          left.try_read(key, left_value) && right.try_read(key, right_value);
      expect(found && same_bits(left_value, right_value), what);
      ++count;
    }
  }
  return count;
}

uint64_t number_at(
    const std::string& bytes, std::size_t offset, std::size_t size) {
  uint64_t number = 0;
  for (std::size_t i = size; i > 0; --i) {
    number = number << 8 | static_cast<unsigned char>(bytes[offset + i - 1]);
  }
  return number;
}

// Behind head and index; their sizes are in the head.
void open_data(const std::string& path, InputArchive& archive) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::istringstream data(
      bytes.substr(number_at(bytes, 12, 4) + number_at(bytes, 16, 8)));
  archive.load_from(data);
}

// What is loaded and saved again must be what the file has.
}  // namespace

void compare_files(
    const std::string& path, const std::string& again, int64_t fewest) {
  const CheckpointInfo left = read_checkpoint_info(path);
  const CheckpointInfo right = read_checkpoint_info(again);
  const auto text_of = [](const CheckpointInfo& info) {
    std::string text;
    for (const auto& entry : info.entries) {
      text += entry.name + ": " + entry.class_name + ", kind " +
              std::to_string(static_cast<int>(entry.kind)) + "\n";
    }
    return text;
  };
  expect(text_of(left) == text_of(right), "entries");
  expect(left.counters == right.counters, "counters");
  expect(left.numbers == right.numbers, "numbers");
  expect(left.texts == right.texts, "texts");
  expect(left.values == right.values, "values");
  InputArchive left_data;
  InputArchive right_data;
  open_data(path, left_data);
  open_data(again, right_data);
  expect(
      compare_archives(left_data, right_data, "data") >= fewest, "all values");
}

}  // namespace stepsize::test
