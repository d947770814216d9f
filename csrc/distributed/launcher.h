#pragma once

#include <stepsize/distributed/connect.h>

#include <functional>
#include <optional>
#include <string>

namespace stepsize::detail {

/// The value of a variable of the environment; empty where it is not set.
using Environment = std::function<std::string(const char* name)>;

/// ConnectOptions::from_environment() in an environment of any kind.
std::optional<ConnectOptions> launched_options(const Environment& environment);

/// The first host of a list as SLURM writes it: n007 of "n[007-012,3],m1".
std::string first_host(const std::string& list);

}  // namespace stepsize::detail
