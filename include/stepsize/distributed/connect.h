#pragma once

#include <c10/core/Device.h>
#include <stepsize/distributed/reduction.h>
#include <torch/arg.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace stepsize {

/// Options of connect().
class ConnectOptions {
 public:
  /// `master`: "HOST:PORT" of rank 0, the same on every rank; rank 0 listens
  /// there while ranks meet. "[::1]:29500" for an address of IPv6.
  ConnectOptions(std::string master)  // NOLINT: implicit
      : master_(std::move(master)) {}

  TORCH_ARG(std::string, master);
  /// Processes in all; >= 1.
  TORCH_ARG(int64_t, world_size) = 1;
  /// This one, in [0, world_size).
  TORCH_ARG(int64_t, rank) = 0;
  /// How long to wait for other ranks, to meet and in every operation after;
  /// finite and > 0. Longer than the slowest rank's slowest pause: a test pass,
  /// a save.
  TORCH_ARG(double, timeout_seconds) = 60;
  /// Where the model is. A GPU: NCCL, where stepsize was built with it, one GPU
  /// a rank; else Gloo, with which tensors travel through the host's memory.
  TORCH_ARG(at::Device, device) = at::kCPU;
  /// Name or address of this machine for the other ranks; empty: the one by
  /// which it reaches the master.
  TORCH_ARG(std::string, address);
};

/// Meets the other ranks, and returns when all have their group: connecting
/// each to each takes at most one more time-out than meeting does, and the
/// look-up of a name after the meeting as long as the system takes.
///
///     auto ranks = stepsize::connect(stepsize::ConnectOptions(
///         "127.0.0.1:29500").rank(rank).world_size(2));
///     optimizer.set_reduction(ranks);
///
/// With Gloo the signal SIGPIPE is ignored from then on, unless the program has
/// a handler for it: a lost rank would end the others else.
///
/// Throws c10::Error where an option is out of range, a rank is missing when
/// the time is over, the address cannot be had, or this stepsize was built
/// without Gloo (`stepsize_HAS_GLOO` of the CMake package).
std::shared_ptr<Reduction> connect(const ConnectOptions& options);

}  // namespace stepsize
