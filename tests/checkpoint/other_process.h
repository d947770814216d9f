#pragma once

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <functional>
#include <string>

namespace stepsize::test {

/// An exit status: what was to be tried cannot be tried here.
constexpr int kSkipped = 77;

/// Calls in another process, which may limit itself; what it wrote to the text
/// comes back. Its exit status goes to `status`.
inline std::string in_another_process(
    const std::function<int(std::string&)>& call, int& status) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    std::string text;
    const int code = call(text);
    const auto size = static_cast<ssize_t>(text.size());
    ::_exit(::write(ends[1], text.data(), text.size()) == size ? code : 99);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  ssize_t part = 0;
  while ((part = ::read(ends[0], buffer, sizeof(buffer))) > 0) {
    text.append(buffer, static_cast<std::size_t>(part));
  }
  ::close(ends[0]);
  ::waitpid(child, &status, 0);
  status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return text;
}

}  // namespace stepsize::test
