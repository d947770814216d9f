#include "examples/trainer/data/image_set.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "examples/trainer/data/cifar_dataset.h"
#include "examples/trainer/data/data_files.h"
#include "examples/trainer/data/idx_dataset.h"

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;

// A data set of two pairs of IDX files.
struct IdxSet {
  const char* name;
  const char* root;    // where torchvision has it
  const char* prefix;  // of its files
  const char* test;    // what its test files are called
  IdxLayout layout;
};

const std::vector<IdxSet>& idx_sets() {
  constexpr int kFromOne = 1;
  constexpr bool kTransposed = true;
  static const std::vector<IdxSet> sets{
      {"fashion-mnist", "FashionMNIST", "", "t10k", 10},
      {"mnist", "MNIST", "", "t10k", 10},
      {"kmnist", "KMNIST", "", "t10k", 10},
      {"qmnist", "QMNIST", "qmnist-", "test", 10},
      {"emnist-balanced",
       "EMNIST",
       "emnist-balanced-",
       "test",
       {47, 0, kTransposed}},
      {"emnist-byclass",
       "EMNIST",
       "emnist-byclass-",
       "test",
       {62, 0, kTransposed}},
      {"emnist-bymerge",
       "EMNIST",
       "emnist-bymerge-",
       "test",
       {47, 0, kTransposed}},
      {"emnist-digits",
       "EMNIST",
       "emnist-digits-",
       "test",
       {10, 0, kTransposed}},
      {"emnist-letters",
       "EMNIST",
       "emnist-letters-",
       "test",
       {26, kFromOne, kTransposed}},
      {"emnist-mnist",
       "EMNIST",
       "emnist-mnist-",
       "test",
       {10, 0, kTransposed}}};
  return sets;
}

// A data set of CIFAR's binary files.
struct CifarSet {
  const char* name;
  CifarKind kind;
  std::int64_t classes;
  const char* folder;   // that its archive unpacks to
  const char* archive;  // before .tar.gz
  const char* python;   // the same of the version for Python
  const char* python_folder;
  std::vector<std::string> train;
  std::string test;
};

const std::vector<CifarSet>& cifar_sets() {
  static const std::vector<CifarSet> sets{
      {"cifar10",
       CifarKind::kCifar10,
       10,
       "cifar-10-batches-bin",
       "cifar-10-binary",
       "cifar-10-python",
       "cifar-10-batches-py",
       {"data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin"},
       "test_batch.bin"},
      {"cifar100",
       CifarKind::kCifar100,
       100,
       "cifar-100-binary",
       "cifar-100-binary",
       "cifar-100-python",
       "cifar-100-python",
       {"train.bin"},
       "test.bin"}};
  return sets;
}

template <typename Dataset>
ImageSet to_set(const Dataset& dataset) {
  return {dataset.images(), dataset.labels()};
}

// The names that a file goes by: "train-images-idx3-ubyte" has a dot for its
// second dash on some pages.
std::vector<std::string> idx_names(
    const std::string& part, const std::string& kind) {
  return {part + "-" + kind, part + "." + kind};
}

std::optional<std::string> name_in(
    const DataFiles& files, const std::vector<std::string>& names) {
  const auto found = std::find_if(
      names.begin(), names.end(), [&](const auto& n) { return files.has(n); });
  return found != names.end() ? std::make_optional(*found) : std::nullopt;
}

FileBytes read_any(
    const DataFiles& files, const std::vector<std::string>& names) {
  // Where there is none, the first is named as missing.
  return files.read(name_in(files, names).value_or(names.front()));
}

bool has_any(const DataFiles& files, const CifarSet& set) {
  return files.has(set.test) ||
         std::any_of(set.train.begin(), set.train.end(), [&](const auto& name) {
           return files.has(name);
         });
}

// The archive that a set comes in, where it is in the folder; empty where it is
// not.
fs::path archive_of(const CifarSet& set, const fs::path& folder) {
  for (const auto* ending : {".tar.gz", ".tar"}) {
    const auto archive = folder / (set.archive + std::string(ending));
    if (is_file(archive)) {
      return archive;
    }
  }
  return {};
}

// The data set whose files, or whose archive, are there in the place of those
// wanted: "; it holds the files of cifar10: --dataset cifar10". Empty where
// there is none.
std::string other_set_in(const DataFiles& files) {
  for (const auto& set : cifar_sets()) {
    if (has_any(files, set) ||
        has_any(DataFiles::of_folder(files.path() / set.folder), set) ||
        !archive_of(set, files.path()).empty()) {
      return std::string("; it holds the files of ") + set.name +
             ": --dataset " + set.name;
    }
  }
  for (const auto& set : idx_sets()) {
    const auto wanted =
        idx_names(std::string(set.prefix) + "train-images", "idx3-ubyte");
    if (name_in(files, wanted)) {
      const std::string more = *set.prefix == '\0' ? " or mnist" : "";
      return std::string("; it holds files of ") + set.name + more +
             ": --dataset " + set.name + more;
    }
  }
  return {};
}

// The folder given, or the one below it that torchvision or an archive makes.
DataFiles idx_folder(const IdxSet& set, const fs::path& given) {
  const auto wanted =
      idx_names(std::string(set.prefix) + "train-images", "idx3-ubyte");
  for (const auto& below :
       {fs::path(),
        fs::path("raw"),
        fs::path(set.root) / "raw",
        fs::path(set.root),
        fs::path("gzip")}) {
    auto files = DataFiles::of_folder(below.empty() ? given : given / below);
    if (name_in(files, wanted)) {
      return files;
    }
  }
  const std::string other = other_set_in(DataFiles::of_folder(given));
  throw std::runtime_error(
      "cannot find " + (given / wanted[0]).string() + " (nor " + wanted[1] +
      ", nor one with .gz at its end, nor " + set.root + "/raw below)" +
      (other.empty() ? advice_on(given) : other));
}

TrainTestSets load_idx(const IdxSet& set, const fs::path& given) {
  const DataFiles files = idx_folder(set, given);
  const auto load = [&](const std::string& part) {
    const std::string stem = set.prefix + part;
    auto labels = idx_names(stem + "-labels", "idx1-ubyte");
    if (std::string(set.name) == "qmnist") {
      const auto ints = idx_names(stem + "-labels", "idx2-int");
      labels.insert(labels.begin(), ints.begin(), ints.end());
    }
    return to_set(IdxDataset(
        read_any(files, idx_names(stem + "-images", "idx3-ubyte")),
        read_any(files, labels),
        set.layout));
  };
  TrainTestSets sets;
  sets.train = load("train");
  sets.test = load(set.test);
  sets.classes = set.layout.classes;
  return sets;
}

// What stands where a set's file does not: the version for Python, in pickles,
// which run code as they are read.
std::string python_advice(const CifarSet& set, const DataFiles& files) {
  const std::string& first = set.train.front();
  const std::string pickle = first.substr(0, first.find('.'));
  const std::string archive = std::string(set.python) + ".tar.gz";
  const std::string binary = set.archive + std::string(".tar.gz");
  std::string found;
  if (files.has(pickle)) {
    found = pickle;
  } else if (is_file(files.path() / set.python_folder / pickle)) {
    found = set.python_folder + ("/" + pickle);
  } else if (is_file(files.path() / archive)) {
    found = archive;
  } else {
    const std::string other = other_set_in(files);
    return !other.empty() ? other
                          : "; " + binary + " in its place is read as it is" +
                                advice_on(files.path());
  }
  return "; " + found +
         " is of the version for Python, whose pickles only Python reads: take "
         "the binary version, " +
         binary + ", from the same page; it is read as it is";
}

DataFiles cifar_files(const CifarSet& set, const fs::path& given) {
  if (is_file(given)) {
    return DataFiles::of_archive(given);
  }
  for (const auto& folder : {given / set.folder, given}) {
    auto files = DataFiles::of_folder(folder);
    if (has_any(files, set)) {
      return files;
    }
  }
  if (const auto archive = archive_of(set, given); !archive.empty()) {
    return DataFiles::of_archive(archive);
  }
  throw std::runtime_error(
      "cannot find " + (given / set.train.front()).string() +
      " (nor with .gz at its end, nor in " + set.folder + " below)" +
      python_advice(set, DataFiles::of_folder(given)));
}

TrainTestSets load_cifar(const CifarSet& set, const fs::path& given) {
  const DataFiles files = cifar_files(set, given);
  std::vector<torch::Tensor> images;
  std::vector<torch::Tensor> labels;
  std::string absent;
  for (const auto& name : set.train) {
    if (files.has(name)) {
      const CifarDataset part(set.kind, files.read(name));
      images.push_back(part.images());
      labels.push_back(part.labels());
    } else {
      absent += (absent.empty() ? "" : ", ") + name;
    }
  }
  if (images.empty()) {
    throw std::runtime_error(
        "cannot find " + (files.path() / set.train.front()).string() +
        python_advice(set, files));
  }
  TrainTestSets sets;
  sets.train = {torch::cat(images), torch::cat(labels)};
  sets.test = to_set(CifarDataset(set.kind, files.read(set.test)));
  sets.classes = set.classes;
  if (!absent.empty()) {
    sets.notes.push_back(
        "not in " + files.path().string() + ": " + absent +
        "; the others have " + std::to_string(sets.train.size()) + " images");
  }
  return sets;
}

template <typename Set>
const Set* find_set(const std::vector<Set>& sets, const std::string& name) {
  const auto found =
      std::find_if(sets.begin(), sets.end(), [&](const Set& set) {
        return set.name == name;
      });
  return found != sets.end() ? &*found : nullptr;
}

// An archive is a folder to the sets that are read from one.
void check_place(
    const std::string& name, const fs::path& folder, bool takes_archives) {
  if (is_folder(folder) || (takes_archives && is_file(folder))) {
    return;
  }
  std::error_code error;
  std::string why = " is not a folder";
  if (!fs::exists(folder, error)) {
    why = error ? ": " + error.message() : " does not exist";
    if (!error && name == "fashion-mnist") {
      why += " (Debian's package dataset-fashion-mnist brings one)";
    }
  }
  throw std::runtime_error(
      "cannot find the folder of " + name + ": " + folder.string() + why);
}

}  // namespace

std::vector<std::string> image_set_names() {
  std::vector<std::string> names;
  for (const auto& set : idx_sets()) {
    names.emplace_back(set.name);
  }
  for (const auto& set : cifar_sets()) {
    names.emplace_back(set.name);
  }
  return names;
}

TrainTestSets load_sets(const std::string& name, const fs::path& folder) {
  const auto* idx = find_set(idx_sets(), name);
  const auto* cifar = find_set(cifar_sets(), name);
  if (idx == nullptr && cifar == nullptr) {
    std::string all;
    for (const auto& known : image_set_names()) {
      all += (all.empty() ? "" : ", ") + known;
    }
    throw std::invalid_argument(
        "load_sets: the data set must be one of " + all + ", got " + name);
  }
  check_place(name, folder, cifar != nullptr);
  TrainTestSets sets =
      idx != nullptr ? load_idx(*idx, folder) : load_cifar(*cifar, folder);
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
