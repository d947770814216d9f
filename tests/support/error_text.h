#pragma once

#include <c10/util/Exception.h>

#include <string>

namespace stepsize::test {

/// What the c10::Error says that `call` throws.
template <typename Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "nothing was thrown";
}

}  // namespace stepsize::test
