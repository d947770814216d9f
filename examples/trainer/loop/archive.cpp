#include "examples/trainer/loop/archive.h"

namespace stepsize::trainer {
namespace {

c10::IValue read_value(
    torch::serialize::InputArchive& archive, const std::string& key) {
  c10::IValue value;
  TORCH_CHECK(
      archive.try_read(key, value),
      "the saved state of the run has no '",
      key,
      "'");
  return value;
}

}  // namespace

void write_int(
    torch::serialize::OutputArchive& archive,
    const std::string& key,
    std::int64_t value) {
  archive.write(key, c10::IValue(value));
}

void write_double(
    torch::serialize::OutputArchive& archive,
    const std::string& key,
    double value) {
  archive.write(key, c10::IValue(value));
}

std::int64_t read_int(
    torch::serialize::InputArchive& archive, const std::string& key) {
  const auto value = read_value(archive, key);
  TORCH_CHECK(
      value.isInt(),
      "the saved state of the run: '",
      key,
      "' must be an integer");
  return value.toInt();
}

std::int64_t read_count(
    torch::serialize::InputArchive& archive, const std::string& key) {
  const std::int64_t value = read_int(archive, key);
  TORCH_CHECK(
      value >= 0,
      "the saved state of the run: '",
      key,
      "' must be >= 0, got ",
      value);
  return value;
}

double read_double(
    torch::serialize::InputArchive& archive, const std::string& key) {
  const auto value = read_value(archive, key);
  TORCH_CHECK(
      value.isDouble(),
      "the saved state of the run: '",
      key,
      "' must be a number");
  return value.toDouble();
}

torch::serialize::InputArchive read_part(
    torch::serialize::InputArchive& archive, const std::string& key) {
  torch::serialize::InputArchive part;
  TORCH_CHECK(
      archive.try_read(key, part),
      "the saved state of the run has no '",
      key,
      "'");
  return part;
}

}  // namespace stepsize::trainer
