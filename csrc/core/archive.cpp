#include "csrc/core/archive.h"

#include <torch/serialize/archive.h>

#include <cmath>

#include "csrc/core/check.h"

namespace stepsize::detail {

using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

void write_int(OutputArchive& archive, const std::string& key, int64_t value) {
  archive.write(key, c10::IValue(value));
}

void write_double(
    OutputArchive& archive, const std::string& key, double value) {
  archive.write(key, c10::IValue(value));
}

void write_string(
    OutputArchive& archive, const std::string& key, const std::string& value) {
  archive.write(key, c10::IValue(value));
}

void write_doubles(
    OutputArchive& archive,
    const std::string& key,
    const std::vector<double>& values) {
  archive.write(key, c10::IValue(values));
}

void write_ints(
    OutputArchive& archive,
    const std::string& key,
    const std::vector<int64_t>& values) {
  archive.write(key, c10::IValue(values));
}

void write_tensors(
    OutputArchive& archive,
    const std::string& key,
    const std::vector<at::Tensor>& values) {
  std::vector<int64_t> defined;
  c10::List<at::Tensor> tensors;
  for (const auto& value : values) {
    defined.push_back(value.defined() ? 1 : 0);
    if (value.defined()) tensors.push_back(value);
  }
  write_ints(archive, key + "_defined", defined);
  archive.write(key, c10::IValue(tensors));
}

namespace {

c10::IValue read(
    InputArchive& archive, const std::string& kind, const std::string& key) {
  c10::IValue value;
  TORCH_CHECK(
      archive.try_read(key, value), kind, ": the archive has no '", key, "'");
  return value;
}

void check_type(
    bool holds,
    const std::string& kind,
    const std::string& key,
    const char* expected) {
  TORCH_CHECK(holds, kind, ": '", key, "' of the archive is not ", expected);
}

}  // namespace

int64_t read_int(
    InputArchive& archive,
    const std::string& kind,
    const std::string& key,
    int64_t most) {
  const c10::IValue value = read(archive, kind, key);
  check_type(value.isInt(), kind, key, "an integer");
  check_option(
      value.toInt() >= 0 && value.toInt() <= most,
      kind,
      "'" + key + "' of the archive",
      "in [0, " + std::to_string(most) + "]",
      value.toInt());
  return value.toInt();
}

double read_double(
    InputArchive& archive, const std::string& kind, const std::string& key) {
  const c10::IValue value = read(archive, kind, key);
  check_type(value.isDouble(), kind, key, "a number");
  return value.toDouble();
}

std::string read_string(
    InputArchive& archive, const std::string& kind, const std::string& key) {
  const c10::IValue value = read(archive, kind, key);
  check_type(value.isString(), kind, key, "a string");
  return value.toStringRef();
}

std::vector<double> read_doubles(
    InputArchive& archive, const std::string& kind, const std::string& key) {
  const c10::IValue value = read(archive, kind, key);
  check_type(value.isDoubleList(), kind, key, "a list of numbers");
  return value.toDoubleVector();
}

std::vector<int64_t> read_ints(
    InputArchive& archive, const std::string& kind, const std::string& key) {
  const c10::IValue value = read(archive, kind, key);
  check_type(value.isIntList(), kind, key, "a list of integers");
  return value.toIntVector();
}

std::vector<at::Tensor> read_tensors(
    InputArchive& archive, const std::string& kind, const std::string& key) {
  const auto defined = read_ints(archive, kind, key + "_defined");
  const c10::IValue value = read(archive, kind, key);
  check_type(value.isTensorList(), kind, key, "a list of tensors");
  const auto tensors = value.toTensorVector();
  std::vector<at::Tensor> result;
  std::size_t next = 0;
  for (const int64_t flag : defined) {
    const bool there = flag != 0;
    check_type(
        !there || next < tensors.size(), kind, key, "as long as it says");
    result.push_back(there ? tensors[next++] : at::Tensor());
  }
  return result;
}

void check_finite(
    const std::string& kind,
    const std::string& key,
    const std::vector<double>& values) {
  for (const double value : values) {
    check_option(
        std::isfinite(value),
        kind,
        "'" + key + "' of the archive",
        "finite",
        value);
  }
}

}  // namespace stepsize::detail
