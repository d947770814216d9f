#include "csrc/distributed/failure.h"

#include <c10/util/Exception.h>

#include <cstdint>
#include <string>

#include "csrc/core/check.h"

namespace stepsize::detail {

std::string text_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an exception of unknown type";
  }
}

void rethrow_lost_rank(const std::exception_ptr& failure) {
  if (!failure) return;
  try {
    std::rethrow_exception(failure);
  } catch (const RankLostError&) {
    throw;
  } catch (...) {
    // The others are to hear of this one.
  }
}

void check_root(const char* kind, const Reduction& reduction, int64_t root) {
  check_option(
      root >= 0 && root < reduction.world_size(),
      kind,
      "root",
      "in [0, " + std::to_string(reduction.world_size()) + ")",
      root);
}

void throw_failure(
    Reduction& reduction, int64_t first, const std::exception_ptr& own) {
  const std::string text = reduction.broadcast_text(
      reduction.rank() == first ? text_of(own) : std::string(), first);
  if (own) std::rethrow_exception(own);
  TORCH_CHECK(false, "rank ", first, " failed: ", text);
}

}  // namespace stepsize::detail
