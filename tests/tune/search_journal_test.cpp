#include "csrc/tune/search_journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "csrc/tune/search_record.h"
#include "tests/support/error_text.h"

namespace stepsize::test {
namespace {

using detail::SearchJournal;
using detail::SearchRecord;
using testing::HasSubstr;
using Kind = SearchRecord::Kind;

SearchRecord head() {
  SearchRecord record;
  record.space = "lr:1..2 log; cosine \"\\ {n:1..2}\n";
  record.context = {0.5, 1000};
  record.seed = std::numeric_limits<int64_t>::min();
  record.repeats = 3;
  return record;
}

SearchRecord start(int64_t trial, std::vector<double> values) {
  SearchRecord record;
  record.kind = Kind::kStart;
  record.trial = trial;
  record.values = std::move(values);
  return record;
}

SearchRecord end(int64_t trial, double loss) {
  SearchRecord record;
  record.kind = Kind::kEnd;
  record.trial = trial;
  record.step = 7;
  record.loss = loss;
  record.status = "finished";
  return record;
}

class SearchJournalTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    path_ = (std::filesystem::path(testing::TempDir()) /
             ("journal_" + std::string(info->name()) + ".jsonl"))
                .string();
    std::filesystem::remove(path_);
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void write(const std::string& text) const {
    std::ofstream(path_, std::ios::binary) << text;
  }
  std::string text() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::vector<SearchRecord> records() const {
    SearchJournal journal(path_, head());
    const SearchJournal::Turn turn(journal);
    return journal.read();
  }

  std::string path_;
};

TEST(SearchRecord, LineReadsBackAsTheSame) {
  for (const double loss :
       {0.1,
        -1e-300,
        1e308,
        0.0,
        double{NAN},
        double{INFINITY},
        -double{INFINITY}}) {
    const auto read = SearchRecord::parse(end(3, loss).to_line());
    ASSERT_TRUE(read) << loss;
    EXPECT_TRUE(
        read->loss == loss || (std::isnan(read->loss) && std::isnan(loss)));
    EXPECT_EQ(read->to_line(), end(3, loss).to_line());
  }
  const auto first = SearchRecord::parse(head().to_line());
  ASSERT_TRUE(first);
  EXPECT_EQ(first->space, head().space);
  EXPECT_EQ(first->context, head().context);
  EXPECT_EQ(first->seed, head().seed);
  const auto begun = SearchRecord::parse(start(0, {1.5, -2e-7}).to_line());
  ASSERT_TRUE(begun);
  EXPECT_EQ(begun->values, (std::vector<double>{1.5, -2e-7}));
}

// Each part of a line, and each line with a byte lost or changed, is a record
// or none, and never a crash; a part is none.
TEST(SearchRecord, APartOfALineIsNone) {
  for (const SearchRecord& record :
       {head(), start(12, {0.25, 3}), end(0, NAN), end(1, 0.5)}) {
    const std::string line = record.to_line();
    for (std::size_t i = 0; i < line.size(); ++i) {
      EXPECT_FALSE(SearchRecord::parse(line.substr(0, i))) << i;
      EXPECT_FALSE(SearchRecord::parse(line.substr(i + 1))) << i;
      EXPECT_FALSE(SearchRecord::parse(line.substr(0, i + 1) + line)) << i;
      for (const char c : {'\0', '"', '\\', '[', '}', ',', '9', '-', '\xff'}) {
        std::string changed = line;
        changed[i] = c;
        SearchRecord::parse(changed);
      }
    }
  }
}

TEST(SearchRecord, AZeroEndsNoLine) {
  const std::string line = start(0, {1}).to_line();
  ASSERT_TRUE(SearchRecord::parse(line));
  EXPECT_FALSE(SearchRecord::parse(line + std::string(1, '\0')));
  EXPECT_FALSE(SearchRecord::parse(line + std::string(3, '\0') + line));
}

TEST(SearchRecord, RefusesWhatIsNoRecord) {
  for (const char* line : {
           "",
           "{}",
           "{}{}",
           "null",
           "{\"start\":0}",
           "{\"start\":0,\"values\":[1],\"more\":1}",
           "{\"start\":0,\"start\":0}",
           "{\"start\":-1,\"values\":[1]}",
           "{\"start\":0.5,\"values\":[1]}",
           "{\"start\":1e300,\"values\":[1]}",
           "{\"start\":0,\"values\":[1,]}",
           "{\"start\":0,\"values\":[[1]]}",
           "{\"start\":0,\"values\":[nan]}",
           "{\"start\":0,\"values\":[1e999]}",
           "{\"start\":0,\"values\":\"1\"}",
           "{\"start\":\"0\",\"values\":[1]}",
           "{\"end\":0,\"repeat\":0,\"step\":1,\"loss\":1,\"status\":\"well\"}",
           "{\"end\":0,\"repeat\":0,\"step\":1,\"loss\":\"1\","
           "\"status\":\"finished\"}",
           "{\"lr_search\":2,\"space\":\"\",\"context\":[0,0],"
           "\"label\":\"\",\"seed\":\"0\","
           "\"repeats\":1}",
           "{\"lr_search\":1,\"space\":\"\",\"context\":[0,0],"
           "\"label\":\"\",\"seed\":\"0x\","
           "\"repeats\":1}",
           "{\"lr_search\":1,\"space\":\"\xe9\",\"context\":[0,0],"
           "\"label\":\"\",\"seed\":"
           "\"0\","
           "\"repeats\":1}",
       }) {
    EXPECT_FALSE(SearchRecord::parse(line)) << line;
  }
}

TEST_F(SearchJournalTest, GivesBackWhatWasAdded) {
  {
    SearchJournal journal(path_, head());
    const SearchJournal::Turn turn(journal);
    EXPECT_TRUE(journal.read().empty());
    journal.add(start(0, {1.25}));
    journal.add(end(0, 0.5));
    EXPECT_TRUE(journal.read().empty());  // its own
  }
  const auto found = records();
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].to_line(), start(0, {1.25}).to_line());
  EXPECT_EQ(found[1].to_line(), end(0, 0.5).to_line());
}

TEST_F(SearchJournalTest, EachReadsWhatTheOtherHasAdded) {
  SearchJournal one(path_, head());
  SearchJournal other(path_, head());
  {
    const SearchJournal::Turn turn(one);
    one.read();
    one.add(start(0, {1}));
  }
  {
    const SearchJournal::Turn turn(other);
    ASSERT_EQ(other.read().size(), 1U);
    other.add(end(0, 1));
  }
  const SearchJournal::Turn turn(one);
  ASSERT_EQ(one.read().size(), 1U);
}

// Cut off after each of its bytes, the file has the records whose lines are
// whole, and what is added then is whole.
TEST_F(SearchJournalTest, IsCutBackToItsLastWholeLine) {
  const std::string first = head().to_line() + "\n";
  const std::string second = first + start(0, {1.25}).to_line() + "\n";
  const std::string whole = second + end(0, 0.5).to_line() + "\n";
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    write(whole.substr(0, size));
    {
      SearchJournal journal(path_, head());
      const SearchJournal::Turn turn(journal);
      const std::size_t count =
          size < second.size() ? 0 : (size < whole.size() ? 1 : 2);
      EXPECT_EQ(journal.read().size(), count) << size;
      EXPECT_EQ(journal.broken_lines(), 0);
      journal.add(end(9, 2));
    }
    const std::string kept = size < second.size()  ? first
                             : size < whole.size() ? second
                                                   : whole;
    EXPECT_EQ(text(), kept + end(9, 2).to_line() + "\n") << size;
  }
}

TEST_F(SearchJournalTest, LeavesOutLinesThatAreNoneAndCountsThem) {
  write(
      head().to_line() + "\n" + std::string(40, '\0') + "\n\nhello\n" +
      start(0, {1}).to_line() + "\n{\"end\":0,\n");
  SearchJournal journal(path_, head());
  const SearchJournal::Turn turn(journal);
  EXPECT_EQ(journal.read().size(), 1U);
  EXPECT_EQ(journal.broken_lines(), 4);
}

TEST_F(SearchJournalTest, RefusesOtherFilesAndLeavesThemAsTheyAre) {
  for (const std::string& other :
       {std::string("notes without a line end"),
        std::string("a\nb\n"),
        std::string("\n"),
        end(0, 1).to_line() + "\n"}) {
    write(other);
    EXPECT_THAT(
        message_of([&] { SearchJournal(path_, head()); }),
        HasSubstr(path_ + " is no journal of a search"));
    EXPECT_EQ(text(), other);
  }
}

TEST_F(SearchJournalTest, RefusesTheJournalOfAnotherSearch) {
  { const SearchJournal journal(path_, head()); }
  const std::string before = text();
  SearchRecord other = head();
  other.space = "lr:1..3 log";
  EXPECT_THAT(
      message_of([&] { SearchJournal(path_, other); }),
      HasSubstr("is the journal of another search: space is 'lr:1..2 log"));
  other = head();
  other.seed = 4;
  EXPECT_THAT(
      message_of([&] { SearchJournal(path_, other); }),
      HasSubstr("seed is -9223372036854775808 in the file, 4 here"));
  other = head();
  other.label = "cnn";
  EXPECT_THAT(
      message_of([&] { SearchJournal(path_, other); }),
      HasSubstr("label is '' in the file, 'cnn' here"));
  other = head();
  other.repeats = 1;
  EXPECT_THAT(
      message_of([&] { SearchJournal(path_, other); }),
      HasSubstr("repeats is 3 in the file, 1 here"));
  EXPECT_EQ(text(), before);
}

TEST_F(SearchJournalTest, TakesALabelInUtf8AndNoOther) {
  SearchRecord search = head();
  search.label = "r\xC3\xA9seau, \"small\"\t";
  { const SearchJournal journal(path_, search); }
  EXPECT_NO_THROW(SearchJournal(path_, search));
  std::filesystem::remove(path_);
  search.label = "r\xE9seau";
  EXPECT_THAT(
      message_of([&] { SearchJournal(path_, search); }),
      HasSubstr("LRSearch: label and space must be UTF-8"));
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(SearchJournalTest, SaysWhyAFileCannotBeOpened) {
  try {
    const SearchJournal journal("/nowhere/at/all.jsonl", head());
    ADD_FAILURE();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(
        error.what(),
        "LRSearch: cannot open /nowhere/at/all.jsonl: No such file or "
        "directory");
  }
}

TEST_F(SearchJournalTest, ATrialIsClaimedOnce) {
  SearchJournal one(path_, head());
  auto other = std::make_unique<SearchJournal>(path_, head());
  EXPECT_TRUE(other->claim(3));
  EXPECT_FALSE(one.claim(3));
  EXPECT_TRUE(one.claim(4));
  EXPECT_FALSE(other->claim(4));
  one.release(4);
  EXPECT_TRUE(other->claim(4));
  // What ends with its owner.
  other.reset();
  EXPECT_TRUE(one.claim(3));
}

// Random bytes behind a good first line.
TEST_F(SearchJournalTest, LivesWithAnyBytes) {
  std::mt19937 generator(5);
  constexpr char kLetters[] = "{}[]\":,0123456789.-einfaulrstdp \n\\\0\xff";
  const std::string letters(kLetters, sizeof(kLetters) - 1);
  for (int i = 0; i < 300; ++i) {
    std::string bytes = head().to_line() + "\n";
    for (int j = 0; j < 300; ++j) {
      bytes += letters[generator() % letters.size()];
    }
    write(bytes);
    EXPECT_NO_THROW(records());
  }
}

}  // namespace
}  // namespace stepsize::test
