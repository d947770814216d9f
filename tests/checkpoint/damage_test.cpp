#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/checkpoint/checkpoint_info.h>
#include <torch/serialize.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "csrc/checkpoint/container.h"
#include "tests/checkpoint/small_run.h"
#include "tests/checkpoint/temporary_folder.h"
#include "tests/support/error_text.h"

namespace stepsize {
namespace {

using test::message_of;
using test::SmallRun;

class CheckpointDamageTest : public testing::Test {
 protected:
  CheckpointDamageTest() : path(folder.file("run.ckpt")), target(5) {
    SmallRun source(3);
    save_checkpoint(path, source.checkpoint());
    bytes = test::read_bytes(path);
    target.adam.param_groups()[0].options().set_lr(0.123);
  }

  // What a load of these bytes says. It may change nothing.
  std::string refusal_of(const std::string& content) {
    test::write_bytes(path, content);
    Checkpoint checkpoint = target.checkpoint();
    checkpoint.values()["kept"] = "yes";
    const std::string before = target.bits();
    const std::string message =
        message_of([&] { load_checkpoint(path, checkpoint); });
    EXPECT_TRUE(target.bits() == before) << message;
    EXPECT_EQ(checkpoint.values().at("kept"), "yes");
    return message;
  }

  std::string expected(const std::string& what) const {
    return "load_checkpoint: " + path + ": the file " + what;
  }

  test::TemporaryFolder folder;
  std::string path;
  std::string bytes;
  SmallRun target;
};

TEST_F(CheckpointDamageTest, UndamagedBytesLoad) {
  Checkpoint checkpoint = target.checkpoint();
  load_checkpoint(path, checkpoint);
  EXPECT_EQ(target.step, 3);
}

TEST_F(CheckpointDamageTest, RefusesTruncationAtEveryLength) {
  std::mt19937_64 random(1);
  std::vector<std::size_t> lengths = {0, 1, 7, 8, 15, 16, 43, 44, 45, 49, 50};
  lengths.push_back(bytes.size() - 1);
  while (lengths.size() < 64) lengths.push_back(random() % bytes.size());
  for (const std::size_t length : lengths) {
    const std::string message = refusal_of(bytes.substr(0, length));
    const std::string wanted = length == 0 ? "is empty" : "is cut off";
    EXPECT_EQ(message.rfind(expected(wanted), 0), 0U) << length << message;
  }
}

TEST_F(CheckpointDamageTest, VerifyFindsWhatALoadWouldFind) {
  const CheckpointInfo info = verify_checkpoint(path);
  EXPECT_EQ(info.counters.at("step"), 3);
  EXPECT_EQ(info.file_size, static_cast<int64_t>(bytes.size()));
  std::mt19937_64 random(6);
  const std::string start = "verify_checkpoint: " + path + ": the file ";
  for (int i = 0; i < 100; ++i) {
    std::string damaged = bytes;
    char& byte = damaged[random() % bytes.size()];
    byte = static_cast<char>(byte ^ (1 << (random() % 8)));
    test::write_bytes(path, damaged);
    const std::string message = message_of([&] { verify_checkpoint(path); });
    EXPECT_EQ(message.rfind(start, 0), 0U) << message;
  }
  // The last byte is of the data, of which the description knows the length.
  std::string damaged = bytes;
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  test::write_bytes(path, damaged);
  EXPECT_EQ(read_checkpoint_info(path).counters.at("step"), 3);
  EXPECT_EQ(
      message_of([&] { verify_checkpoint(path); }),
      start + "is damaged: the checksum of its data is wrong");
}

TEST_F(CheckpointDamageTest, RefusesEveryFlippedBit) {
  std::mt19937_64 random(2);
  int64_t refused = 0;
  for (int i = 0; i < 500; ++i) {
    std::string damaged = bytes;
    char& byte = damaged[random() % bytes.size()];
    byte = static_cast<char>(byte ^ (1 << (random() % 8)));
    const std::string message = refusal_of(damaged);
    if (message.rfind(expected(""), 0) == 0) ++refused;
  }
  EXPECT_EQ(refused, 500);
}

TEST_F(CheckpointDamageTest, RefusesForeignFiles) {
  const std::string foreign = expected("is no checkpoint of stepsize");
  EXPECT_EQ(refusal_of("step,loss\n1,0.5\n"), foreign);
  EXPECT_EQ(refusal_of("PK\x03\x04 and so on, as a zip begins"), foreign);
  EXPECT_EQ(refusal_of("\x89PNG\r\n\x1A\n, as a picture begins"), foreign);
  EXPECT_EQ(refusal_of(test::saved(torch::ones({3}))), foreign);
  EXPECT_EQ(refusal_of(std::string(100000, '\0')), foreign);
}

TEST_F(CheckpointDamageTest, RefusesTrailingBytes) {
  EXPECT_EQ(
      refusal_of(bytes + "more"),
      expected("is damaged: 4 bytes follow its end"));
}

// The file with another format, every checksum right.
TEST_F(CheckpointDamageTest, RefusesANewerFormat) {
  detail::CheckpointHead head;
  ASSERT_EQ(
      detail::read_checkpoint_head(
          bytes.data(), bytes.size(), bytes.size(), head),
      "");
  const std::size_t size = detail::checkpoint_head_size(head);
  ++head.format;
  EXPECT_EQ(
      refusal_of(detail::checkpoint_head_bytes(head) + bytes.substr(size)),
      expected("is of format 2, this version of stepsize reads format 1"));
}

// The index of one file before the data of another, every checksum right.
TEST_F(CheckpointDamageTest, RefusesAnArchiveThatIsNone) {
  detail::CheckpointHead head;
  detail::read_checkpoint_head(bytes.data(), bytes.size(), bytes.size(), head);
  const auto index_size = static_cast<std::size_t>(head.index_size);
  const std::string index =
      bytes.substr(detail::checkpoint_head_size(head), index_size);
  const std::string data = "no archive at all";
  head.data_size = data.size();
  head.data_crc = detail::checkpoint_crc(0, data.data(), data.size());
  const std::string message =
      refusal_of(detail::checkpoint_head_bytes(head) + index + data);
  EXPECT_EQ(
      message.rfind(expected("has data that LibTorch cannot read: "), 0), 0U)
      << message;
}

TEST_F(CheckpointDamageTest, RefusesAFolderAndAMissingFile) {
  Checkpoint checkpoint = target.checkpoint();
  EXPECT_EQ(
      message_of([&] { load_checkpoint(folder.path(), checkpoint); }),
      "load_checkpoint: " + folder.path() + ": is no regular file");
  const std::string missing = folder.file("missing.ckpt");
  EXPECT_EQ(
      message_of([&] { load_checkpoint(missing, checkpoint); }),
      "load_checkpoint: " + missing +
          ": cannot be read: No such file or directory");
  EXPECT_EQ(
      message_of([&] { load_checkpoint("", checkpoint); }),
      "load_checkpoint: the path is empty");
  EXPECT_EQ(
      message_of([&] { read_checkpoint_info(missing); }),
      "read_checkpoint_info: " + missing +
          ": cannot be read: No such file or directory");
}

}  // namespace
}  // namespace stepsize
