#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <chrono>
#include <cstdlib>
#include <type_traits>

#include <stepsize/distributed/process_group_reduction.h>

#include "csrc/distributed/groups.h"

namespace stepsize::detail {
namespace {

// As with Gloo.
template <typename Group, typename Nccl>
c10::intrusive_ptr<Group> group_of(
    const c10::intrusive_ptr<Nccl>& nccl,
    const c10::intrusive_ptr<c10d::Store>& store) {
  if constexpr (std::is_base_of_v<Group, Nccl>) {
    return nccl;
  } else {
    auto group =
        c10::make_intrusive<Group>(store, nccl->getRank(), nccl->getSize());
    group->setBackend(c10::DeviceType::CUDA, Group::BackendType::NCCL, nccl);
    group->setDefaultBackend(Group::BackendType::NCCL);
    return group;
  }
}

}  // namespace

bool has_nccl() { return true; }

std::shared_ptr<Reduction> nccl_reduction(
    const c10::intrusive_ptr<c10d::Store>& store,
    const ConnectOptions& options) {
  // Else wait() only queues what follows, and a lost rank shows nowhere. What
  // the user has set stays. LibTorch 1.13 reads the second name.
  for (const char* name : {"TORCH_NCCL_BLOCKING_WAIT", "NCCL_BLOCKING_WAIT"}) {
    setenv(name, "1", /*overwrite=*/0);
  }
  auto wanted = c10d::ProcessGroupNCCL::Options::create();
  wanted->timeout = std::chrono::milliseconds(
      static_cast<int64_t>(1000 * options.timeout_seconds()) + 1);
  const auto own_store = c10::make_intrusive<c10d::PrefixStore>("nccl", store);
  const auto nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(
      own_store,
      static_cast<int>(options.rank()),
      static_cast<int>(options.world_size()),
      wanted);
  return std::make_shared<ProcessGroupReduction>(
      group_of<c10d::ProcessGroup>(nccl, own_store),
      options.device(),
      options.timeout_seconds());
}

}  // namespace stepsize::detail
