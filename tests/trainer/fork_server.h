#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

namespace stepsize::trainer {

/// Runs stepsize-train in processes that need not load LibTorch, which takes
/// longer than a small run: forks of a process that was forked itself before
/// this one did anything with LibTorch, whose engine and thread pools do not
/// survive a fork. Each is a process as a user's: with an exit status and
/// streams of its own, and to be sent signals.
class ForkServer {
 public:
  /// The one that was started before main().
  static const ForkServer& instance();

  ForkServer();
  ~ForkServer();
  ForkServer(const ForkServer&) = delete;
  ForkServer& operator=(const ForkServer&) = delete;

  /// Starts the program with the words of a shell's command line in `folder`
  /// (empty: here), its streams going to two files.
  pid_t start(
      const std::string& arguments,
      const std::filesystem::path& folder,
      const std::filesystem::path& out,
      const std::filesystem::path& err) const;

  /// waitpid() for one that it has started.
  pid_t wait(pid_t process, int* status, int options) const;

 private:
  pid_t server_ = -1;
  int socket_ = -1;
};

}  // namespace stepsize::trainer
