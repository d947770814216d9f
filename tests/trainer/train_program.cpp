#include "train_program.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <sstream>
#include <thread>

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

int status_of(int status) {
  constexpr int kSignal = 128;
  return WIFEXITED(status) ? WEXITSTATUS(status) : kSignal + WTERMSIG(status);
}

std::int64_t rows_in(const fs::path& path) {
  const auto text = read_text(path);
  return std::count(text.begin(), text.end(), '\n') - 1;
}

}  // namespace

std::string TrainProgramTest::arguments(const std::string& more) const {
  return "--data-dir '" + data().string() + "' --out '" + out().string() +
         "' --overwrite --batch-size 16 --threads 1 --epochs 2 " + more;
}

Outcome TrainProgramTest::start(const std::string& arguments) const {
  return start_and_signal(arguments, {}, 0, 0);
}

Outcome TrainProgramTest::start_and_signal(
    const std::string& arguments,
    const fs::path& out,
    std::int64_t rows,
    int signal) const {
  const auto out_file = folder_ / "stdout";
  const auto err_file = folder_ / "stderr";
  // The shell becomes the program.
  const std::string command = shell_first_ + std::string(" exec '") +
                              STEPSIZE_TRAIN + "' " + arguments + " > '" +
                              out_file.string() + "' 2> '" + err_file.string() +
                              "'";
  const pid_t child = fork();
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  if (signal != 0) {
    while (waitpid(child, &status, WNOHANG) == 0) {
      if (rows_in(out / "steps.csv") >= rows) {
        kill(child, signal);
        waitpid(child, &status, 0);
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  } else {
    waitpid(child, &status, 0);
  }
  return {status_of(status), read_text(out_file), read_text(err_file)};
}

void TrainProgramTest::expect_refusal(const Outcome& outcome, int status) {
  EXPECT_EQ(outcome.status, status) << outcome.err;
  EXPECT_THAT(outcome.err, Not(HasSubstr("frame #")));
  EXPECT_THAT(outcome.err, Not(HasSubstr("Exception raised")));
  EXPECT_THAT(outcome.err, Not(HasSubstr("terminate")));
  EXPECT_THAT(outcome.out, Not(HasSubstr("train loss")));
}

// log.csv without its last column, images_per_second.
std::string timeless(const fs::path& path) {
  std::istringstream in(read_text(path));
  std::string result;
  for (std::string line; std::getline(in, line);) {
    result += line.substr(0, line.rfind(',')) + '\n';
  }
  return result;
}

// The cells of a column of a table.
std::vector<std::string> column(const fs::path& path, const std::string& name) {
  std::istringstream in(read_text(path));
  std::string line;
  std::getline(in, line);
  std::size_t index = 0;
  std::istringstream names(line);
  for (std::string cell; std::getline(names, cell, ',') && cell != name;) {
    ++index;
  }
  std::vector<std::string> cells;
  while (std::getline(in, line)) {
    std::istringstream row(line + ",.");
    std::string cell;
    for (std::size_t i = 0; i <= index; ++i) {
      std::getline(row, cell, ',');
    }
    cells.push_back(cell);
  }
  return cells;
}

}  // namespace stepsize::trainer
