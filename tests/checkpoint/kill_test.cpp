#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/checkpoint/checkpoint_folder.h>
#include <stepsize/checkpoint/checkpoint_info.h>
#include <sys/wait.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <random>
#include <string>

#include "csrc/checkpoint/durable_file.h"
#include "tests/checkpoint/temporary_folder.h"
#include "tests/support/error_text.h"

namespace stepsize {
namespace {

// A run whose every number follows from its step.
struct SteppedRun {
  explicit SteppedRun(int64_t width = 8)
      : linear(width, width),
        sgd(linear->parameters(), torch::optim::SGDOptions(1).momentum(0.5)) {
    set(0);
  }

  void set(int64_t to) {
    const torch::NoGradGuard no_grad;
    step = to;
    for (auto& parameter : linear->parameters()) {
      parameter.fill_(static_cast<double>(step));
    }
    sgd.param_groups()[0].options().set_lr(static_cast<double>(step + 1));
  }

  bool is_consistent() const {
    for (const auto& parameter : linear->parameters()) {
      if (!parameter.eq(static_cast<double>(step)).all().item<bool>()) {
        return false;
      }
    }
    return sgd.param_groups()[0].options().get_lr() ==
           static_cast<double>(step + 1);
  }

  Checkpoint checkpoint() {
    Checkpoint made;
    made.module("linear", *linear).optimizer("sgd", sgd).counter("step", step);
    return made;
  }

  torch::nn::Linear linear;
  torch::optim::SGD sgd;
  int64_t step = 0;
};

// Forks a process that saves step after step, each after `first`, and says so
// through a pipe; kills it after so many microseconds. The last step that it
// said; `first` where it said none.
int64_t save_until_killed(
    SteppedRun& run,
    int64_t first,
    int64_t microseconds,
    const std::function<void(int64_t)>& save) {
  int ends[2];
  if (::pipe(ends) != 0) return -1;
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    for (int64_t step = first + 1;; ++step) {
      run.set(step);
      save(step);
      if (::write(ends[1], &step, sizeof(step)) != sizeof(step)) ::_exit(1);
    }
  }
  ::close(ends[1]);
  ::usleep(static_cast<useconds_t>(microseconds));
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status)) << status;
  int64_t last = first;
  int64_t step = 0;
  while (::read(ends[0], &step, sizeof(step)) == sizeof(step)) last = step;
  ::close(ends[0]);
  return last;
}

// How long a child lives, from nothing up to so many saves. What a save takes
// changes with what else the machine does, so the longest time follows what the
// children get done.
class Lifetime {
 public:
  Lifetime(uint64_t seed, double saves, const std::function<void()>& save)
      : random_(seed) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    save();
    using std::chrono::microseconds;
    const auto taken = Clock::now() - start;
    longest_ = saves *
               static_cast<double>(
                   1 + std::chrono::duration_cast<microseconds>(taken).count());
  }

  // In microseconds.
  int64_t draw() {
    return std::uniform_int_distribution<int64_t>(
        0, static_cast<int64_t>(longest_))(random_);
  }

  void saw(int64_t saves) {
    if (saves == 0) longest_ = std::min(1.25 * longest_, 1e7);
    if (saves > 3) longest_ /= 1.25;
  }

 private:
  std::mt19937_64 random_;
  double longest_ = 0;
};

// A fork has no threads but the one that forks: no others may have started.
class CheckpointKill : public testing::Test {
 protected:
  CheckpointKill() { at::set_num_threads(1); }

  test::TemporaryFolder folder;
};

TEST_F(CheckpointKill, LeavesALoadableFileAtAnyMoment) {
  const std::string path = folder.file("run.ckpt");
  SteppedRun run;
  Checkpoint checkpoint = run.checkpoint();
  save_checkpoint(path, checkpoint);
  Lifetime lifetime(3, 4, [&] { save_checkpoint(path, checkpoint); });
  int64_t last = 0;
  for (int round = 0; round < 200; ++round) {
    const int64_t before = last;
    last = save_until_killed(run, last, lifetime.draw(), [&](int64_t /*step*/) {
      save_checkpoint(path, checkpoint);
    });
    lifetime.saw(last - before);
    run.set(-1);
    load_checkpoint(path, checkpoint);
    ASSERT_GE(run.step, last) << round;
    ASSERT_TRUE(run.is_consistent()) << round;
    last = run.step;
  }
  EXPECT_GT(last, 0);
  EXPECT_GT(folder.count(), 1) << "no save was cut short: this shows nothing";
}

TEST_F(CheckpointKill, LeavesALoadableFileWithinALargeSave) {
  const std::string path = folder.file("run.ckpt");
  SteppedRun run(4096);  // 64 MB
  Checkpoint checkpoint = run.checkpoint();
  Lifetime lifetime(4, 2, [&] { save_checkpoint(path, checkpoint); });
  int64_t cut = 0;
  for (int round = 0; round < 8; ++round) {
    const int64_t before = run.step;
    const int64_t last =
        save_until_killed(run, before, lifetime.draw(), [&](int64_t /*step*/) {
          save_checkpoint(path, checkpoint);
        });
    lifetime.saw(last - before);
    load_checkpoint(path, checkpoint);
    ASSERT_GE(run.step, last) << round;
    ASSERT_TRUE(run.is_consistent()) << round;
    cut += folder.count() - 1;
    detail::remove_abandoned_files(folder.path());
    ASSERT_EQ(folder.count(), 1);
  }
  EXPECT_GE(cut, 2) << "no save was cut short: this shows nothing";
}

TEST_F(CheckpointKill, TheNextSaveOfAFolderRemovesWhatWasLeft) {
  CheckpointFolder checkpoints(folder.path());
  SteppedRun run(512);
  Checkpoint checkpoint = run.checkpoint();
  Lifetime lifetime(5, 4, [&] { checkpoints.save(0, checkpoint); });
  int64_t last = 0;
  for (int round = 0; round < 40; ++round) {
    const int64_t before = last;
    last = save_until_killed(run, last, lifetime.draw(), [&](int64_t step) {
      checkpoints.save(step, checkpoint, 1.0);
    });
    lifetime.saw(last - before);
    const CheckpointLoadResult loaded = checkpoints.load_latest(checkpoint);
    ASSERT_GE(loaded.step, last);
    ASSERT_TRUE(loaded.passed_over.empty());
    ASSERT_TRUE(run.is_consistent());
    last = loaded.step;
  }
  run.set(last + 1);
  checkpoints.save(last + 1, checkpoint, 2.0);
  EXPECT_EQ(checkpoints.paths().size(), 3U);
  EXPECT_EQ(folder.count(), last > 0 ? 4 : 3) << "with the best";
}

// From the best, of step 0, another course begins, while those of 1 and 2 are
// there. Once it has a file, that is what a run goes on from.
TEST_F(CheckpointKill, LeavesOneCourseAtAnyMoment) {
  SteppedRun run;
  int64_t course = 0;
  Checkpoint checkpoint = run.checkpoint();
  checkpoint.counter("course", course);
  const auto begin = [&](CheckpointFolder& checkpoints) {
    checkpoints.clear();
    course = 0;
    for (int64_t step = 0; step < 3; ++step) {
      run.set(step);
      checkpoints.save(step, checkpoint, static_cast<double>(step));
    }
    checkpoints.load_best(checkpoint);
    course = 1;
  };
  const auto options = CheckpointFolderOptions().keep_last(2);
  CheckpointFolder checkpoints(folder.path(), options);
  begin(checkpoints);
  Lifetime lifetime(7, 4, [&] { checkpoints.save(1, checkpoint); });
  int64_t begun = 0;
  for (int round = 0; round < 32; ++round) {
    begin(checkpoints);
    const int64_t said =
        save_until_killed(run, 0, lifetime.draw(), [&](int64_t step) {
          checkpoints.save(step, checkpoint);
          if (step > 0) ::pause();
        });
    EXPECT_EQ(said, 0);
    bool has_new = false;
    for (const std::string& path : checkpoints.paths()) {
      has_new =
          has_new || read_checkpoint_info(path).counters.at("course") == 1;
    }
    course = -1;
    const CheckpointLoadResult loaded =
        CheckpointFolder(folder.path()).load_latest(checkpoint);
    ASSERT_TRUE(loaded);
    ASSERT_EQ(course, has_new ? 1 : 0) << round;
    ASSERT_TRUE(loaded.passed_over.empty());
    ASSERT_TRUE(run.is_consistent());
    // About half of them are to come to it.
    lifetime.saw(4 * course);
    begun += course;
  }
  EXPECT_GT(begun, 0);
  EXPECT_LT(begun, 32) << "no save was cut short: this shows nothing";
}

TEST_F(CheckpointKill, LoadsWhileAnotherProcessSavesAndRemoves) {
  const auto options = CheckpointFolderOptions().keep_last(1);
  CheckpointFolder checkpoints(folder.path(), options);
  SteppedRun run;
  Checkpoint checkpoint = run.checkpoint();
  checkpoints.save(0, checkpoint);
  // A folder that takes long to be listed.
  for (int i = 0; i < 2000; ++i) {
    test::write_bytes(folder.file("other" + std::to_string(i)), "");
  }
  const pid_t writer = ::fork();
  if (writer == 0) {
    for (int64_t step = 1;; ++step) {
      run.set(step);
      checkpoints.save(step, checkpoint);
    }
  }
  std::string failure;
  int64_t last = 0;
  for (int i = 0; i < 100 && failure.empty(); ++i) {
    failure = test::message_of(
        [&] { EXPECT_TRUE(checkpoints.load_latest(checkpoint)); });
    if (failure == "nothing was thrown") failure.clear();
    last = run.step;
  }
  ::kill(writer, SIGKILL);
  int status = 0;
  ::waitpid(writer, &status, 0);
  EXPECT_EQ(failure, "");
  EXPECT_GT(last, 0);
}

TEST_F(CheckpointKill, KeepsTheTemporaryFileOfALivingProcess) {
  // As that of process 1 would be, which lives; the kernel locks none.
  const std::string living = folder.file("checkpoint-0000000001.ckpt.tmp-1-0");
  // No process has the largest number.
  const std::string dead =
      folder.file("checkpoint-0000000001.ckpt.tmp-2147483647-0");
  test::write_bytes(living, "half a file");
  test::write_bytes(dead, "half a file");
  SteppedRun run;
  CheckpointFolder(folder.path()).save(0, run.checkpoint());
  EXPECT_TRUE(std::filesystem::exists(living));
  EXPECT_FALSE(std::filesystem::exists(dead));
}

}  // namespace
}  // namespace stepsize
