#pragma once

#include <c10/core/Device.h>
#include <stepsize/distributed/reduction.h>
#include <torch/arg.h>

#include <cstdint>
#include <memory>
#include <optional>
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

  /// What the launcher of this process has set, empty where there is none: of
  /// torchrun, else Open MPI's mpirun, MPICH's mpiexec, a step of SLURM (srun).
  ///
  ///     if (auto launched = ConnectOptions::from_environment()) {
  ///       ranks = connect(launched->timeout_seconds(300));
  ///     }
  ///
  /// MASTER_ADDR and MASTER_PORT name the master whichever it is; mpirun on one
  /// machine and srun need neither: docs/distributed.md, "Launchers". Throws
  /// c10::Error, naming the variable, where one is missing or not a number in
  /// its range.
  static std::optional<ConnectOptions> from_environment();

  TORCH_ARG(std::string, master);
  /// Processes in all; >= 1.
  TORCH_ARG(int64_t, world_size) = 1;
  /// This one, in [0, world_size).
  TORCH_ARG(int64_t, rank) = 0;
  /// This one among those of its machine, as its launcher says; for the choice
  /// of a GPU, connect() does not read it.
  TORCH_ARG(int64_t, local_rank) = 0;
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
