#pragma once

#include <c10/util/Exception.h>

#include <exception>
#include <string>

namespace stepsize::detail {

/// What an exception says, without the backtrace that LibTorch adds.
inline std::string text_of(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "something was thrown that is no std::exception";
  }
}

/// Calls, and where that throws, throws c10::Error "PLACE: what was thrown".
template <typename Call>
void guarded(const std::string& place, const Call& call) {
  std::string failure;
  try {
    call();
    return;
  } catch (...) {
    failure = text_of(std::current_exception());
  }
  // A message that names the place already is not to name it twice.
  const auto last = place.rfind(": ");
  const std::string owner =
      last == std::string::npos ? place : place.substr(last + 2);
  if (failure.rfind(owner + ": ", 0) == 0) {
    failure = failure.substr(owner.size() + 2);
  }
  TORCH_CHECK(false, place, ": ", failure);
}

}  // namespace stepsize::detail
