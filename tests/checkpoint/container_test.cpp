#include "csrc/checkpoint/container.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

namespace stepsize {
namespace {

using detail::CheckpointHead;

CheckpointHead some_head() {
  CheckpointHead head;
  head.format = detail::kCheckpointFormat;
  head.index_size = 3;
  head.data_size = 0x0102030405;
  head.index_crc = 0x0A0B0C0D;
  head.data_crc = 0xFFFFFFFF;
  head.torch_version = "2.6.0";
  return head;
}

uint64_t size_of_file(const CheckpointHead& head) {
  return detail::checkpoint_head_size(head) + head.index_size + head.data_size;
}

std::string fault_of(const std::string& bytes, uint64_t file_size) {
  CheckpointHead head;
  return detail::read_checkpoint_head(
      bytes.data(), bytes.size(), file_size, head);
}

// The checksum at the end made right again.
std::string sealed(std::string bytes) {
  bytes.resize(bytes.size() - 4);
  const uint32_t crc = detail::checkpoint_crc(0, bytes.data(), bytes.size());
  for (int i = 0; i < 4; ++i) {
    bytes.push_back(static_cast<char>((crc >> (8 * i)) & 0xFF));
  }
  return bytes;
}

TEST(CheckpointContainer, CrcIsThatOfIso3309) {
  // The check value of the standard: CRC-32 of the nine digits.
  EXPECT_EQ(detail::checkpoint_crc(0, "123456789", 9), 0xCBF43926U);
  const uint32_t part = detail::checkpoint_crc(0, "1234", 4);
  EXPECT_EQ(detail::checkpoint_crc(part, "56789", 5), 0xCBF43926U);
}

TEST(CheckpointContainer, HeadIsLaidOutAsDocumented) {
  const std::string bytes = checkpoint_head_bytes(some_head());
  ASSERT_EQ(bytes.size(), 49U);
  const std::string expected(
      "\x89SSZ\r\n\x1A\n"                 // magic
      "\x01\0\0\0"                        // format
      "\x31\0\0\0"                        // size of the head
      "\x03\0\0\0\0\0\0\0"                // of the index
      "\x05\x04\x03\x02\x01\0\0\0"        // of the data
      "\x0D\x0C\x0B\x0A\xFF\xFF\xFF\xFF"  // checksums
      "2.6.0",
      45);
  EXPECT_EQ(bytes.substr(0, 45), expected);
}

TEST(CheckpointContainer, HeadComesBack) {
  const CheckpointHead written = some_head();
  const std::string bytes = checkpoint_head_bytes(written);
  CheckpointHead read;
  EXPECT_EQ(
      detail::read_checkpoint_head(
          bytes.data(), bytes.size(), size_of_file(written), read),
      "");
  EXPECT_EQ(read.format, written.format);
  EXPECT_EQ(read.index_size, written.index_size);
  EXPECT_EQ(read.data_size, written.data_size);
  EXPECT_EQ(read.index_crc, written.index_crc);
  EXPECT_EQ(read.data_crc, written.data_crc);
  EXPECT_EQ(read.torch_version, written.torch_version);
}

TEST(CheckpointContainer, RefusesEveryFlippedBitOfTheHead) {
  const std::string bytes = checkpoint_head_bytes(some_head());
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] =
        static_cast<char>(damaged[bit / 8] ^ (1 << static_cast<int>(bit % 8)));
    EXPECT_NE(fault_of(damaged, size_of_file(some_head())), "") << bit;
  }
}

TEST(CheckpointContainer, SaysWhatIsWrong) {
  const std::string bytes = checkpoint_head_bytes(some_head());
  const uint64_t size = size_of_file(some_head());
  EXPECT_EQ(fault_of("", 0), "is empty");
  EXPECT_EQ(fault_of(bytes.substr(0, 5), 5), "is cut off within its head");
  EXPECT_EQ(fault_of(bytes.substr(0, 20), 20), "is cut off within its head");
  EXPECT_EQ(fault_of("hello, world", 12), "is no checkpoint of stepsize");
  EXPECT_EQ(
      fault_of("\x89PNG\r\n\x1A\n and more", 17),
      "is no checkpoint of stepsize");
  EXPECT_EQ(fault_of(bytes, size - 1), "is cut off: 1 bytes are missing");
  EXPECT_EQ(fault_of(bytes, size + 7), "is damaged: 7 bytes follow its end");
  // What git, ftp and mail do to line ends.
  std::string as_text = bytes;
  as_text.erase(4, 1);
  EXPECT_EQ(
      fault_of(as_text, size), "was damaged, perhaps by a transfer as text");
}

TEST(CheckpointContainer, TellsANewerFormatFromDamage) {
  std::string newer = checkpoint_head_bytes(some_head());
  newer[8] = 2;
  EXPECT_EQ(
      fault_of(newer, size_of_file(some_head())),
      "is damaged: the checksum of its head is wrong");
  EXPECT_EQ(
      fault_of(sealed(newer), size_of_file(some_head())),
      "is of format 2, this version of stepsize reads format 1");
}

// Only as much of the head is at hand as one of this format has.
TEST(CheckpointContainer, TellsANewerFormatOfALongerHead) {
  std::string newer = checkpoint_head_bytes(some_head());
  newer[8] = 2;
  newer[12] = 0x2C;  // 300 bytes
  newer[13] = 0x01;
  newer.resize(300);
  newer = sealed(newer);
  const std::string wanted =
      "is of format 2, this version of stepsize reads format 1";
  EXPECT_EQ(fault_of(newer, 1000), wanted);
  EXPECT_EQ(fault_of(newer.substr(0, detail::kMostHeadSize), 1000), wanted);
  EXPECT_EQ(fault_of(newer.substr(0, 256), 256), "is cut off within its head");
  newer[100] = 1;
  EXPECT_EQ(
      fault_of(newer, 1000), "is damaged: the checksum of its head is wrong");
}

TEST(CheckpointContainer, RefusesSizesThatOverflow) {
  CheckpointHead head = some_head();
  head.index_size = std::numeric_limits<uint64_t>::max();
  head.data_size = 4;
  const std::string bytes = checkpoint_head_bytes(head);
  EXPECT_EQ(fault_of(bytes, 1000), "is damaged: its sizes cannot be");
  for (const unsigned char size : {0x00, 0x13, 0x14, 0x2B, 0xFF}) {
    std::string other = checkpoint_head_bytes(some_head());
    other[12] = static_cast<char>(size);
    EXPECT_NE(fault_of(sealed(other), size_of_file(some_head())), "");
  }
}

TEST(CheckpointContainer, CutsALongVersion) {
  CheckpointHead head = some_head();
  head.torch_version.assign(1000, 'x');
  const std::string bytes = checkpoint_head_bytes(head);
  EXPECT_EQ(bytes.size(), detail::kMostHeadSize);
  EXPECT_EQ(fault_of(bytes, size_of_file(head)), "");
}

}  // namespace
}  // namespace stepsize
