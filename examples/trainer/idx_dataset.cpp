#include "idx_dataset.h"

#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "label_check.h"

namespace stepsize::trainer {
namespace {

constexpr std::uint32_t kImageMagic = 0x00000803;
constexpr std::uint32_t kLabelMagic = 0x00000801;

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
  if (available != expected) {
    fail(
        (available < expected ? "truncated: " : "too long: ") +
        std::to_string(available) + " bytes after the header, which promises " +
        std::to_string(expected));
  }
  return idx;
}

}  // namespace

IdxDataset::IdxDataset(
    const std::filesystem::path& images,
    const std::filesystem::path& labels,
    std::int64_t classes) {
  check_class_count("IdxDataset", classes);
  take({images, read_bytes(images)}, {labels, read_bytes(labels)}, classes);
}

IdxDataset::IdxDataset(
    const FileBytes& images, const FileBytes& labels, std::int64_t classes) {
  check_class_count("IdxDataset", classes);
  take(images, labels, classes);
}

void IdxDataset::take(
    const FileBytes& images, const FileBytes& labels, std::int64_t classes) {
  const Idx pixels = parse_idx(images, kImageMagic, "images");
  const Idx marks = parse_idx(labels, kLabelMagic, "labels");
  if (pixels.sizes[0] != marks.sizes[0]) {
    throw std::runtime_error(
        images.path.string() + " has " + std::to_string(pixels.sizes[0]) +
        " images, but " + labels.path.string() + " has " +
        std::to_string(marks.sizes[0]) + " labels");
  }
  const auto count = static_cast<std::int64_t>(pixels.sizes[0]);
  const auto height = static_cast<std::int64_t>(pixels.sizes[1]);
  const auto width = static_cast<std::int64_t>(pixels.sizes[2]);
  for (std::int64_t i = 0; i < count; ++i) {
    check_label(labels.path, i, marks.values[i], classes);
  }
  // from_blob takes no const pointer; clone() only reads through it.
  images_ = torch::from_blob(
                const_cast<std::uint8_t*>(pixels.values),
                {count, 1, height, width},
                torch::kUInt8)
                .clone();
  labels_ = torch::from_blob(
                const_cast<std::uint8_t*>(marks.values), {count}, torch::kUInt8)
                .to(torch::kInt64);
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
