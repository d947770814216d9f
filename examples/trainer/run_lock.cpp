#include "run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>

#include "run_log.h"

namespace stepsize::trainer {

RunLock::RunLock(const std::filesystem::path& folder) {
  const auto path = make_run_folder(folder) / "run.lock";
  constexpr mode_t kForAll = 0666;
  file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kForAll);
  if (file_ < 0) {
    throw std::runtime_error(
        "cannot write " + path.string() + ": " +
        std::generic_category().message(errno));
  }
  // The system unlocks it when the process ends, however it does.
  if (flock(file_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    close(file_);
    throw std::runtime_error(
        "--out " + folder.string() +
        ": another process is training there; wait for its end or take "
        "another folder");
  }
}

RunLock::~RunLock() { close(file_); }

}  // namespace stepsize::trainer
