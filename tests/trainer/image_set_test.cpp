#include "examples/trainer/data/image_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sample_files.h"

namespace stepsize::trainer {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string error(const std::string& name, const std::filesystem::path& path) {
  return message_of([&] { load_sets(name, path); });
}

TEST(LoadSets, FindsFashionMnist) {
  const TemporaryFolder folder;
  write_bars(folder.path(), 20, 10);
  const auto sets = load_sets("fashion-mnist", folder.path());
  EXPECT_EQ(sets.train.size(), 20);
  EXPECT_EQ(sets.test.size(), 10);
  EXPECT_EQ(sets.classes, 10);
  EXPECT_EQ(sets.train.labels[13].item<std::int64_t>(), 3);
}

TEST(LoadSets, TakesTheCifar10BatchesThatAreThereAndNamesTheRest) {
  const TemporaryFolder folder;
  write_plain(folder / "data_batch_4.bin", cifar_record({4}, 0));
  write_plain(folder / "data_batch_2.bin", cifar_record({2}, 0));
  write_plain(folder / "test_batch.bin", cifar_record({9}, 0));
  const auto sets = load_sets("cifar10", folder.path());
  EXPECT_TRUE(
      torch::equal(sets.train.labels, torch::tensor({2, 4}, torch::kInt64)));
  EXPECT_EQ(sets.test.labels[0].item<std::int64_t>(), 9);
  ASSERT_EQ(sets.notes.size(), 1U);
  EXPECT_THAT(
      sets.notes[0],
      AllOf(
          HasSubstr("data_batch_1.bin, data_batch_3.bin, data_batch_5.bin"),
          HasSubstr("2 images"),
          Not(HasSubstr("data_batch_2"))));
}

TEST(LoadSets, FindsTheFolderThatTheArchiveUnpacksTo) {
  const TemporaryFolder folder;
  const auto below = folder / "cifar-100-binary";
  std::filesystem::create_directory(below);
  write_plain(below / "train.bin", cifar_record({0, 55}, 0));
  write_plain(below / "test.bin", cifar_record({0, 56}, 0));
  const auto sets = load_sets("cifar100", folder.path());
  EXPECT_EQ(sets.classes, 100);
  EXPECT_EQ(sets.test.labels[0].item<std::int64_t>(), 56);
}

// Moves the files of write_bars() to other names.
void rename_bars(
    const std::filesystem::path& from,
    const std::filesystem::path& to,
    const std::string& prefix,
    const std::string& test,
    const std::string& images,
    const std::string& labels) {
  std::filesystem::create_directories(to);
  for (const std::string part : {"train", "t10k"}) {
    const std::string stem = prefix + (part == "train" ? part : test);
    std::filesystem::rename(
        from / (part + "-images-idx3-ubyte"), to / (stem + images));
    std::filesystem::rename(
        from / (part + "-labels-idx1-ubyte"), to / (stem + labels));
  }
}

TEST(LoadSets, FindsNamesWithADot) {
  const TemporaryFolder folder;
  write_bars(folder.path(), 20, 10);
  rename_bars(
      folder.path(),
      folder.path(),
      "",
      "t10k",
      "-images.idx3-ubyte",
      "-labels.idx1-ubyte");
  EXPECT_EQ(load_sets("mnist", folder.path()).train.size(), 20);
}

TEST(LoadSets, FindsTorchvisionsFolders) {
  for (const auto& [name, below] :
       {std::pair("fashion-mnist", "FashionMNIST/raw"),
        std::pair("mnist", "MNIST/raw"),
        std::pair("kmnist", "KMNIST/raw"),
        std::pair("kmnist", "KMNIST"),
        std::pair("mnist", "raw")}) {
    const TemporaryFolder folder;
    write_bars(folder / below, 20, 10);
    EXPECT_EQ(load_sets(name, folder.path()).test.size(), 10) << below;
    // The folder itself will do as well.
    EXPECT_EQ(load_sets(name, folder / below).test.size(), 10) << below;
  }
}

TEST(LoadSets, TakesEachOfFourFilesAsItIs) {
  const TemporaryFolder folder;
  write_bars(folder.path(), 20, 10);
  const auto images = folder / "t10k-images-idx3-ubyte";
  write_gzip(folder / "t10k-images-idx3-ubyte.gz", read_bytes(images));
  std::filesystem::remove(images);
  EXPECT_EQ(load_sets("fashion-mnist", folder.path()).test.size(), 10);
}

TEST(LoadSets, ReadsTheLettersOfEmnistUpright) {
  const TemporaryFolder folder;
  const auto below = folder / "EMNIST/raw";
  write_bars(folder.path(), 20, 10);
  const auto bars = load_sets("mnist", folder.path());
  // 1, 2, ... in place of 0, 1, ...
  for (const std::string part : {"train", "t10k"}) {
    const auto path = folder / (part + "-labels-idx1-ubyte");
    auto bytes = read_bytes(path);
    for (auto label = bytes.begin() + 8; label != bytes.end(); ++label) {
      ++*label;
    }
    write_plain(path, bytes);
  }
  rename_bars(
      folder.path(),
      below,
      "emnist-letters-",
      "test",
      "-images-idx3-ubyte",
      "-labels-idx1-ubyte");
  const auto sets = load_sets("emnist-letters", folder.path());
  EXPECT_EQ(sets.classes, 26);
  EXPECT_TRUE(torch::equal(sets.train.labels, bars.train.labels));
  EXPECT_TRUE(torch::equal(
      sets.train.images, bars.train.images.transpose(2, 3).contiguous()));
}

TEST(LoadSets, ReadsQmnistWithLabelsOfBothKinds) {
  const TemporaryFolder folder;
  write_bars(folder.path(), 20, 10);
  rename_bars(
      folder.path(),
      folder.path(),
      "qmnist-",
      "test",
      "-images-idx3-ubyte",
      "-labels-idx1-ubyte");
  EXPECT_EQ(load_sets("qmnist", folder.path()).train.size(), 20);
  Bytes labels(20 * 8 * 4, 0);
  labels[3] = 9;
  write_gzip(
      folder / "qmnist-train-labels-idx2-int.gz", idx(0xc02, {20, 8}, labels));
  const auto sets = load_sets("qmnist", folder.path());
  EXPECT_EQ(sets.train.labels[0].item<std::int64_t>(), 9);
  EXPECT_EQ(sets.train.labels[1].item<std::int64_t>(), 0);
}

TEST(LoadSets, NamesTheOtherSetThatIsThere) {
  const TemporaryFolder folder;
  const auto cifar = folder / "cifar";
  const auto bars = folder / "bars";
  std::filesystem::create_directories(cifar);
  write_plain(cifar / "data_batch_1.bin", cifar_record({3}, 0));
  write_bars(bars, 20, 10);
  const std::string is_cifar = "; it holds the files of cifar10: --dataset ";
  EXPECT_THAT(error("mnist", cifar), HasSubstr(is_cifar + "cifar10"));
  EXPECT_THAT(error("cifar100", cifar), HasSubstr(is_cifar + "cifar10"));
  EXPECT_THAT(
      error("cifar10", bars),
      HasSubstr("; it holds files of fashion-mnist or mnist: --dataset "));
  const auto archive = folder / "archive";
  std::filesystem::create_directories(archive);
  write_plain(archive / "cifar-10-binary.tar.gz", {'x'});
  for (const auto* wanted : {"fashion-mnist", "cifar100"}) {
    EXPECT_THAT(
        error(wanted, archive),
        AllOf(HasSubstr(is_cifar + "cifar10"), Not(HasSubstr("unpack"))));
  }
  const auto packed = folder / "packed";
  std::filesystem::create_directories(packed);
  write_plain(packed / "data_batch_1.bin.xz", {'x'});
  EXPECT_THAT(
      error("cifar10", packed),
      HasSubstr("; data_batch_1.bin.xz is compressed with xz: unpack it with"));
}

TEST(LoadSets, ReadsCifarFilesInGzip) {
  const TemporaryFolder folder;
  write_gzip(folder / "train.bin.gz", cifar_record({0, 55}, 0));
  write_gzip(folder / "test.bin.gz", cifar_record({0, 56}, 0));
  const auto sets = load_sets("cifar100", folder.path());
  EXPECT_EQ(sets.train.labels[0].item<std::int64_t>(), 55);
  EXPECT_EQ(sets.test.labels[0].item<std::int64_t>(), 56);
}

std::string record_text(std::uint8_t label) {
  const Bytes record = cifar_record({label}, label);
  return {record.begin(), record.end()};
}

TEST(LoadSets, ReadsTheArchiveOfCifar) {
  const TemporaryFolder folder;
  const std::string below = "cifar-10-batches-bin/";
  const auto archive = folder / "cifar-10-binary.tar.gz";
  write_gzip(
      archive,
      tar(
          {{below, "", '5'},
           {below + "readme.html", "text"},
           {below + "data_batch_2.bin", record_text(2)},
           {below + "data_batch_1.bin", record_text(1)},
           {below + "test_batch.bin", record_text(9)}}));
  for (const auto& given : {archive, folder.path()}) {
    const auto sets = load_sets("cifar10", given);
    EXPECT_TRUE(
        torch::equal(sets.train.labels, torch::tensor({1, 2}, torch::kInt64)));
    EXPECT_EQ(sets.test.images.max().item<int>(), 9);
    ASSERT_EQ(sets.notes.size(), 1U);
    EXPECT_THAT(sets.notes[0], HasSubstr("data_batch_3.bin"));
  }
}

TEST(LoadSets, NamesMemberAndRuleOfABadArchive) {
  const TemporaryFolder folder;
  const auto archive = folder / "a.tar";
  write_plain(
      archive,
      tar(
          {{"data_batch_1.bin", record_text(10)},
           {"test_batch.bin", record_text(1)}}));
  EXPECT_THAT(
      error("cifar10", archive),
      AllOf(
          HasSubstr(archive.string() + ":data_batch_1.bin"),
          HasSubstr("label of image 0 is 10")));
  write_plain(
      archive,
      tar(
          {{"a/test_batch.bin", record_text(1)},
           {"data_batch_1.bin", record_text(1)},
           {"b/test_batch.bin", record_text(1)}}));
  EXPECT_THAT(
      error("cifar10", archive),
      HasSubstr("has both a/test_batch.bin and b/test_batch.bin"));
  write_plain(archive, {'n', 'o'});
  EXPECT_THAT(
      error("cifar10", archive),
      AllOf(HasSubstr(archive.string()), HasSubstr("not a tar archive")));
}

TEST(LoadSets, SaysHowToGetWhatCannotBeRead) {
  const TemporaryFolder folder;
  const std::string advice = "take the binary version, cifar-10-binary.tar.gz";
  EXPECT_THAT(
      error("cifar10", folder.path()),
      HasSubstr("cifar-10-binary.tar.gz in its place is read as it is"));
  write_plain(folder / "cifar-10-python.tar.gz", {1});
  EXPECT_THAT(
      error("cifar10", folder.path()),
      AllOf(HasSubstr("; cifar-10-python.tar.gz is of"), HasSubstr(advice)));
  std::filesystem::create_directory(folder / "cifar-10-batches-py");
  write_plain(folder / "cifar-10-batches-py/data_batch_1", {1});
  EXPECT_THAT(
      error("cifar10", folder.path()),
      AllOf(
          HasSubstr("; cifar-10-batches-py/data_batch_1 is of"),
          HasSubstr(advice)));
  EXPECT_THAT(
      error("cifar10", folder / "cifar-10-batches-py"), HasSubstr(advice));
  write_plain(folder / "python.tar", tar({{"a/data_batch_1", "pickle"}}));
  EXPECT_THAT(error("cifar10", folder / "python.tar"), HasSubstr(advice));
  EXPECT_THAT(error("mnist", folder.path()), HasSubstr("tar -xf"));
  const auto other = folder / "other";
  std::filesystem::create_directory(other);
  write_plain(other / "mnist.npz", {1});
  EXPECT_THAT(
      error("mnist", other),
      AllOf(HasSubstr("mnist.npz"), HasSubstr("not read here")));
  write_plain(other / "gzip.zip", {1});
  EXPECT_THAT(error("emnist-letters", other), HasSubstr("\n  unzip "));
}

TEST(LoadSets, NamesTheMissingFolder) {
  const TemporaryFolder folder;
  const auto absent = folder / "absent";
  for (const auto* name : {"fashion-mnist", "cifar10", "cifar100"}) {
    EXPECT_THAT(
        error(name, absent),
        AllOf(
            HasSubstr(name),
            HasSubstr(absent.string()),
            HasSubstr("does not exist")));
  }
}

TEST(LoadSets, NamesTheMissingFile) {
  const TemporaryFolder folder;
  EXPECT_THAT(
      error("fashion-mnist", folder.path()),
      HasSubstr((folder / "train-images-idx3-ubyte").string()));
  EXPECT_THAT(
      error("cifar10", folder.path()),
      HasSubstr((folder / "data_batch_1.bin").string()));
  EXPECT_THAT(
      error("cifar100", folder.path()),
      HasSubstr((folder / "train.bin").string()));
  write_plain(folder / "data_batch_1.bin", cifar_record({4}, 0));
  EXPECT_THAT(
      error("cifar10", folder.path()),
      HasSubstr((folder / "test_batch.bin").string()));
}

TEST(LoadSets, RefusesTestImagesOfAnotherShape) {
  const TemporaryFolder folder;
  write_bars(folder.path(), 20, 10);
  write_plain(
      folder / "t10k-images-idx3-ubyte", idx(0x803, {10, 1, 2}, Bytes(20, 0)));
  EXPECT_THAT(
      error("fashion-mnist", folder.path()),
      AllOf(HasSubstr("[1, 14, 14]"), HasSubstr("[1, 1, 2]")));
}

TEST(LoadSets, RefusesUnknownName) {
  const TemporaryFolder folder;
  EXPECT_THAT(
      error("imagenet", folder.path()),
      AllOf(HasSubstr("cifar100, got imagenet"), HasSubstr("emnist-letters")));
}

}  // namespace
}  // namespace stepsize::trainer
