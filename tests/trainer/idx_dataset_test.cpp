#include "examples/trainer/data/idx_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>
#include <limits>

#include "sample_files.h"

namespace stepsize::trainer {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr std::uint32_t kImages = 0x803;
constexpr std::uint32_t kLabels = 0x801;

// Two images of 2 rows and 3 columns.
const Bytes kPixels{0, 51, 102, 153, 204, 255, 6, 7, 8, 9, 10, 11};

class IdxDatasetTest : public testing::Test {
 protected:
  void SetUp() override {
    write_plain(images_, idx(kImages, {2, 2, 3}, kPixels));
    write_plain(labels_, idx(kLabels, {2}, {3, 1}));
  }

  std::string error(std::int64_t classes = 4) const {
    return message_of([&] { IdxDataset(images_, labels_, classes); });
  }

  TemporaryFolder folder_;
  std::filesystem::path images_ = folder_ / "images";
  std::filesystem::path labels_ = folder_ / "labels";
};

TEST_F(IdxDatasetTest, ReadsPixelsAndLabelsInOrder) {
  const IdxDataset set(images_, labels_, 4);
  EXPECT_EQ(set.size(), 2U);
  const auto pixels = torch::tensor(
      std::vector<int>(kPixels.begin(), kPixels.end()), torch::kUInt8);
  EXPECT_TRUE(torch::equal(set.images(), pixels.view({2, 1, 2, 3})));
  EXPECT_TRUE(torch::equal(set.labels(), torch::tensor({3, 1}, torch::kInt64)));
}

TEST_F(IdxDatasetTest, ReadsGzipWhateverItsName) {
  write_gzip(images_, idx(kImages, {2, 2, 3}, kPixels));
  const IdxDataset set(images_, labels_, 4);
  EXPECT_EQ(set.images()[1][0][1][2].item<int>(), 11);
}

TEST_F(IdxDatasetTest, GivesOneImageAsFloatsInUnitRange) {
  IdxDataset set(images_, labels_, 4);
  const auto example = set.get(0);
  EXPECT_THROW(set.get(set.size().value()), c10::Error);
  EXPECT_THROW(set.get(std::numeric_limits<std::size_t>::max()), c10::Error);
  // 51, 102, ... are fifths of 255.
  const auto expected = torch::arange(6, torch::kFloat32).div(5);
  EXPECT_TRUE(torch::allclose(example.data, expected.view({1, 2, 3})));
  EXPECT_EQ(example.target.item<std::int64_t>(), 3);
}

TEST_F(IdxDatasetTest, ServesATorchDataLoader) {
  auto set =
      IdxDataset(images_, labels_, 4).map(torch::data::transforms::Stack<>());
  auto loader =
      torch::data::make_data_loader<torch::data::samplers::SequentialSampler>(
          std::move(set), 2);
  const auto batch = *loader->begin();
  EXPECT_EQ(batch.data.sizes(), torch::IntArrayRef({2, 1, 2, 3}));
  EXPECT_EQ(batch.target[1].item<std::int64_t>(), 1);
}

TEST_F(IdxDatasetTest, RefusesFewerBytesThanPromised) {
  write_plain(images_, idx(kImages, {3, 2, 3}, kPixels));
  EXPECT_THAT(
      error(),
      AllOf(
          HasSubstr(images_.string()),
          HasSubstr("truncated"),
          HasSubstr("12"),
          HasSubstr("18")));
}

TEST_F(IdxDatasetTest, RefusesMoreBytesThanPromised) {
  write_plain(labels_, idx(kLabels, {2}, {3, 1, 1}));
  EXPECT_THAT(
      error(), AllOf(HasSubstr(labels_.string()), HasSubstr("too long")));
}

TEST_F(IdxDatasetTest, RefusesHeaderCutShort) {
  write_plain(images_, {0, 0, 8, 3, 0, 0});
  EXPECT_THAT(error(), HasSubstr("truncated"));
}

TEST_F(IdxDatasetTest, RefusesSizesThatOverflow) {
  write_plain(
      images_, idx(kImages, {0xffffffff, 0xffffffff, 0xffffffff}, kPixels));
  EXPECT_THAT(error(), HasSubstr("truncated"));
}

TEST_F(IdxDatasetTest, RefusesTruncatedGzip) {
  write_gzip(images_, idx(kImages, {2, 2, 3}, kPixels));
  std::filesystem::resize_file(
      images_, std::filesystem::file_size(images_) - 9);
  EXPECT_THAT(
      error(),
      AllOf(
          HasSubstr(images_.string()), HasSubstr("gzip stream is truncated")));
}

TEST_F(IdxDatasetTest, RefusesForeignMagicNumber) {
  write_plain(images_, idx(0x0d03, {2, 2, 3}, kPixels));
  EXPECT_THAT(
      error(),
      AllOf(
          HasSubstr(images_.string()),
          HasSubstr("0x00000d03"),
          HasSubstr("0x00000803")));
}

TEST_F(IdxDatasetTest, RefusesLabelsWhereImagesAreExpected) {
  EXPECT_THAT(
      message_of([&] { IdxDataset(labels_, images_, 4); }),
      AllOf(HasSubstr(labels_.string()), HasSubstr("0x00000801")));
}

TEST_F(IdxDatasetTest, RefusesLabelOutOfRange) {
  EXPECT_THAT(
      error(/*classes=*/3),
      AllOf(
          HasSubstr(labels_.string()),
          HasSubstr("label of image 0 is 3"),
          HasSubstr("0 .. 2")));
}

TEST_F(IdxDatasetTest, RefusesUnequalCounts) {
  write_plain(labels_, idx(kLabels, {3}, {3, 1, 1}));
  EXPECT_THAT(error(), AllOf(HasSubstr("2 images"), HasSubstr("3 labels")));
}

TEST_F(IdxDatasetTest, CountsClassesFromTheFirstLabel) {
  write_plain(labels_, idx(kLabels, {2}, {26, 1}));
  const IdxDataset set(images_, labels_, {26, 1});
  EXPECT_TRUE(
      torch::equal(set.labels(), torch::tensor({25, 0}, torch::kInt64)));
  for (const std::uint8_t beyond : {0, 27}) {
    write_plain(labels_, idx(kLabels, {2}, {26, beyond}));
    EXPECT_THAT(
        message_of([&] {
          IdxDataset(images_, labels_, {26, 1});
        }),
        AllOf(
            HasSubstr("label of image 1 is " + std::to_string(beyond) + ","),
            HasSubstr("1 .. 26")));
  }
}

TEST_F(IdxDatasetTest, TurnsImagesThatLieColumnByColumn) {
  // The file's rows are the columns: 2 columns of 3 pixels each.
  const IdxDataset set(images_, labels_, {4, 0, true});
  ASSERT_EQ(set.images().sizes(), torch::IntArrayRef({2, 1, 3, 2}));
  EXPECT_TRUE(torch::equal(
      set.images()[0][0],
      torch::tensor({0, 153, 51, 204, 102, 255}, torch::kUInt8).view({3, 2})));
  EXPECT_TRUE(set.images().is_contiguous());
}

// As QMNIST has them: eight big-endian integers, the class first.
Bytes int_labels(const std::vector<std::int32_t>& classes) {
  Bytes values;
  for (const std::int32_t label : classes) {
    for (std::uint32_t column = 0; column < 8; ++column) {
      const auto value =
          column == 0 ? static_cast<std::uint32_t>(label) : 70000U + column;
      for (const unsigned shift : {24U, 16U, 8U, 0U}) {
        values.push_back(static_cast<std::uint8_t>(value >> shift & 0xffU));
      }
    }
  }
  return values;
}

constexpr std::uint32_t kIntLabels = 0xc02;

TEST_F(IdxDatasetTest, ReadsLabelsOfEightIntegers) {
  write_plain(labels_, idx(kIntLabels, {2, 8}, int_labels({3, 1})));
  const IdxDataset set(images_, labels_, 4);
  EXPECT_TRUE(torch::equal(set.labels(), torch::tensor({3, 1}, torch::kInt64)));
}

TEST_F(IdxDatasetTest, RefusesLabelsOfIntegersThatAreNone) {
  write_plain(labels_, idx(kIntLabels, {2, 8}, int_labels({3, -1})));
  EXPECT_THAT(error(), HasSubstr("label of image 1 is -1, expected 0 .. 3"));
  write_plain(labels_, idx(kIntLabels, {2, 8}, int_labels({256, 1})));
  EXPECT_THAT(error(), HasSubstr("label of image 0 is 256, expected 0 .. 3"));
  write_plain(labels_, idx(kIntLabels, {2, 4}, int_labels({1})));
  EXPECT_THAT(
      error(), AllOf(HasSubstr("must have 8 numbers"), HasSubstr("has 4")));
  auto cut = int_labels({3, 1});
  cut.pop_back();
  write_plain(labels_, idx(kIntLabels, {2, 8}, cut));
  EXPECT_THAT(
      error(), AllOf(HasSubstr("truncated: 63 bytes"), HasSubstr("64")));
}

TEST_F(IdxDatasetTest, RefusesALayoutOutOfRange) {
  EXPECT_THAT(
      message_of([&] { IdxDataset(images_, labels_, 257); }),
      HasSubstr("classes must be in 1 .. 256, got 257"));
  EXPECT_THAT(
      message_of([&] {
        IdxDataset(images_, labels_, {4, -1});
      }),
      HasSubstr("first_label must be in 0 .. 255, got -1"));
}

TEST_F(IdxDatasetTest, RefusesAFileThatUnpacksToTooMuch) {
  write_gzip(images_, Bytes(100000, 0));
  EXPECT_EQ(read_bytes(images_, 100000).size(), 100000U);
  EXPECT_THAT(
      message_of([&] { read_bytes(images_, 99999); }),
      AllOf(HasSubstr(images_.string()), HasSubstr("more than 99999 bytes")));
}

TEST_F(IdxDatasetTest, RefusesMissingFile) {
  std::filesystem::remove(labels_);
  EXPECT_THAT(
      error(), AllOf(HasSubstr(labels_.string()), HasSubstr("no such file")));
}

}  // namespace
}  // namespace stepsize::trainer
