#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "csrc/distributed/channel.h"
#include "csrc/distributed/groups.h"

namespace stepsize::detail {

/// How the ranks find each other: rank 0 listens at the master's port, the
/// others come, say who they are, and wait; when all have come, and say the
/// same of the run, rank 0 tells all to go on. What does not speak so is sent
/// away on either side, and LibTorch sees no socket before.
struct Meeting {
  Master master;
  std::int64_t rank = 0;
  std::int64_t world_size = 1;
  /// What must be the same on all ranks besides the world size, by name:
  /// {"stepsize", "0.1.0"}.
  std::vector<std::pair<std::string, std::string>> facts;
  Deadline deadline;
  /// How long that was at first, for messages.
  std::string seconds;

  /// The master as HOST:PORT, for messages.
  std::string place() const;
};

/// Meets the others. On rank 0 a connection to each, the first of rank 1; on
/// another rank one to rank 0. Throws std::runtime_error: with who does not fit
/// to whom, on all ranks that have come by then, or with what was in the way
/// when the time was over.
std::vector<Channel> meet(const Meeting& meeting);

/// The two sides of it.
std::vector<Channel> receive_ranks(const Meeting& meeting);
Channel go_to_master(const Meeting& meeting);

}  // namespace stepsize::detail
