// What is said where the system fails, which is made to fail.
#include <gtest/gtest.h>

#ifdef __linux__

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/checkpoint/checkpoint_folder.h>
#include <stepsize/checkpoint/checkpoint_info.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <torch/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <string>

#include "tests/checkpoint/folder_case.h"
#include "tests/checkpoint/other_process.h"
#include "tests/support/error_text.h"

namespace stepsize {
namespace {

using test::message_of;

// From now on a system call of this process fails: each one, or those alone
// whose third argument has a flag. Whether that can be had.
bool make_fail(uint32_t call, uint32_t error, uint32_t flag = 0) {
  const auto code = [](int value) { return static_cast<uint16_t>(value); };
  const uint32_t argument = offsetof(seccomp_data, args) + 2 * sizeof(uint64_t);
  sock_filter lines[] = {
      {code(BPF_LD | BPF_W | BPF_ABS), 0, 0, offsetof(seccomp_data, nr)},
      {code(BPF_JMP | BPF_JEQ | BPF_K), 0, 3, call},
      {code(BPF_LD | BPF_W | BPF_ABS), 0, 0, argument},
      {code(BPF_JMP | BPF_JSET | BPF_K),
       0,
       static_cast<uint8_t>(flag == 0 ? 0 : 1),
       flag},
      {code(BPF_RET | BPF_K), 0, 0, SECCOMP_RET_ERRNO | error},
      {code(BPF_RET | BPF_K), 0, 0, SECCOMP_RET_ALLOW}};
  const sock_fprog filter = {static_cast<uint16_t>(std::size(lines)), lines};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

class CheckpointSystem : public test::FolderCase {
 protected:
  // What a call says in a process where the system has been made to fail;
  // "skipped" where that cannot be.
  static std::string said(
      const std::function<bool()>& prepare, const std::function<void()>& call) {
    int status = 0;
    const std::string text = test::in_another_process(
        [&](std::string& message) {
          if (!prepare()) return test::kSkipped;
          message = message_of(call);
          return 0;
        },
        status);
    if (status == test::kSkipped) return "skipped";
    EXPECT_EQ(status, 0);
    return text;
  }
};

TEST_F(CheckpointSystem, AReadThatFailsIsNoDamage) {
  CheckpointFolder folder(path);
  save(folder, 1, 0.1);
  save(folder, 2, 0.2);
  const auto prepare = [] { return make_fail(SYS_pread64, EIO); };
  const std::string newest = file("checkpoint-0000000002.ckpt");
  const std::string failure = ": cannot be read: Input/output error";
  const auto loaded = said(prepare, [&] { folder.load_latest(checkpoint); });
  if (loaded == "skipped") GTEST_SKIP() << "system calls cannot be filtered";
  EXPECT_EQ(loaded, "CheckpointFolder: " + newest + failure);
  EXPECT_EQ(
      said(prepare, [&] { folder.find_latest(); }),
      "CheckpointFolder: " + newest + failure);
  EXPECT_EQ(
      said(prepare, [&] { verify_checkpoint(newest); }),
      "verify_checkpoint: " + newest + failure);
  // A best that cannot be read now is not one that may be replaced.
  EXPECT_EQ(
      said(prepare, [&] { save(folder, 3, 0.3); }),
      "CheckpointFolder: " + file("best.ckpt") + failure);
  EXPECT_EQ(folder.paths().size(), 2U);
  EXPECT_EQ(best_step(), 1);
}

TEST_F(CheckpointSystem, SaysThatTheFileIsThereWhereItsNameMayBeLost) {
  const std::string name = base.file("run.ckpt");
  const auto failing = [](uint32_t error) {
    return [error] { return make_fail(SYS_openat, error, O_DIRECTORY); };
  };
  const auto save_it = [&] { save_checkpoint(name, checkpoint); };
  step = 1;
  const auto message = said(failing(EIO), save_it);
  if (message == "skipped") GTEST_SKIP() << "system calls cannot be filtered";
  EXPECT_EQ(
      message,
      "save_checkpoint: " + name +
          ": was written, but its name may not have reached the disk: "
          "Input/output error");
  EXPECT_EQ(verify_checkpoint(name).counters.at("step"), 1);
  // A file system that has no such thing is no error.
  for (const int error : {EINVAL, ENOSYS, ENOTSUP, EACCES}) {
    ++step;
    EXPECT_EQ(
        said(failing(static_cast<uint32_t>(error)), save_it),
        "nothing was thrown");
    EXPECT_EQ(verify_checkpoint(name).counters.at("step"), step);
  }
}

}  // namespace
}  // namespace stepsize

#endif
