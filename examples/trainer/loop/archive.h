#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

namespace stepsize::trainer {

/// Values by their names in an archive. The readers throw c10::Error naming
/// the entry where it is not there or holds something else.
void write_int(
    torch::serialize::OutputArchive& archive,
    const std::string& key,
    std::int64_t value);
void write_double(
    torch::serialize::OutputArchive& archive,
    const std::string& key,
    double value);
std::int64_t read_int(
    torch::serialize::InputArchive& archive, const std::string& key);
/// A count: an integer >= 0.
std::int64_t read_count(
    torch::serialize::InputArchive& archive, const std::string& key);
double read_double(
    torch::serialize::InputArchive& archive, const std::string& key);

/// The part of an archive that `write` fills.
template <typename Write>
void write_part(
    torch::serialize::OutputArchive& archive,
    const std::string& key,
    const Write& write) {
  torch::serialize::OutputArchive part(archive.compilation_unit());
  write(part);
  archive.write(key, part);
}

torch::serialize::InputArchive read_part(
    torch::serialize::InputArchive& archive, const std::string& key);

}  // namespace stepsize::trainer
