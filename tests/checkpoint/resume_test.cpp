#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "tests/checkpoint/temporary_folder.h"
#include "tests/checkpoint/training_run.h"

namespace stepsize {
namespace {

using test::TrainingRow;
using test::TrainingRun;

constexpr int64_t kHalf = 6;
// Tells the first process where to save.
constexpr char kFolder[] = "STEPSIZE_CHECKPOINT_TEST_FOLDER";

std::string file_of(const std::string& folder, std::size_t row) {
  return folder + "/" + std::to_string(row) + ".ckpt";
}

// The first process: trains every row half way, saves it, and is killed.
void train_save_and_die(const std::string& folder) {
  const auto rows = test::training_rows();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    TrainingRun run(rows[i]);
    run.train(kHalf);
    save_checkpoint(file_of(folder, i), run.checkpoint());
  }
  ::raise(SIGKILL);
}

// Runs this very test in another process. How that ended, as waitpid() has it.
int run_in_another_process(const std::string& folder) {
  const std::string filter = "--gtest_filter=CheckpointResume.*";
  std::vector<std::string> texts = {"checkpoint_test", filter};
  std::vector<char*> arguments;
  for (std::string& text : texts) arguments.push_back(text.data());
  arguments.push_back(nullptr);
  ::setenv(kFolder, folder.c_str(), 1);
  pid_t child = 0;
  const int failure = ::posix_spawn(
      &child, "/proc/self/exe", nullptr, nullptr, arguments.data(), environ);
  ::unsetenv(kFolder);
  int status = 0;
  if (failure != 0 || ::waitpid(child, &status, 0) != child) return -1;
  return status;
}

TEST(CheckpointResume, EveryOptimizerAndSchedulerGoesOnBitForBitAfterAKill) {
  if (const char* folder = std::getenv(kFolder)) train_save_and_die(folder);
  const test::TemporaryFolder folder;
  const int status = run_in_another_process(folder.path());
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;

  const auto rows = test::training_rows();
  // A figure of docs/reliability.md: --gtest_output=xml writes it.
  RecordProperty("combinations", static_cast<int>(rows.size()));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    SCOPED_TRACE(rows[i].optimizer + ", " + rows[i].companion);
    TrainingRun whole(rows[i]);
    whole.train(kHalf);
    // The smaller rate of a rule that went back belongs to what is saved.
    if (const auto rollbacks = whole.rollbacks()) {
      EXPECT_GT(*rollbacks, 0);
    }
    whole.train(kHalf);
    const std::string expected = whole.state();
    save_checkpoint(folder.file("whole"), whole.checkpoint());

    TrainingRun resumed(rows[i]);
    Checkpoint checkpoint = resumed.checkpoint();
    load_checkpoint(file_of(folder.path(), i), checkpoint);
    resumed.train(kHalf);
    const std::vector<double> second(
        whole.losses().begin() + kHalf, whole.losses().end());
    EXPECT_EQ(resumed.losses(), second);
    EXPECT_TRUE(resumed.state() == expected);
    // As a saved file says it, which carries the optimizer's state too.
    save_checkpoint(folder.file("resumed"), checkpoint);
    EXPECT_TRUE(
        test::read_bytes(folder.file("resumed")) ==
        test::read_bytes(folder.file("whole")));
  }
}

}  // namespace
}  // namespace stepsize
