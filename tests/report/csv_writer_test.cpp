#include <stepsize/report/csv_writer.h>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>

namespace stepsize {
namespace {

using Columns = std::vector<std::string>;

class CsvWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = (std::filesystem::temp_directory_path() /
             ("csv_writer_" + std::string(test->name()) + "_" +
              std::to_string(::getpid()) + ".csv"))
                .string();
    std::filesystem::remove(path_);
  }

  void TearDown() override { std::filesystem::remove(path_); }

  std::string content() const {
    std::ifstream file(path_, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }

  void set_content(const std::string& text) const {
    std::ofstream(path_, std::ios::binary) << text;
  }

  template <typename Exception, typename Call>
  static std::string message_of(const Call& call) {
    try {
      call();
    } catch (const Exception& error) {
      return error.what();
    }
    return "nothing was thrown";
  }

  std::string path_;
};

TEST_F(CsvWriterTest, WritesHeaderAndRowsAtOnce) {
  CsvWriter csv(path_, {"step", "loss", "note"});
  EXPECT_EQ(content(), "step,loss,note\n");
  csv.row({int64_t{1}, 0.25, std::nullopt});
  EXPECT_EQ(content(), "step,loss,note\n1,0.25,\n");
  csv.row({2, 1e-9, "a, \"b\""});
  EXPECT_EQ(content(), "step,loss,note\n1,0.25,\n2,1e-09,\"a, \"\"b\"\"\"\n");
}

TEST_F(CsvWriterTest, TruncateStartsAnew) {
  set_content("old\n1\n");
  CsvWriter csv(path_, {"new"});
  EXPECT_EQ(content(), "new\n");
}

TEST_F(CsvWriterTest, LoneEmptyCellIsNotAnEmptyLine) {
  CsvWriter csv(path_, {"a"});
  csv.row({std::nullopt});
  EXPECT_EQ(content(), "a\n\"\"\n");
}

TEST_F(CsvWriterTest, RefusesRowOfOtherLength) {
  CsvWriter csv(path_, {"a", "b", "c", "d"});
  EXPECT_EQ(
      message_of<std::invalid_argument>([&] {
        csv.row({1, 2, 3});
      }),
      "CsvWriter: row has 3 values, expected 4 (the columns)");
  EXPECT_EQ(content(), "a,b,c,d\n");
}

TEST_F(CsvWriterTest, BadColumnsLeaveTheFileAlone) {
  set_content("old\n");
  EXPECT_THROW(CsvWriter(path_, {}), std::invalid_argument);
  EXPECT_EQ(
      message_of<std::invalid_argument>([&] {
        CsvWriter(path_, {"a", "b", "a"});
      }),
      "CsvWriter: columns must differ, got \"a\" twice");
  EXPECT_EQ(content(), "old\n");
}

TEST_F(CsvWriterTest, AppendContinuesItsOwnFile) {
  const Columns columns = {
      "plain", "with, comma", "with \"quote\"", "two\nlines"};
  { CsvWriter(path_, columns, CsvMode::kAppend).row({1, 2, 3, 4}); }
  const std::string before = content();
  { CsvWriter(path_, columns, CsvMode::kAppend).row({5, 6, 7, 8}); }
  EXPECT_EQ(content(), before + "5,6,7,8\n");
}

TEST_F(CsvWriterTest, AppendWritesTheHeaderOfAnEmptyFile) {
  set_content("");
  CsvWriter csv(path_, {"a"}, CsvMode::kAppend);
  EXPECT_EQ(content(), "a\n");
}

TEST_F(CsvWriterTest, CutTakesBackRowsFromAStepOn) {
  const Columns columns = {"note", "step", "loss"};
  {
    CsvWriter csv(path_, columns);
    for (int step = 1; step <= 5; ++step) {
      csv.row({"a \"note\",\nof two lines", step, 1.0 / step});
    }
  }
  const std::string whole = content();
  set_content(whole + "\"half a row");
  {
    CsvWriter csv(path_, columns, CsvCut{"step", 4});
    csv.row({"a \"note\",\nof two lines", 4, 1.0 / 4});
    csv.row({"a \"note\",\nof two lines", 5, 1.0 / 5});
  }
  EXPECT_EQ(content(), whole);
  { CsvWriter(path_, columns, CsvCut{"step", 6}); }
  EXPECT_EQ(content(), whole);
  { CsvWriter(path_, columns, CsvCut{"step", 0}).row({"", 1, 2}); }
  EXPECT_EQ(content(), "note,step,loss\n\"\",1,2\n");
}

TEST_F(CsvWriterTest, CutStandsAtTheFirstSuchRowWhateverFollows) {
  const Columns columns = {"epoch", "x"};
  set_content("epoch,x\n1,2\n\n1.5,3\r\n2,4\n1,5\nrubbish \"\n");
  { CsvWriter(path_, columns, CsvCut{"epoch", 2}).row({2, 6}); }
  EXPECT_EQ(content(), "epoch,x\n1,2\n\n1.5,3\r\n2,6\n");
}

TEST_F(CsvWriterTest, CutDropsALastRowThatMayBeHalf) {
  set_content("step,x\n1,2\n2,3");
  { CsvWriter(path_, {"step", "x"}, CsvCut{"step", 9}).row({2, 34}); }
  EXPECT_EQ(content(), "step,x\n1,2\n2,34\n");
}

TEST_F(CsvWriterTest, CutStartsAFileThatIsNotThereOrHasNoRows) {
  const Columns columns = {"step", "x"};
  { CsvWriter(path_, columns, CsvCut{"step", 3}).row({3, 4}); }
  EXPECT_EQ(content(), "step,x\n3,4\n");
  set_content("step,x");
  { CsvWriter(path_, columns, CsvCut{"step", 3}).row({3, 4}); }
  EXPECT_EQ(content(), "step,x\n3,4\n");
}

TEST_F(CsvWriterTest, CutRefusesWhatItCannotReadAndLeavesTheFileAlone) {
  const Columns columns = {"step", "x"};
  const auto refusal = [&](const std::string& text) {
    set_content(text);
    const auto message = message_of<std::runtime_error>([&] {
      CsvWriter(path_, columns, CsvCut{"step", 3});
    });
    EXPECT_EQ(content(), text);
    return message;
  };
  const std::string start = "CsvWriter: cannot continue \"" + path_ + "\": ";
  EXPECT_EQ(
      refusal("step,y\n1,2\n"),
      start + "its columns are step,y, expected step,x");
  EXPECT_EQ(
      refusal("step,x\n1,2\n2x,3\n"),
      start + "line 3 has no number in the column \"step\": 2x");
  EXPECT_EQ(
      refusal("step,x\nnan,2\n"),
      start + "line 2 has no number in the column \"step\": nan");
  EXPECT_EQ(refusal("step,x\n1\n"), start + "line 2 has 1 values, expected 2");
  EXPECT_EQ(
      refusal("step,x\n1,\"2\n2,3\n"), start + "it ends inside a quoted cell");
  set_content("old\n");
  EXPECT_EQ(
      message_of<std::invalid_argument>([&] {
        CsvWriter(path_, columns, CsvCut{"epoch", 3});
      }),
      "CsvWriter: the column to cut by must be one of step,x, got \"epoch\"");
  EXPECT_EQ(content(), "old\n");
}

TEST_F(CsvWriterTest, AppendReadsFilesWithCarriageReturns) {
  set_content("a,\"b\"\r\n1,2\r\n");
  CsvWriter(path_, {"a", "b"}, CsvMode::kAppend).row({3, 4});
  EXPECT_EQ(content(), "a,\"b\"\r\n1,2\r\n3,4\n");
}

TEST_F(CsvWriterTest, AppendEndsAnOpenLastRow) {
  set_content("a,b\n1,2");
  CsvWriter(path_, {"a", "b"}, CsvMode::kAppend).row({3, 4});
  EXPECT_EQ(content(), "a,b\n1,2\n3,4\n");
}

TEST_F(CsvWriterTest, AppendRefusesOtherColumns) {
  set_content("a,c\n1,2\n");
  EXPECT_EQ(
      message_of<std::runtime_error>([&] {
        CsvWriter(path_, {"a", "b"}, CsvMode::kAppend);
      }),
      "CsvWriter: cannot continue \"" + path_ +
          "\": its columns are a,c, expected a,b");
  EXPECT_EQ(content(), "a,c\n1,2\n");
}

TEST_F(CsvWriterTest, AppendRefusesAnOpenQuote) {
  set_content("a,b\n1,\"2\n");
  EXPECT_THROW(
      CsvWriter(path_, {"a", "b"}, CsvMode::kAppend), std::runtime_error);
  EXPECT_EQ(content(), "a,b\n1,\"2\n");
}

TEST_F(CsvWriterTest, NamesPathAndReasonIfItCannotOpen) {
  const std::string path = path_ + "/no/such/folder.csv";
  EXPECT_EQ(
      message_of<std::runtime_error>([&] { CsvWriter(path, {"a"}); }),
      "CsvWriter: cannot open \"" + path + "\": No such file or directory");
}

TEST_F(CsvWriterTest, ReportsAFullDisk) {
  if (!std::filesystem::exists("/dev/full")) {
    GTEST_SKIP() << "this system has no /dev/full";
  }
  EXPECT_EQ(
      message_of<std::runtime_error>([] { CsvWriter("/dev/full", {"a"}); }),
      "CsvWriter: cannot write to \"/dev/full\": No space left on device");
}

/// Lets no file grow beyond a size while it lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes)
      : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    rlimit limit = old_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*old_handler_)(int);
  rlimit old_{};
};

TEST_F(CsvWriterTest, TakesBackARowThatDidNotFit) {
  CsvWriter csv(path_, {"text"});
  csv.row({"first"});
  {
    const FileSizeLimit limit(20);
    EXPECT_THROW(csv.row({"too long for the space"}), std::runtime_error);
    EXPECT_EQ(content(), "text\nfirst\n");
  }
  csv.row({"later"});
  EXPECT_EQ(content(), "text\nfirst\nlater\n");
}

}  // namespace
}  // namespace stepsize
