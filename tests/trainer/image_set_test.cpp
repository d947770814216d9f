#include "examples/trainer/image_set.h"

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
      AllOf(HasSubstr("[1, 28, 28]"), HasSubstr("[1, 1, 2]")));
}

TEST(LoadSets, RefusesUnknownName) {
  const TemporaryFolder folder;
  EXPECT_THAT(error("mnist", folder.path()), HasSubstr("mnist"));
}

}  // namespace
}  // namespace stepsize::trainer
