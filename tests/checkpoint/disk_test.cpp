#include <gtest/gtest.h>
#include <signal.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/checkpoint/checkpoint_folder.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <torch/types.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <iterator>
#include <map>
#include <string>

#include "tests/checkpoint/other_process.h"
#include "tests/checkpoint/temporary_folder.h"
#include "tests/support/error_text.h"

#ifdef __linux__
#include <sched.h>
#endif

namespace stepsize {
namespace {

using test::in_another_process;
using test::kSkipped;

#ifdef __linux__
// Of 256 kB, seen by this process alone.
bool mount_small_disk(const std::string& disk) {
  ::mkdir(disk.c_str(), 0700);
  return ::unshare(CLONE_NEWNS) == 0 &&
         ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("none", disk.c_str(), "tmpfs", 0, "size=256k") == 0;
}
#endif

// The names and contents of all files of a folder.
std::map<std::string, std::string> contents_of(const std::string& folder) {
  std::map<std::string, std::string> contents;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    contents[entry.path().string()] = test::read_bytes(entry.path().string());
  }
  return contents;
}

class CheckpointDisk : public testing::Test {
 protected:
  CheckpointDisk() : path(folder.file("run.ckpt")) {
    small = torch::ones({4});
    checkpoint.tensor("small", small);
    save_checkpoint(path, checkpoint);
    before = test::read_bytes(path);
    large = torch::ones({300000});
    too_large.tensor("large", large);
  }

  void expect_untouched() {
    EXPECT_TRUE(test::read_bytes(path) == before);
    EXPECT_EQ(folder.count(), 1) << "a temporary file stayed";
    small = torch::zeros({1});
    load_checkpoint(path, checkpoint);
    EXPECT_TRUE(torch::equal(small, torch::ones({4})));
  }

  test::TemporaryFolder folder;
  std::string path;
  torch::Tensor small;
  torch::Tensor large;
  Checkpoint checkpoint;
  Checkpoint too_large;
  std::string before;
};

TEST_F(CheckpointDisk, AFileThatMayNotGrowLeavesTheEarlierOne) {
  int status = 0;
  const std::string message = in_another_process(
      [&](std::string& text) {
        ::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{100000, 100000};
        if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return kSkipped;
        text = test::message_of([&] { save_checkpoint(path, too_large); });
        return 0;
      },
      status);
  if (status == kSkipped) GTEST_SKIP() << "the size of files cannot be limited";
  ASSERT_EQ(status, 0);
  EXPECT_EQ(
      message,
      "save_checkpoint: " + path + ": cannot be written: File too large");
  expect_untouched();
}

#ifdef __linux__
TEST_F(CheckpointDisk, AFullDiskLeavesTheEarlierFile) {
  const std::string disk = folder.file("disk");
  int status = 0;
  const std::string message = in_another_process(
      [&](std::string& text) {
        if (!mount_small_disk(disk)) return kSkipped;
        const std::string full = disk + "/run.ckpt";
        save_checkpoint(full, checkpoint);
        const std::string content = test::read_bytes(full);
        text = test::message_of([&] { save_checkpoint(full, too_large); });
        const std::filesystem::directory_iterator entries(disk);
        const auto count = std::distance(begin(entries), end(entries));
        const bool same = test::read_bytes(full) == content;
        return same && count == 1 ? 0 : 1;
      },
      status);
  // What was mounted went with that process.
  ::rmdir(disk.c_str());
  if (status == kSkipped) {
    GTEST_SKIP() << "no file system can be mounted here";
  }
  EXPECT_EQ(status, 0) << "the earlier file changed, or another stayed";
  EXPECT_EQ(
      message,
      "save_checkpoint: " + disk +
          "/run.ckpt: cannot be written: No space left on device");
  expect_untouched();
}

TEST_F(CheckpointDisk, AFullDiskLeavesAFolderAsItWas) {
  const std::string disk = folder.file("disk");
  int status = 0;
  const std::string message = in_another_process(
      [&](std::string& text) {
        if (!mount_small_disk(disk)) return kSkipped;
        CheckpointFolder run(disk, CheckpointFolderOptions().keep_last(2));
        for (int64_t step = 1; step <= 3; ++step) {
          run.save(step, checkpoint, static_cast<double>(step));
        }
        // 2 and 3 are of another course, which goes with the next save.
        if (run.load_best(checkpoint).step != 1) return 2;
        const auto before_save = contents_of(disk);
        text = test::message_of([&] { run.save(2, too_large, 0.5); });
        if (before_save.size() != 3 || contents_of(disk) != before_save) {
          return 3;
        }
        run.save(2, checkpoint, 0.5);
        const auto found = CheckpointFolder(disk).find_latest();
        return found.step == 2 && run.paths().size() == 2 ? 0 : 4;
      },
      status);
  ::rmdir(disk.c_str());
  if (status == kSkipped) {
    GTEST_SKIP() << "no file system can be mounted here";
  }
  EXPECT_EQ(status, 0);
  EXPECT_EQ(
      message,
      "CheckpointFolder: " + disk +
          "/checkpoint-0000000002.ckpt: cannot be written: No space left on "
          "device");
}
#endif

TEST_F(CheckpointDisk, AFolderThatIsReadOnlyLeavesTheEarlierFile) {
  ::chmod(folder.path().c_str(), 0555);
  int status = 0;
  const std::string message = in_another_process(
      [&](std::string& text) {
        // root may write anywhere.
        if (::geteuid() == 0 && ::seteuid(65534) != 0) return kSkipped;
        text = test::message_of([&] { save_checkpoint(path, checkpoint); });
        return 0;
      },
      status);
  ::chmod(folder.path().c_str(), 0755);
  if (status == kSkipped) GTEST_SKIP() << "root cannot become another user";
  EXPECT_EQ(
      message,
      "save_checkpoint: " + path + ": cannot be written: Permission denied");
  expect_untouched();
}

TEST_F(CheckpointDisk, AFolderOfCheckpointsThatIsReadOnlyStaysAsItIs) {
  const std::string place = folder.file("run");
  CheckpointFolder run(place, CheckpointFolderOptions().keep_last(1));
  run.save(1, checkpoint, 1.0);
  run.save(2, checkpoint, 2.0);
  const auto contents = contents_of(place);
  ASSERT_EQ(contents.size(), 2U);
  ::chmod(folder.path().c_str(), 0755);
  ::chmod(place.c_str(), 0555);
  int status = 0;
  const std::string message = in_another_process(
      [&](std::string& text) {
        if (::geteuid() == 0 && ::seteuid(65534) != 0) return kSkipped;
        text = test::message_of([&] { run.save(3, checkpoint, 0.5); });
        text += "\n" + test::message_of([&] { run.clear(); });
        return 0;
      },
      status);
  ::chmod(place.c_str(), 0755);
  if (status == kSkipped) GTEST_SKIP() << "root cannot become another user";
  EXPECT_EQ(status, 0);
  EXPECT_EQ(
      message,
      "CheckpointFolder: " + place +
          "/checkpoint-0000000003.ckpt: cannot be written: Permission denied\n"
          "CheckpointFolder: " +
          place +
          "/checkpoint-0000000002.ckpt: cannot be removed: Permission denied");
  EXPECT_EQ(contents_of(place), contents);
  run.save(3, checkpoint, 0.5);
  EXPECT_EQ(run.paths().size(), 1U);
}

// As a process that starts anew in a container, where it has the same number.
TEST_F(CheckpointDisk, WhatAProcessOfTheSameNumberLeftDoesNotHinder) {
  const std::string left = path + ".tmp-" + std::to_string(::getpid()) + "-";
  for (int i = 0; i < 100; ++i) test::write_bytes(left + std::to_string(i), "");
  EXPECT_EQ(
      test::message_of([&] { save_checkpoint(path, checkpoint); }),
      "nothing was thrown");
}

TEST_F(CheckpointDisk, AMissingFolderIsNamed) {
  const std::string missing = folder.file("missing/run.ckpt");
  EXPECT_EQ(
      test::message_of([&] { save_checkpoint(missing, checkpoint); }),
      "save_checkpoint: " + missing +
          ": cannot be written: No such file or directory");
  EXPECT_EQ(
      test::message_of([&] { save_checkpoint("", checkpoint); }),
      "save_checkpoint: the path is empty");
}

TEST_F(CheckpointDisk, AFolderOfThatNameIsNotReplaced) {
  const std::string name = folder.file("folder");
  std::filesystem::create_directory(name);
  EXPECT_EQ(
      test::message_of([&] { save_checkpoint(name, checkpoint); }),
      "save_checkpoint: " + name + ": cannot be replaced: Is a directory");
  std::filesystem::remove(name);
  expect_untouched();
}

}  // namespace
}  // namespace stepsize
