#include "examples/trainer/data/cifar_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>
#include <limits>

#include "sample_files.h"

namespace stepsize::trainer {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string error(CifarKind kind, const std::filesystem::path& path) {
  return message_of([&] { CifarDataset(kind, {path}); });
}

TEST(CifarDataset, ReadsPlanesOfRedGreenAndBlue) {
  const TemporaryFolder folder;
  Bytes record = cifar_record({7}, 0);
  record[1] = 11;                       // red, row 0, column 0
  record[1 + 1024 + 32] = 22;           // green, row 1, column 0
  record[1 + 2048 + 31 * 32 + 5] = 33;  // blue, row 31, column 5
  write_plain(folder / "a.bin", record);
  CifarDataset set(CifarKind::kCifar10, {folder / "a.bin"});
  ASSERT_EQ(set.images().sizes(), torch::IntArrayRef({1, 3, 32, 32}));
  EXPECT_EQ(set.images()[0][0][0][0].item<int>(), 11);
  EXPECT_EQ(set.images()[0][1][1][0].item<int>(), 22);
  EXPECT_EQ(set.images()[0][2][31][5].item<int>(), 33);
  EXPECT_EQ(set.images().sum().item<std::int64_t>(), 66);
  EXPECT_EQ(set.get(0).target.item<std::int64_t>(), 7);
  EXPECT_THROW(set.get(set.size().value()), c10::Error);
  EXPECT_THROW(set.get(std::numeric_limits<std::size_t>::max()), c10::Error);
  EXPECT_FLOAT_EQ(set.get(0).data[0][0][0].item<float>(), 11.0F / 255);
}

TEST(CifarDataset, JoinsFilesInOrder) {
  const TemporaryFolder folder;
  Bytes two = cifar_record({1}, 10);
  const Bytes second = cifar_record({2}, 20);
  two.insert(two.end(), second.begin(), second.end());
  write_plain(folder / "a.bin", two);
  write_gzip(folder / "b.bin", cifar_record({3}, 30));
  const CifarDataset set(
      CifarKind::kCifar10, {folder / "a.bin", folder / "b.bin"});
  EXPECT_EQ(set.size(), 3U);
  EXPECT_TRUE(
      torch::equal(set.labels(), torch::tensor({1, 2, 3}, torch::kInt64)));
  EXPECT_TRUE(torch::equal(
      set.images().select(1, 0).select(1, 0).select(1, 0),
      torch::tensor({10, 20, 30}, torch::kUInt8)));
}

TEST(CifarDataset, Takes100sFineLabelAndKeepsTheCoarse) {
  const TemporaryFolder folder;
  write_plain(folder / "train.bin", cifar_record({19, 99}, 1));
  const CifarDataset set(CifarKind::kCifar100, {folder / "train.bin"});
  EXPECT_EQ(set.labels()[0].item<std::int64_t>(), 99);
  EXPECT_EQ(set.coarse_labels()[0].item<std::int64_t>(), 19);
  EXPECT_EQ(set.images().min().item<int>(), 1);
}

TEST(CifarDataset, RefusesTruncatedFile) {
  const TemporaryFolder folder;
  Bytes record = cifar_record({1}, 0);
  record.pop_back();
  write_plain(folder / "a.bin", record);
  EXPECT_THAT(
      error(CifarKind::kCifar10, folder / "a.bin"),
      AllOf(
          HasSubstr((folder / "a.bin").string()),
          HasSubstr("truncated"),
          HasSubstr("3072 bytes"),
          HasSubstr("3073 bytes")));
}

TEST(CifarDataset, RefusesEmptyFile) {
  const TemporaryFolder folder;
  write_plain(folder / "a.bin", {});
  EXPECT_THAT(
      error(CifarKind::kCifar10, folder / "a.bin"), HasSubstr("is empty"));
}

TEST(CifarDataset, RefusesLabelOutOfRange) {
  const TemporaryFolder folder;
  write_plain(folder / "a.bin", cifar_record({10}, 0));
  EXPECT_THAT(
      error(CifarKind::kCifar10, folder / "a.bin"),
      AllOf(HasSubstr("label of image 0 is 10"), HasSubstr("0 .. 9")));
  write_plain(folder / "b.bin", cifar_record({20, 0}, 0));
  EXPECT_THAT(
      error(CifarKind::kCifar100, folder / "b.bin"), HasSubstr("0 .. 19"));
  write_plain(folder / "c.bin", cifar_record({0, 100}, 0));
  EXPECT_THAT(
      error(CifarKind::kCifar100, folder / "c.bin"), HasSubstr("0 .. 99"));
}

TEST(CifarDataset, RefusesNoFiles) {
  EXPECT_THROW(CifarDataset(CifarKind::kCifar10, {}), std::invalid_argument);
}

}  // namespace
}  // namespace stepsize::trainer
