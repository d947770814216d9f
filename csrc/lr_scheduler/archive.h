#pragma once

#include <torch/optim/optimizer.h>

#include <cstdint>
#include <string>
#include <vector>

namespace stepsize {
namespace detail {

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

/// Whether the archive has a string of that name.
bool has_string(
    torch::serialize::InputArchive& archive, const std::string& key);

// Each of these throws c10::Error "KIND: the archive has no ..." where the
// entry is missing or of another type.
int64_t read_int(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const std::string& key);
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

/// Throws unless every value is finite.
void check_finite(
    const std::string& kind,
    const std::string& key,
    const std::vector<double>& values);

}  // namespace detail
}  // namespace stepsize
