#include "cifar_dataset.h"

#include <stdexcept>
#include <string>

#include "byte_file.h"
#include "label_check.h"

namespace stepsize::trainer {
namespace {

constexpr std::int64_t kSide = 32;
constexpr std::int64_t kPixels = 3 * kSide * kSide;
constexpr std::int64_t kFineClasses = 100;
constexpr std::int64_t kCoarseClasses = 20;
constexpr std::int64_t kCifar10Classes = 10;

std::vector<std::uint8_t> read_records(
    const std::filesystem::path& path, std::int64_t record_bytes) {
  auto bytes = read_bytes(path);
  if (bytes.empty()) {
    throw std::runtime_error(path.string() + ": the file is empty");
  }
  const auto record = static_cast<std::size_t>(record_bytes);
  if (bytes.size() % record != 0) {
    throw std::runtime_error(
        path.string() +
        ": truncated, or not a CIFAR file: " + std::to_string(bytes.size()) +
        " bytes are no whole number of records of " + std::to_string(record) +
        " bytes");
  }
  return bytes;
}

}  // namespace

CifarDataset::CifarDataset(
    CifarKind kind, const std::vector<std::filesystem::path>& files) {
  if (files.empty()) {
    throw std::invalid_argument(
        "CifarDataset: at least one file is needed, got none");
  }
  const bool fine = kind == CifarKind::kCifar100;
  const std::int64_t label_bytes = fine ? 2 : 1;
  const std::int64_t record_bytes = label_bytes + kPixels;
  const std::int64_t classes = fine ? kFineClasses : kCifar10Classes;

  std::vector<torch::Tensor> images;
  std::vector<torch::Tensor> labels;
  std::vector<torch::Tensor> coarse_labels;
  for (const auto& path : files) {
    auto bytes = read_records(path, record_bytes);
    const auto count = static_cast<std::int64_t>(bytes.size()) / record_bytes;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::uint8_t* record = bytes.data() + i * record_bytes;
      if (fine) {
        check_label(path, i, record[0], kCoarseClasses);
      }
      check_label(path, i, record[label_bytes - 1], classes);
    }
    const auto records =
        torch::from_blob(bytes.data(), {count, record_bytes}, torch::kUInt8);
    images.push_back(records.narrow(1, label_bytes, kPixels)
                         .reshape({count, 3, kSide, kSide})
                         .clone());
    labels.push_back(records.select(1, label_bytes - 1).to(torch::kInt64));
    if (fine) {
      coarse_labels.push_back(records.select(1, 0).to(torch::kInt64));
    }
  }
  images_ = torch::cat(images);
  labels_ = torch::cat(labels);
  if (fine) {
    coarse_labels_ = torch::cat(coarse_labels);
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
