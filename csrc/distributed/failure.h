#pragma once

#include <stepsize/distributed/reduction.h>

#include <cstdint>
#include <exception>
#include <string>

namespace stepsize::detail {

/// What an exception says, without LibTorch's backtrace.
std::string text_of(const std::exception_ptr& failure);

/// Throws a failure that is a RankLostError: there is nobody left to tell.
void rethrow_lost_rank(const std::exception_ptr& failure);

/// Throws c10::Error unless there is such a rank.
void check_root(const char* kind, const Reduction& reduction, int64_t root);

/// To be called by all ranks where one has failed, `first` being the first that
/// has. Throws `own` where this rank has failed, else c10::Error with what
/// that rank has to say.
[[noreturn]] void throw_failure(
    Reduction& reduction, int64_t first, const std::exception_ptr& own);

}  // namespace stepsize::detail
