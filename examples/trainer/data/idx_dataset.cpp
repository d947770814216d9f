#include "examples/trainer/data/idx_dataset.h"

#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "examples/trainer/data/label_check.h"

namespace stepsize::trainer {
namespace {

constexpr std::uint32_t kImageMagic = 0x00000803;
constexpr std::uint32_t kLabelMagic = 0x00000801;
// QMNIST's: 32-bit integers of two dimensions.
constexpr std::uint32_t kIntLabelMagic = 0x00000c02;
// Class, series, writer, digit, NIST's class, place, duplicate, unused.
constexpr std::uint64_t kIntLabelColumns = 8;

struct Idx {
  std::vector<std::uint64_t> sizes;
  const std::uint8_t* values = nullptr;
};

std::uint32_t big_endian(const std::uint8_t* byte) {
  return std::uint32_t{byte[0]} << 24U | std::uint32_t{byte[1]} << 16U |
         std::uint32_t{byte[2]} << 8U | std::uint32_t{byte[3]};
}

std::string hex(std::uint32_t value) {
  char text[11];
  std::snprintf(text, sizeof text, "0x%08x", static_cast<unsigned>(value));
  return text;
}

// Points into the file's bytes.
Idx parse_idx(const FileBytes& file, std::uint32_t magic, const char* content) {
  const auto fail = [&](const std::string& why) {
    throw std::runtime_error(file.path.string() + ": " + why);
  };
  const std::vector<std::uint8_t>& bytes = file.bytes;
  const std::size_t dimensions = magic & 0xffU;
  const std::size_t header = 4 + 4 * dimensions;
  if (bytes.size() >= 4 && big_endian(bytes.data()) != magic) {
    fail(
        std::string("not an IDX file of ") + content + ": it starts with " +
        hex(big_endian(bytes.data())) + ", expected " + hex(magic));
  }
  if (bytes.size() < header) {
    fail(
        "truncated: " + std::to_string(bytes.size()) +
        " bytes, but the header alone has " + std::to_string(header));
  }
  constexpr std::uint32_t kInt = 0x0c;
  const std::uint64_t value_bytes = (magic >> 8U & 0xffU) == kInt ? 4 : 1;
  Idx idx;
  idx.values = bytes.data() + header;
  const std::uint64_t available = bytes.size() - header;
  std::uint64_t expected = 1;
  for (std::size_t i = 0; i < dimensions; ++i) {
    const std::uint64_t size = big_endian(bytes.data() + 4 + 4 * i);
    if (size == 0) {
      fail("dimension " + std::to_string(i) + " has size 0");
    }
    // Stops before a header of nonsense could overflow the product.
    if (size > (std::uint64_t{1} << 40U) / expected) {
      fail("truncated: its header promises more than a terabyte");
    }
    expected *= size;
    idx.sizes.push_back(size);
  }
  expected *= value_bytes;
  if (available != expected) {
    fail(
        (available < expected ? "truncated: " : "too long: ") +
        std::to_string(available) + " bytes after the header, which promises " +
        std::to_string(expected));
  }
  return idx;
}

// The classes that the labels name, from 0: int64 [N].
torch::Tensor read_labels(const FileBytes& file, const IdxLayout& layout) {
  const bool has_ints =
      file.bytes.size() >= 4 && big_endian(file.bytes.data()) == kIntLabelMagic;
  const Idx idx =
      parse_idx(file, has_ints ? kIntLabelMagic : kLabelMagic, "labels");
  if (has_ints && idx.sizes[1] != kIntLabelColumns) {
    throw std::runtime_error(
        file.path.string() + ": a label must have " +
        std::to_string(kIntLabelColumns) +
        " numbers, as QMNIST's do, and has " + std::to_string(idx.sizes[1]));
  }
  const auto count = static_cast<std::int64_t>(idx.sizes[0]);
  torch::Tensor labels = torch::empty({count}, torch::kInt64);
  auto* label = labels.data_ptr<std::int64_t>();
  const std::uint8_t* value = idx.values;
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t read = *value;
    if (has_ints) {
      read = static_cast<std::int32_t>(big_endian(value));
    }
    check_label(file.path, i, read, layout.classes, layout.first_label);
    label[i] = read - layout.first_label;
    value += has_ints ? 4 * kIntLabelColumns : 1;
  }
  return labels;
}

void check_layout(const IdxLayout& layout) {
  check_class_count("IdxDataset", layout.classes);
  if (layout.first_label < 0 || layout.first_label > 255) {
    throw std::invalid_argument(
        "IdxDataset: first_label must be in 0 .. 255, got " +
        std::to_string(layout.first_label));
  }
}

}  // namespace

IdxDataset::IdxDataset(
    const std::filesystem::path& images,
    const std::filesystem::path& labels,
    const IdxLayout& layout) {
  check_layout(layout);
  take({images, read_bytes(images)}, {labels, read_bytes(labels)}, layout);
}

IdxDataset::IdxDataset(
    const FileBytes& images, const FileBytes& labels, const IdxLayout& layout) {
  check_layout(layout);
  take(images, labels, layout);
}

void IdxDataset::take(
    const FileBytes& images, const FileBytes& labels, const IdxLayout& layout) {
  const Idx pixels = parse_idx(images, kImageMagic, "images");
  const torch::Tensor classes = read_labels(labels, layout);
  const auto count = static_cast<std::int64_t>(pixels.sizes[0]);
  if (count != classes.size(0)) {
    throw std::runtime_error(
        images.path.string() + " has " + std::to_string(count) +
        " images, but " + labels.path.string() + " has " +
        std::to_string(classes.size(0)) + " labels");
  }
  const auto height = static_cast<std::int64_t>(pixels.sizes[1]);
  const auto width = static_cast<std::int64_t>(pixels.sizes[2]);
  // from_blob takes no const pointer; clone() only reads through it.
  const auto rows = torch::from_blob(
      const_cast<std::uint8_t*>(pixels.values),
      {count, 1, height, width},
      torch::kUInt8);
  images_ = (layout.transposed ? rows.transpose(2, 3) : rows)
                .clone(torch::MemoryFormat::Contiguous);
  labels_ = classes;
}

torch::data::Example<> IdxDataset::get(std::size_t index) {
  TORCH_CHECK(
      index < static_cast<std::size_t>(images_.size(0)),
      "IdxDataset: index must be < ",
      images_.size(0),
      " (the images), got ",
      index);
  const auto i = static_cast<std::int64_t>(index);
  return {images_[i].to(torch::kFloat32).div_(255), labels_[i]};
}

IdxDataset::Size IdxDataset::size() const {
  return static_cast<std::size_t>(images_.size(0));
}

}  // namespace stepsize::trainer
