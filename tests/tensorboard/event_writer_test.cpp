#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/tensorboard/event_writer.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "csrc/tensorboard/record.h"

namespace stepsize {
namespace {

namespace fs = std::filesystem;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <typename Error, typename Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

class EventWriterTest : public testing::Test {
 protected:
  EventWriterTest() {
    std::string name =
        (fs::temp_directory_path() / "stepsize-events-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw std::runtime_error("no temporary folder");
    }
    folder = name;
  }
  ~EventWriterTest() override {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }

  std::string folder;
};

// RFC 3720, B.4, and the check value of the catalogue of CRCs.
TEST(Crc32c, FindsTheSumsOfTheStandard) {
  std::string ascending(32, '\0');
  for (std::size_t i = 0; i < 32; ++i) ascending[i] = static_cast<char>(i);
  EXPECT_EQ(tensorboard::crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(tensorboard::crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  EXPECT_EQ(tensorboard::crc32c(ascending), 0x46dd794eU);
  EXPECT_EQ(tensorboard::crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(tensorboard::crc32c(""), 0U);
}

// Of no bytes: the sum is 0, and what stands there is the constant.
TEST(Record, FramesTheBytes) {
  const std::string record = tensorboard::record_of("");
  ASSERT_EQ(record.size(), 16U);
  EXPECT_EQ(record.substr(0, 8), std::string(8, '\0'));
  EXPECT_EQ(record.substr(12), "\xd8\xea\x82\xa2");
  EXPECT_EQ(tensorboard::record_of("abc").substr(12, 3), "abc");
}

TEST_F(EventWriterTest, NamesTheFileAsTensorBoardLooksForIt) {
  const EventWriter events((fs::path(folder) / "new" / "run").string());
  const std::string name = fs::path(events.path()).filename().string();
  EXPECT_THAT(
      name,
      testing::MatchesRegex(
          "events\\.out\\.tfevents\\.[0-9]+\\.stepsize\\.[0-9]+\\.[0-9]+"));
}

// Readers take the files of a folder in the order of their names.
TEST_F(EventWriterTest, ANewFileComesAfterThoseThatAreThere) {
  std::vector<std::string> paths;
  for (int i = 0; i < 12; ++i) paths.push_back(EventWriter(folder).path());
  EXPECT_TRUE(std::is_sorted(paths.begin(), paths.end()));
  const std::string later = folder + "/events.out.tfevents.4000000000.a.1.0";
  std::ofstream(later) << "";
  std::ofstream(folder + "/events.out.tfevents.x") << "";
  EXPECT_GT(EventWriter(folder).path(), later);
}

TEST_F(EventWriterTest, AnEventIsInTheFileWhenTheCallReturns) {
  EventWriter events(folder);
  const auto before = fs::file_size(events.path());
  events.scalar("loss", 1, 0.5);
  const std::string bytes = read_bytes(events.path());
  EXPECT_GT(bytes.size(), before);
  // The float 0.5 stands at the end, before the sum of four bytes.
  EXPECT_EQ(bytes.substr(bytes.size() - 9, 5), std::string("\x15\0\0\0?", 5));
}

TEST_F(EventWriterTest, RefusesBadArgumentsAndWritesNothing) {
  EventWriter events(folder);
  const std::string before = read_bytes(events.path());
  const auto refusal = [](const auto& call) {
    return message_of<std::invalid_argument>(call);
  };
  EXPECT_EQ(
      refusal([&] { events.scalar("", 1, 0); }),
      "EventWriter: tag must be UTF-8 and not empty, got ''");
  for (const char* tag :
       {"\xff",
        "\xc3",
        "\xc0\x80",
        "\xe0\x80\x80",
        "\xed\xa0\x80",
        "\xf4\x90\x80\x80",
        "a\x80"}) {
    EXPECT_THAT(refusal([&] { events.text(tag, 1, "x"); }), HasSubstr("UTF-8"));
  }
  EXPECT_EQ(
      refusal([&] { events.scalar("a", -1, 0); }),
      "EventWriter: step must be >= 0, got -1");
  EXPECT_EQ(
      refusal([&] { events.png("a", 1, "GIF89a"); }),
      "EventWriter: png: the bytes must be those of a PNG file");
  EXPECT_EQ(
      refusal([] { EventWriter(""); }),
      "EventWriter: folder must not be empty");
  EXPECT_EQ(
      refusal([&] { EventWriter(folder, -1); }),
      "EventWriter: purge_step must be >= 0, got -1");
  EXPECT_EQ(read_bytes(events.path()), before);
  events.scalar("\xc3\xbc \xe2\x82\xac \xf0\x9d\x84\x9e", 1, 0);
  EXPECT_GT(read_bytes(events.path()).size(), before.size());
}

TEST_F(EventWriterTest, RefusesAPictureThatIsNoSvg) {
  EventWriter events(folder);
  const auto call = [&] { events.svg("a", 1, "<svg"); };
  if (EventWriter::draws_svg()) {
    EXPECT_THAT(
        message_of<std::invalid_argument>(call),
        AllOf(
            StartsWith("EventWriter: the SVG cannot be"), Not(EndsWith("\n"))));
  } else {
    EXPECT_THAT(message_of<std::runtime_error>(call), HasSubstr("librsvg"));
  }
}

// A reader gives the tag up for one such byte.
TEST_F(EventWriterTest, ReplacesBytesOfATextThatAreNoUtf8) {
  EventWriter events(folder);
  events.text("note", 1, "d\xe9 \xe2\x82 \xc3\xbc");
  const std::string bytes = read_bytes(events.path());
  EXPECT_THAT(
      bytes, HasSubstr("d\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd \xc3\xbc"));
}

TEST_F(EventWriterTest, AFileThatIsGoneIsAnError) {
  EventWriter events(folder);
  fs::remove_all(folder);
  const std::string message =
      message_of<std::runtime_error>([&] { events.scalar("loss", 1, 0.5); });
  EXPECT_THAT(message, HasSubstr(events.path()));
  EXPECT_THAT(message, HasSubstr("No such file"));
}

TEST_F(EventWriterTest, NamesAFolderThatCannotBe) {
  std::ofstream(folder + "/file") << "";
  EXPECT_THAT(
      message_of<std::runtime_error>([&] { EventWriter(folder + "/file/in"); }),
      testing::AllOf(HasSubstr("cannot make"), HasSubstr("Not a directory")));
}

// A limit on the size of files is the full disk that a test can have.
template <typename Call>
std::string message_with_room_for(std::size_t bytes, const Call& call) {
  rlimit limit{};
  EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = limit;
  small.rlim_cur = bytes;
  EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message = message_of<std::runtime_error>(call);
  EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::signal(SIGXFSZ, handler);
  return message;
}

TEST_F(EventWriterTest, LeavesNoFileWhereTheFirstEventDoesNotFit) {
  const std::string message =
      message_with_room_for(10, [&] { EventWriter events(folder); });
  EXPECT_THAT(message, HasSubstr("File too large"));
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST_F(EventWriterTest, TakesBackAnEventThatDoesNotFit) {
  EventWriter events(folder);
  events.scalar("loss", 1, 0.5);
  const std::string before = read_bytes(events.path());
  const std::string message = message_with_room_for(before.size() + 100, [&] {
    events.text("note", 2, std::string(1000, 'x'));
  });
  EXPECT_THAT(message, HasSubstr(events.path()));
  EXPECT_THAT(message, HasSubstr("File too large"));
  EXPECT_EQ(read_bytes(events.path()), before);
  events.scalar("loss", 1, 0.5);
  EXPECT_GT(read_bytes(events.path()).size(), before.size());
}

}  // namespace
}  // namespace stepsize
