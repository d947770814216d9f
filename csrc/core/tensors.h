#pragma once

#include <ATen/core/Tensor.h>
#include <torch/serialize/archive.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace stepsize::detail {

/// A tensor as it is to be written: on the CPU, without a graph, and alone in
/// its memory (the archive writes all of the memory that a view looks into).
/// The tensor itself where it is so. Throws c10::Error unless it is dense.
at::Tensor storable(const at::Tensor& tensor, const std::string& owner);

std::vector<at::Tensor> storable(
    const std::vector<at::Tensor>& tensors, const std::string& owner);

/// A copy of a tensor of a file, of the shape, strides and device of `like`.
at::Tensor copy_like(const at::Tensor& value, const at::Tensor& like);

/// "float32 of [3, 4]"
std::string type_and_shape(const at::Tensor& tensor);

/// What `save` writes to an archive, as bytes.
std::string archive_bytes(
    const std::function<void(torch::serialize::OutputArchive&)>& save);
at::Tensor byte_tensor(const std::string& bytes);
/// Both in one, with no more memory at any time than the bytes need.
at::Tensor archive_byte_tensor(
    const std::function<void(torch::serialize::OutputArchive&)>& save);
/// Hands such bytes to `load` as an archive. Its tensors lie on the devices
/// that they were saved on, or on the CPU where one of these is not there.
void load_bytes(
    const void* bytes,
    std::size_t size,
    const std::function<void(torch::serialize::InputArchive&)>& load);
void load_bytes(
    const at::Tensor& bytes,
    const std::function<void(torch::serialize::InputArchive&)>& load);

void write_strings(
    torch::serialize::OutputArchive& archive,
    const std::string& key,
    const std::vector<std::string>& values);
/// Throws c10::Error where the entry is missing or of another type.
std::vector<std::string> read_strings(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const std::string& key);
/// One tensor of a list of one, which must be defined.
at::Tensor read_tensor(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const std::string& key);

}  // namespace stepsize::detail
