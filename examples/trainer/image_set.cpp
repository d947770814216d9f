#include "image_set.h"

#include <stdexcept>

#include "cifar_dataset.h"
#include "idx_dataset.h"

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

[[noreturn]] void missing(const fs::path& path, const std::string& detail) {
  throw std::runtime_error("cannot find " + path.string() + detail);
}

fs::path plain_or_gzip(const fs::path& folder, const std::string& name) {
  for (const auto* ending : {"", ".gz"}) {
    fs::path path = folder / (name + ending);
    if (is_file(path)) {
      return path;
    }
  }
  missing(folder / name, " (nor with .gz at its end)");
}

// The folder given, or the one that the official archive unpacks to below it.
fs::path cifar_folder(const fs::path& folder, const char* unpacked) {
  std::error_code error;
  const fs::path below = folder / unpacked;
  return fs::is_directory(below, error) ? below : folder;
}

template <typename Dataset>
ImageSet to_set(const Dataset& dataset) {
  return {dataset.images(), dataset.labels()};
}

TrainTestSets load_fashion_mnist(const fs::path& folder) {
  constexpr std::int64_t kClasses = 10;
  const auto load = [&](const std::string& part) {
    const auto images = plain_or_gzip(folder, part + "-images-idx3-ubyte");
    const auto labels = plain_or_gzip(folder, part + "-labels-idx1-ubyte");
    return to_set(IdxDataset(images, labels, kClasses));
  };
  TrainTestSets sets;
  sets.train = load("train");
  sets.test = load("t10k");
  sets.classes = kClasses;
  return sets;
}

TrainTestSets load_cifar10(const fs::path& given) {
  const fs::path folder = cifar_folder(given, "cifar-10-batches-bin");
  constexpr int kFiles = 5;
  std::vector<fs::path> found;
  std::string absent;
  for (int i = 1; i <= kFiles; ++i) {
    fs::path path = folder / ("data_batch_" + std::to_string(i) + ".bin");
    if (is_file(path)) {
      found.push_back(path);
    } else {
      absent += (absent.empty() ? "" : ", ") + path.filename().string();
    }
  }
  if (found.empty()) {
    missing(folder / "data_batch_1.bin", " (nor data_batch_2 .. 5.bin)");
  }
  const fs::path test = folder / "test_batch.bin";
  if (!is_file(test)) {
    missing(test, "");
  }
  TrainTestSets sets;
  sets.train = to_set(CifarDataset(CifarKind::kCifar10, found));
  sets.test = to_set(CifarDataset(CifarKind::kCifar10, {test}));
  sets.classes = 10;
  if (!absent.empty()) {
    sets.notes.push_back(
        "not in " + folder.string() + ": " + absent + "; the others have " +
        std::to_string(sets.train.size()) + " images");
  }
  return sets;
}

TrainTestSets load_cifar100(const fs::path& given) {
  const fs::path folder = cifar_folder(given, "cifar-100-binary");
  const auto load = [&](const char* name) {
    const fs::path path = folder / name;
    if (!is_file(path)) {
      missing(path, "");
    }
    return to_set(CifarDataset(CifarKind::kCifar100, {path}));
  };
  TrainTestSets sets;
  sets.train = load("train.bin");
  sets.test = load("test.bin");
  sets.classes = 100;
  return sets;
}

TrainTestSets load_by_name(const std::string& name, const fs::path& folder) {
  if (name == "fashion-mnist") {
    return load_fashion_mnist(folder);
  }
  if (name == "cifar10") {
    return load_cifar10(folder);
  }
  if (name == "cifar100") {
    return load_cifar100(folder);
  }
  throw std::invalid_argument(
      "load_sets: the data set must be fashion-mnist, cifar10 or cifar100, "
      "got " +
      name);
}

}  // namespace

TrainTestSets load_sets(const std::string& name, const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    std::string why = " is not a folder";
    if (error && error != std::errc::no_such_file_or_directory) {
      why = ": " + error.message();
    } else if (!fs::exists(folder, error)) {
      why = " does not exist";
      if (name == "fashion-mnist") {
        why += " (Debian's package dataset-fashion-mnist brings one)";
      }
    }
    throw std::runtime_error(
        "cannot find the folder of " + name + ": " + folder.string() + why);
  }
  TrainTestSets sets = load_by_name(name, folder);
  const auto train = sets.train.images.sizes().slice(1);
  const auto test = sets.test.images.sizes().slice(1);
  if (train != test) {
    throw std::runtime_error(
        folder.string() + ": the training images have shape " +
        c10::str(train) + ", the test images " + c10::str(test));
  }
  return sets;
}

}  // namespace stepsize::trainer
