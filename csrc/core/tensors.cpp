#include "csrc/core/tensors.h"

#include <ATen/Functions.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <sstream>

#include "csrc/core/archive.h"

namespace stepsize::detail {

using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

at::Tensor storable(const at::Tensor& tensor, const std::string& owner) {
  if (!tensor.defined()) return tensor;
  TORCH_CHECK(
      tensor.layout() == at::kStrided,
      owner,
      ": its layout is ",
      tensor.layout(),
      "; only dense tensors can be saved");
  at::Tensor plain = tensor.detach().resolve_conj().resolve_neg();
  if (!plain.is_cpu()) plain = plain.to(at::kCPU);
  const auto own = static_cast<std::size_t>(plain.numel()) * plain.itemsize();
  if (!plain.is_non_overlapping_and_dense() || plain.storage_offset() != 0 ||
      plain.storage().nbytes() != own) {
    plain = plain.clone(at::MemoryFormat::Contiguous);
  }
  return plain;
}

std::vector<at::Tensor> storable(
    const std::vector<at::Tensor>& tensors, const std::string& owner) {
  std::vector<at::Tensor> plain;
  plain.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    plain.push_back(storable(tensor, owner));
  }
  return plain;
}

at::Tensor copy_like(const at::Tensor& value, const at::Tensor& like) {
  at::Tensor copy =
      at::empty_like(like, like.options().dtype(value.scalar_type()));
  copy = copy.detach();
  copy.copy_(value);
  return copy;
}

std::string type_and_shape(const at::Tensor& tensor) {
  std::ostringstream text;
  text << tensor.scalar_type() << " of " << tensor.sizes();
  return text.str();
}

std::string archive_bytes(const std::function<void(OutputArchive&)>& save) {
  OutputArchive archive;
  save(archive);
  std::string bytes;
  archive.save_to([&bytes](const void* data, std::size_t size) {
    bytes.append(static_cast<const char*>(data), size);
    return size;
  });
  return bytes;
}

at::Tensor byte_tensor(const std::string& bytes) {
  at::Tensor tensor = at::empty(
      {static_cast<int64_t>(bytes.size())}, at::TensorOptions(at::kByte));
  std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

at::Tensor archive_byte_tensor(
    const std::function<void(OutputArchive&)>& save) {
  OutputArchive archive;
  save(archive);
  // realloc() moves large blocks without a second copy, as no container does.
  std::unique_ptr<char, decltype(&std::free)> bytes(nullptr, &std::free);
  std::size_t size = 0;
  std::size_t room = 0;
  const auto reserve = [&](std::size_t wanted) {
    void* const grown = std::realloc(bytes.get(), wanted);
    if (grown == nullptr) throw std::bad_alloc();
    static_cast<void>(bytes.release());
    bytes.reset(static_cast<char*>(grown));
    room = wanted;
  };
  archive.save_to([&](const void* data, std::size_t count) {
    if (size + count > room) reserve(std::max(size + count, size + size / 2));
    std::memcpy(bytes.get() + size, data, count);
    size += count;
    return count;
  });
  reserve(std::max(size, std::size_t{1}));
  at::Tensor tensor = at::from_blob(
      bytes.get(),
      {static_cast<int64_t>(size)},
      [](void* data) { std::free(data); },
      at::TensorOptions(at::kByte));
  static_cast<void>(bytes.release());
  return tensor;
}

void load_bytes(
    const void* bytes,
    std::size_t size,
    const std::function<void(InputArchive&)>& load) {
  const auto* data = static_cast<const char*>(bytes);
  InputArchive archive;
  try {
    archive.load_from(data, size);
  } catch (const c10::Error&) {
    // A device may not be there, and its tensors can be read all the same.
    InputArchive on_cpu;
    on_cpu.load_from(data, size, at::Device(at::kCPU));
    load(on_cpu);
    return;
  }
  load(archive);
}

void load_bytes(
    const at::Tensor& bytes, const std::function<void(InputArchive&)>& load) {
  const at::Tensor own = bytes.contiguous();
  load_bytes(own.data_ptr(), static_cast<std::size_t>(own.numel()), load);
}

void write_strings(
    OutputArchive& archive,
    const std::string& key,
    const std::vector<std::string>& values) {
  archive.write(key, c10::IValue(values));
}

std::vector<std::string> read_strings(
    InputArchive& archive, const std::string& kind, const std::string& key) {
  c10::IValue value;
  TORCH_CHECK(
      archive.try_read(key, value), kind, ": the archive has no '", key, "'");
  const std::string refusal =
      ": '" + key + "' of the archive is not a list of texts";
  TORCH_CHECK(value.isList(), kind, refusal);
  std::vector<std::string> texts;
  for (const c10::IValue& text : value.toListRef()) {
    TORCH_CHECK(text.isString(), kind, refusal);
    texts.push_back(text.toStringRef());
  }
  return texts;
}

at::Tensor read_tensor(
    InputArchive& archive, const std::string& kind, const std::string& key) {
  const auto tensors = read_tensors(archive, kind, key);
  TORCH_CHECK(
      tensors.size() == 1 && tensors.front().defined(),
      kind,
      ": '",
      key,
      "' of the archive is not one tensor");
  return tensors.front();
}

}  // namespace stepsize::detail
