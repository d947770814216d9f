#include "fork_server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wordexp.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "examples/trainer/cli/options.h"
#include "examples/trainer/run/run.h"

namespace stepsize::trainer {
namespace {

// Longer than any command line of a test.
constexpr std::size_t kLongest = 16384;

struct Wait {
  pid_t process;
  int options;
};

struct Waited {
  pid_t process;
  int status;
};

void redirect(int stream, const std::string& file) {
  constexpr mode_t kForAll = 0666;
  const int opened = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, kForAll);
  if (opened < 0 || dup2(opened, stream) < 0) {
    _exit(127);
  }
  close(opened);
}

// What the program's main() does.
int run_program(const std::string& arguments) {
  wordexp_t words;
  if (wordexp(arguments.c_str(), &words, WRDE_NOCMD) != 0) {
    std::cerr << "not the words of a command line: " << arguments << '\n';
    return 127;
  }
  std::vector<const char*> pointers{"stepsize-train"};
  pointers.insert(
      pointers.end(), words.we_wordv, words.we_wordv + words.we_wordc);
  const auto command =
      parse_command_line(static_cast<int>(pointers.size()), pointers.data());
  if (command.exit_status) {
    return *command.exit_status;
  }
  return run(command, std::cout, std::cerr, /*bar=*/false);
}

// The first letter says what is asked for: 'S'tart or 'W'ait.
[[noreturn]] void serve(int socket) {
  std::array<char, kLongest> message{};
  for (;;) {
    const ssize_t size = recv(socket, message.data(), message.size(), 0);
    if (size <= 0) {
      _exit(0);
    }
    if (message[0] == 'W') {
      Wait wait{};
      std::memcpy(&wait, message.data() + 1, sizeof wait);
      Waited waited{};
      waited.process = waitpid(wait.process, &waited.status, wait.options);
      send(socket, &waited, sizeof waited, MSG_NOSIGNAL);
      continue;
    }
    const pid_t child = fork();
    if (child == 0) {
      close(socket);
      std::istringstream fields(
          std::string(message.data() + 1, static_cast<std::size_t>(size) - 1));
      std::string folder;
      std::string out;
      std::string err;
      std::string arguments;
      std::getline(fields, folder);
      std::getline(fields, out);
      std::getline(fields, err);
      std::getline(fields, arguments, '\0');
      redirect(STDOUT_FILENO, out);
      redirect(STDERR_FILENO, err);
      if (!folder.empty() && chdir(folder.c_str()) != 0) {
        _exit(127);
      }
      const int status = run_program(arguments);
      std::cout.flush();
      std::cerr.flush();
      std::fflush(nullptr);
      _exit(status);
    }
    send(socket, &child, sizeof child, MSG_NOSIGNAL);
  }
}

// Before main(), and so before any test has used LibTorch.
const ForkServer server;

}  // namespace

const ForkServer& ForkServer::instance() { return server; }

ForkServer::ForkServer() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    std::abort();
  }
  server_ = fork();
  if (server_ == 0) {
    close(ends[0]);
    serve(ends[1]);
  }
  close(ends[1]);
  socket_ = ends[0];
}

ForkServer::~ForkServer() {
  close(socket_);
  // Its time, and that of all that it ran, is this process's then.
  waitpid(server_, nullptr, 0);
}

pid_t ForkServer::start(
    const std::string& arguments,
    const std::filesystem::path& folder,
    const std::filesystem::path& out,
    const std::filesystem::path& err) const {
  const std::string message = "S" + folder.string() + '\n' + out.string() +
                              '\n' + err.string() + '\n' + arguments;
  pid_t process = -1;
  if (message.size() > kLongest ||
      send(socket_, message.data(), message.size(), MSG_NOSIGNAL) < 0 ||
      recv(socket_, &process, sizeof process, 0) != sizeof process ||
      process < 0) {
    throw std::runtime_error("the program could not be started");
  }
  return process;
}

pid_t ForkServer::wait(pid_t process, int* status, int options) const {
  const Wait wait{process, options};
  std::array<char, 1 + sizeof wait> message{'W'};
  std::memcpy(message.data() + 1, &wait, sizeof wait);
  Waited waited{};
  if (send(socket_, message.data(), message.size(), MSG_NOSIGNAL) < 0 ||
      recv(socket_, &waited, sizeof waited, 0) != sizeof waited) {
    throw std::runtime_error("the program could not be waited for");
  }
  *status = waited.status;
  return waited.process;
}

}  // namespace stepsize::trainer
