#pragma once

#include <torch/optim/optimizer.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace stepsize::detail {

void write_int(
    torch::serialize::OutputArchive& archive,
    const std::string& key,
    int64_t value);
void write_double(
    torch::serialize::OutputArchive& archive,
    const std::string& key,
    double value);
void write_string(
    torch::serialize::OutputArchive& archive,
    const std::string& key,
    const std::string& value);
void write_doubles(
    torch::serialize::OutputArchive& archive,
    const std::string& key,
    const std::vector<double>& values);
void write_ints(
    torch::serialize::OutputArchive& archive,
    const std::string& key,
    const std::vector<int64_t>& values);
/// Tensors that are undefined stay so.
void write_tensors(
    torch::serialize::OutputArchive& archive,
    const std::string& key,
    const std::vector<at::Tensor>& values);

// Each of these throws c10::Error "KIND: the archive has no ..." where the
// entry is missing or of another type.
/// Throws unless the integer is in [0, most], too.
int64_t read_int(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const std::string& key,
    int64_t most = std::numeric_limits<int64_t>::max());
double read_double(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const std::string& key);
std::string read_string(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const std::string& key);
std::vector<double> read_doubles(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const std::string& key);
std::vector<int64_t> read_ints(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const std::string& key);
/// The tensors share memory with the archive.
std::vector<at::Tensor> read_tensors(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const std::string& key);

/// Throws unless every value is finite.
void check_finite(
    const std::string& kind,
    const std::string& key,
    const std::vector<double>& values);

}  // namespace stepsize::detail
