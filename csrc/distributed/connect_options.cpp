#include <c10/util/Exception.h>

#include <cmath>
#include <limits>

#include "csrc/core/check.h"
#include "csrc/distributed/groups.h"
#include "csrc/text/number.h"

namespace stepsize::detail {

Master checked_master(const ConnectOptions& options) {
  check_option(
      options.world_size() >= 1 &&
          options.world_size() <= std::numeric_limits<int>::max(),
      kConnect,
      "world_size",
      ">= 1",
      options.world_size());
  check_option(
      options.rank() >= 0 && options.rank() < options.world_size(),
      kConnect,
      "rank",
      "in [0, " + std::to_string(options.world_size()) + ")",
      options.rank());
  // In milliseconds an int64_t holds more, but nobody waits for a century.
  constexpr double kMostSeconds = 3e9;
  check_option(
      options.timeout_seconds() > 0 &&
          options.timeout_seconds() <= kMostSeconds,
      kConnect,
      "timeout_seconds",
      "finite and > 0",
      options.timeout_seconds());
  const std::string& text = options.master();
  const auto colon = text.rfind(':');
  Master master;
  if (colon != std::string::npos) {
    master.host = text.substr(0, colon);
    master.port =
        number_in<decltype(master.port)>(text.substr(colon + 1)).value_or(0);
  }
  if (master.host.size() > 2 && master.host.front() == '[' &&
      master.host.back() == ']') {
    master.host = master.host.substr(1, master.host.size() - 2);
  }
  constexpr int kLastPort = 65535;
  TORCH_CHECK(
      !master.host.empty() && master.port >= 1 && master.port <= kLastPort,
      kConnect,
      ": master must be HOST:PORT with a port in [1, 65535], got '",
      text,
      "'");
  return master;
}

}  // namespace stepsize::detail
