#include "examples/trainer/run/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>

#include "examples/trainer/cli/text.h"
#include "examples/trainer/run/run_checkpoints.h"
#include "examples/trainer/run/run_log.h"

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;

// N of a folder that is called NAME-N; 0 for another.
std::int64_t number_of(const std::string& folder, const std::string& name) {
  const std::string start = name + "-";
  if (folder.rfind(start, 0) != 0) {
    return 0;
  }
  const auto number =
      number_in<std::int64_t>(folder.substr(start.size())).value_or(0);
  // A name that no run of this program gets is left alone.
  constexpr std::int64_t kMostRuns = 1000000000;
  return number < kMostRuns ? std::max<std::int64_t>(number, 0) : 0;
}

}  // namespace

std::string run_name(const TrainOptions& options) {
  return options.dataset + "-" + options.model + "-" + options.optimizer;
}

fs::path run_folder(const std::string& name, std::int64_t number) {
  return fs::path(kRuns) / (name + "-" + std::to_string(number));
}

std::int64_t make_new_run(const std::string& name) {
  std::error_code error;
  fs::create_directories(kRuns, error);
  std::int64_t number = 0;
  for (const auto& entry : fs::directory_iterator(kRuns, error)) {
    number =
        std::max(number, number_of(entry.path().filename().string(), name));
  }
  while (!error) {
    ++number;
    if (fs::create_directory(run_folder(name, number), error)) {
      return number;
    }
  }
  throw std::runtime_error(
      "cannot make a folder for the run in " + std::string(kRuns) + ": " +
      error.message() + "; --out names another one");
}

fs::path last_run() {
  fs::path last;
  fs::file_time_type when;
  std::error_code error;
  for (const auto& run : fs::directory_iterator(kRuns, error)) {
    std::error_code none;
    for (const auto& file :
         fs::directory_iterator(checkpoint_folder(run.path()), none)) {
      const auto time = file.last_write_time(none);
      if (file.path().extension() == ".ckpt" && !none &&
          (last.empty() || time > when)) {
        last = run.path();
        when = time;
      }
    }
  }
  if (last.empty()) {
    throw std::runtime_error(
        "--resume: no run in " + std::string(kRuns) +
        " has a checkpoint; --out names the folder of one elsewhere");
  }
  return last;
}

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
