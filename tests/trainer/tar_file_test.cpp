#include "examples/trainer/data/tar_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "sample_files.h"

namespace stepsize::trainer {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Bytes two_files() {
  return tar({{"d/", "", '5'}, {"d/a", "hello"}, {"b", std::string(600, 'x')}});
}

std::vector<TarMember> members(const Bytes& bytes) {
  return tar_members({"a.tar", bytes});
}

std::string error(const Bytes& bytes) {
  return message_of([&] { members(bytes); });
}

std::string text_of(const FileBytes& file) {
  return {file.bytes.begin(), file.bytes.end()};
}

TEST(TarFile, FindsRegularFilesInOrder) {
  const FileBytes archive("a.tar", two_files());
  const auto found = tar_members(archive);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].name, "d/a");
  EXPECT_EQ(text_of(extract(archive, found[0])), "hello");
  EXPECT_EQ(found[1].name, "b");
  EXPECT_EQ(text_of(extract(archive, found[1])), std::string(600, 'x'));
  EXPECT_EQ(extract(archive, found[1]).path, "a.tar:b");
}

// What tar itself writes, a pax header before each file included.
TEST(TarFile, ReadsWhatTarWrites) {
  const TemporaryFolder folder;
  write_plain(folder / "one", {'1'});
  write_plain(folder / "two", Bytes(1000, '2'));
  for (const std::string format : {"ustar", "gnu", "pax", "v7"}) {
    const auto path = folder / (format + ".tar");
    const std::string command = "tar --format=" + format + " -cf '" +
                                path.string() + "' -C '" +
                                folder.path().string() + "' one two";
    ASSERT_EQ(std::system(command.c_str()), 0);
    const FileBytes archive(path, read_bytes(path));
    const auto found = tar_members(archive);
    ASSERT_EQ(found.size(), 2U) << format;
    EXPECT_EQ(found[0].name, "one");
    EXPECT_EQ(text_of(extract(archive, found[0])), "1");
    EXPECT_EQ(text_of(extract(archive, found[1])), std::string(1000, '2'));
  }
}

TEST(TarFile, PassesOverLinks) {
  const auto found = members(tar({{"l", "", '2'}, {"h", "", '1'}, {"a", "1"}}));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].name, "a");
}

TEST(TarFile, RefusesForeignBytes) {
  EXPECT_THAT(
      error({'P', 'K'}), AllOf(HasSubstr("a.tar"), HasSubstr("not a tar")));
  EXPECT_THAT(error(Bytes(1024, 7)), HasSubstr("octal"));
}

TEST(TarFile, RefusesAHeaderThatIsDamaged) {
  Bytes bytes = two_files();
  bytes[0] ^= 1U;
  EXPECT_THAT(
      error(bytes),
      AllOf(HasSubstr("checksum"), HasSubstr("damaged"), HasSubstr("byte 0")));
}

TEST(TarFile, RefusesAFileCutShortAtAnyPlace) {
  const Bytes bytes = two_files();
  // One block of zeros is enough to be the end.
  for (std::size_t size = 0; size < bytes.size() - 512; size += 64) {
    const auto end = bytes.begin() + static_cast<std::ptrdiff_t>(size);
    EXPECT_NE(error(Bytes(bytes.begin(), end)), "") << size;
  }
  EXPECT_THAT(
      error(Bytes(bytes.begin(), bytes.begin() + 1500)),
      AllOf(HasSubstr("truncated"), HasSubstr("byte ")));
}

TEST(TarFile, RefusesASizeBeyondTheFile) {
  Bytes bytes = tar({{"a", "hello"}});
  const std::string size = "77777777777";
  std::copy(size.begin(), size.end(), bytes.begin() + 124);
  set_tar_sum(bytes, 0);
  EXPECT_THAT(
      error(bytes),
      AllOf(HasSubstr("truncated"), HasSubstr("a has 8589934591 bytes")));
  bytes[124] = 0x80;  // GNU's way to write 8 GiB and more
  set_tar_sum(bytes, 0);
  EXPECT_THAT(error(bytes), HasSubstr("size in a tar header is no octal"));
}

TEST(TarFile, RefusesTooManyEntries) {
  Bytes bytes;
  const Bytes one = tar({{"a", ""}});
  for (int i = 0; i < 10001; ++i) {
    bytes.insert(bytes.end(), one.begin(), one.begin() + 512);
  }
  bytes.insert(bytes.end(), 1024, 0);
  EXPECT_THAT(error(bytes), HasSubstr("more than 10000 entries"));
}

}  // namespace
}  // namespace stepsize::trainer
