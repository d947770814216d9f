#include "examples/trainer/data/cifar_dataset.h"

#include <stdexcept>
#include <string>

#include "examples/trainer/data/label_check.h"

namespace stepsize::trainer {
namespace {

constexpr std::int64_t kSide = 32;
constexpr std::int64_t kPixels = 3 * kSide * kSide;
constexpr std::int64_t kFineClasses = 100;
constexpr std::int64_t kCoarseClasses = 20;
constexpr std::int64_t kCifar10Classes = 10;

// What is at hand of each kind, of one file or of all.
struct Parts {
  std::vector<torch::Tensor> images;
  std::vector<torch::Tensor> labels;
  std::vector<torch::Tensor> coarse_labels;
};

void check_size(const FileBytes& file, std::int64_t record_bytes) {
  if (file.bytes.empty()) {
    throw std::runtime_error(file.path.string() + ": the file is empty");
  }
  const auto record = static_cast<std::size_t>(record_bytes);
  if (file.bytes.size() % record != 0) {
    throw std::runtime_error(
        file.path.string() + ": truncated, or not a CIFAR file: " +
        std::to_string(file.bytes.size()) +
        " bytes are no whole number of records of " + std::to_string(record) +
        " bytes");
  }
}

void append(CifarKind kind, const FileBytes& file, Parts& parts) {
  const bool fine = kind == CifarKind::kCifar100;
  const std::int64_t label_bytes = fine ? 2 : 1;
  const std::int64_t record_bytes = label_bytes + kPixels;
  const std::int64_t classes = fine ? kFineClasses : kCifar10Classes;
  check_size(file, record_bytes);
  const auto count =
      static_cast<std::int64_t>(file.bytes.size()) / record_bytes;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint8_t* record = file.bytes.data() + i * record_bytes;
    if (fine) {
      check_label(file.path, i, record[0], kCoarseClasses);
    }
    check_label(file.path, i, record[label_bytes - 1], classes);
  }
  // from_blob takes no const pointer; what follows only reads through it.
  const auto records = torch::from_blob(
      const_cast<std::uint8_t*>(file.bytes.data()),
      {count, record_bytes},
      torch::kUInt8);
  parts.images.push_back(records.narrow(1, label_bytes, kPixels)
                             .reshape({count, 3, kSide, kSide})
                             .clone());
  parts.labels.push_back(records.select(1, label_bytes - 1).to(torch::kInt64));
  if (fine) {
    parts.coarse_labels.push_back(records.select(1, 0).to(torch::kInt64));
  }
}

}  // namespace

CifarDataset::CifarDataset(
    CifarKind kind, const std::vector<std::filesystem::path>& files) {
  if (files.empty()) {
    throw std::invalid_argument(
        "CifarDataset: at least one file is needed, got none");
  }
  Parts parts;
  for (const auto& path : files) {
    append(kind, {path, read_bytes(path)}, parts);
  }
  images_ = torch::cat(parts.images);
  labels_ = torch::cat(parts.labels);
  if (!parts.coarse_labels.empty()) {
    coarse_labels_ = torch::cat(parts.coarse_labels);
  }
}

CifarDataset::CifarDataset(CifarKind kind, const FileBytes& file) {
  Parts parts;
  append(kind, file, parts);
  images_ = parts.images.front();
  labels_ = parts.labels.front();
  if (!parts.coarse_labels.empty()) {
    coarse_labels_ = parts.coarse_labels.front();
  }
}

torch::data::Example<> CifarDataset::get(std::size_t index) {
  TORCH_CHECK(
      index < static_cast<std::size_t>(images_.size(0)),
      "CifarDataset: index must be < ",
      images_.size(0),
      " (the images), got ",
      index);
  const auto i = static_cast<std::int64_t>(index);
  return {images_[i].to(torch::kFloat32).div_(255), labels_[i]};
}

CifarDataset::Size CifarDataset::size() const {
  return static_cast<std::size_t>(images_.size(0));
}

}  // namespace stepsize::trainer
