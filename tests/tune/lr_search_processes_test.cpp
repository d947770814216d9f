// Searches of several processes: this program, started once more.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <stepsize/tune/lr_search.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ios>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

extern char** environ;  // NOLINT: POSIX has it without a header

namespace stepsize::test {
namespace {

constexpr char kJournal[] = "STEPSIZE_TEST_JOURNAL";
constexpr char kKilledAt[] = "STEPSIZE_TEST_KILLED_AT";

double slow_valley(Trial& trial) {
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double decades = std::log10(trial.lr() / 0.03);
  trial.report(1, 1 + decades * decades);
  return 1 + decades * decades;
}

LRSearchOptions shared_options(const std::string& journal) {
  return LRSearchOptions(1e-5, 10).trials(12).seed(2).journal(journal);
}

// All that processes must agree in, to the last bit.
std::string text_of(const LRSearchResult& result) {
  std::ostringstream text;
  text << std::hexfloat;
  for (const SearchedTrial& trial : result.trials) {
    text << trial.number << ' ' << to_string(trial.status) << ' ' << trial.loss;
    for (const double value : trial.values) text << ' ' << value;
    text << '\n';
  }
  for (const double share : result.importance) text << share << '\n';
  return text.str();
}

std::string result_of(const std::string& journal, pid_t process) {
  return journal + "." + std::to_string(process);
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A part of the others: what the started program runs.
TEST(LRSearchWorker, DISABLED_Works) {
  const char* journal = std::getenv(kJournal);
  ASSERT_NE(journal, nullptr);
  const char* killed_at = std::getenv(kKilledAt);
  const int64_t last = killed_at == nullptr ? -1 : std::atoi(killed_at);
  const auto result = lr_search(
      [last](Trial& trial) {
        const double loss = slow_valley(trial);
        if (trial.number() == last) {
          // Others come to wait for this one meanwhile.
          std::this_thread::sleep_for(std::chrono::milliseconds(200));
          ::kill(::getpid(), SIGKILL);
        }
        return loss;
      },
      shared_options(journal));
  std::ofstream(result_of(journal, ::getpid())) << text_of(result);
}

class LRSearchProcesses : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    journal_ = (std::filesystem::path(testing::TempDir()) /
                ("lr_search_processes_" + std::string(info->name()) + ".jsonl"))
                   .string();
    std::filesystem::remove(journal_);
  }
  void TearDown() override { std::filesystem::remove(journal_); }

  pid_t start(int64_t killed_at = -1) const {
    std::vector<std::string> variables = {
        std::string(kJournal) + "=" + journal_};
    if (killed_at >= 0) {
      variables.push_back(
          std::string(kKilledAt) + "=" + std::to_string(killed_at));
    }
    for (char** one = environ; *one != nullptr; ++one) {
      const std::string variable = *one;
      // A part of a sharded run would leave the worker out.
      if (variable.rfind("GTEST_", 0) != 0) variables.push_back(variable);
    }
    std::vector<std::string> words = {
        "worker",
        "--gtest_filter=LRSearchWorker.DISABLED_Works",
        "--gtest_also_run_disabled_tests",
        "--gtest_brief=1"};
    const auto pointers = [](std::vector<std::string>& texts) {
      std::vector<char*> list;
      for (std::string& text : texts) list.push_back(text.data());
      list.push_back(nullptr);
      return list;
    };
    pid_t process = -1;
    EXPECT_EQ(
        ::posix_spawn(
            &process,
            "/proc/self/exe",
            nullptr,
            nullptr,
            pointers(words).data(),
            pointers(variables).data()),
        0);
    return process;
  }

  static int end_of(pid_t process) {
    int status = -1;
    EXPECT_EQ(::waitpid(process, &status, 0), process);
    return status;
  }

  // Until another process has begun with a trial.
  void await_start() const {
    constexpr int kMostWaits = 6000;
    for (int waits = 0; count("{\"start\"") == 0; ++waits) {
      ASSERT_LT(waits, kMostWaits);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }

  // What a process that has ended well says, whose file is then removed.
  std::string result_of(pid_t process) const {
    EXPECT_EQ(end_of(process), 0);
    const std::string path = test::result_of(journal_, process);
    const std::string text = contents(path);
    std::filesystem::remove(path);
    return text;
  }

  int64_t count(const std::string& word) const {
    const std::string all = contents(journal_);
    int64_t found = 0;
    for (std::size_t at = all.find(word); at != std::string::npos;
         at = all.find(word, at + 1)) {
      ++found;
    }
    return found;
  }

  std::string journal_;
};

TEST_F(LRSearchProcesses, ShareTheTrialsOfAJournal) {
  const pid_t one = start();
  const pid_t other = start();
  await_start();
  int64_t own = 0;
  const auto result = lr_search(
      [&own](Trial& trial) {
        ++own;
        return slow_valley(trial);
      },
      shared_options(journal_));
  EXPECT_EQ(result_of(one), text_of(result));
  EXPECT_EQ(result_of(other), text_of(result));
  // Each trial was begun once and ended once, whoever did it, and all are here.
  EXPECT_EQ(result.trials.size(), 12U);
  EXPECT_EQ(count("{\"start\""), 12);
  EXPECT_EQ(count("{\"end\""), 12);
  EXPECT_EQ(result.broken_lines, 0);
  EXPECT_LT(result.best().loss, 1.3);
  EXPECT_LT(own, 12);
}

TEST_F(LRSearchProcesses, AKilledSearchGoesOnAsIfItHadNotBeen) {
  const auto undisturbed = lr_search(slow_valley, shared_options(""));
  for (const int64_t trial : {2, 7}) {
    const int status = end_of(start(trial));
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    EXPECT_EQ(count("{\"end\""), trial);
    EXPECT_EQ(count("{\"start\""), trial + 1);
  }
  const auto result = lr_search(slow_valley, shared_options(journal_));
  ASSERT_EQ(result.trials.size(), undisturbed.trials.size());
  for (std::size_t i = 0; i < result.trials.size(); ++i) {
    EXPECT_EQ(result.trials[i].values, undisturbed.trials[i].values) << i;
    EXPECT_EQ(result.trials[i].loss, undisturbed.trials[i].loss) << i;
  }
}

TEST_F(LRSearchProcesses, ALiveOneTakesOverWhatAKilledOneLeaves) {
  const pid_t doomed = start(/*killed_at=*/0);
  await_start();
  std::vector<int64_t> own;
  const auto result = lr_search(
      [&own](Trial& trial) {
        own.push_back(trial.number());
        return slow_valley(trial);
      },
      shared_options(journal_));
  const int status = end_of(doomed);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_THAT(own, testing::Contains(0));
  EXPECT_EQ(own.size(), 12U);
  EXPECT_EQ(result.trials.size(), 12U);
  EXPECT_EQ(count("{\"start\""), 12);
}

}  // namespace
}  // namespace stepsize::test
