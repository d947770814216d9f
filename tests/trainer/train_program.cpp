#include "train_program.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <sstream>
#include <thread>

#include "fork_server.h"

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

int status_of(int status) {
  constexpr int kSignal = 128;
  return WIFEXITED(status) ? WEXITSTATUS(status) : kSignal + WTERMSIG(status);
}

pid_t wait_for(pid_t process, bool is_shell, int* status, int options) {
  return is_shell ? waitpid(process, status, options)
                  : ForkServer::instance().wait(process, status, options);
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
  return finish(begin(arguments, "program"));
}

Outcome TrainProgramTest::start_by_shell(
    const std::string& arguments, const std::string& first) const {
  return finish(begin_shell(
      first + " exec '" STEPSIZE_TRAIN "' " + arguments, "program"));
}

Outcome TrainProgramTest::start_and_signal(
    const std::string& arguments,
    const fs::path& out,
    std::int64_t rows,
    int signal) const {
  const auto running = begin(arguments, "program");
  int status = 0;
  while (wait_for(running.process, running.is_shell, &status, WNOHANG) == 0) {
    if (rows_in(out / "steps.csv") >= rows) {
      kill(running.process, signal);
      wait_for(running.process, running.is_shell, &status, 0);
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return {status_of(status), read_text(running.out), read_text(running.err)};
}

TrainProgramTest::Running TrainProgramTest::begin(
    const std::string& arguments, const std::string& name) const {
  Running running{0, folder_ / (name + ".out"), folder_ / (name + ".err")};
  running.process = ForkServer::instance().start(
      arguments, working_folder_, running.out, running.err);
  return running;
}

TrainProgramTest::Running TrainProgramTest::begin_shell(
    const std::string& command, const std::string& name) const {
  Running running{
      0, folder_ / (name + ".out"), folder_ / (name + ".err"), true};
  // The shell becomes the program.
  const std::string redirected = command + " > '" + running.out.string() +
                                 "' 2> '" + running.err.string() + "'";
  running.process = fork();
  if (running.process == 0) {
    execl("/bin/sh", "sh", "-c", redirected.c_str(), nullptr);
    _exit(127);
  }
  return running;
}

Outcome TrainProgramTest::finish(const Running& running) {
  int status = 0;
  wait_for(running.process, running.is_shell, &status, 0);
  return {status_of(status), read_text(running.out), read_text(running.err)};
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
