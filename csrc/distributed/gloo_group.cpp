#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <chrono>
#include <csignal>
#include <type_traits>

#include <stepsize/distributed/process_group_reduction.h>

#include "csrc/distributed/groups.h"

namespace stepsize::detail {
namespace {

// Until LibTorch 2 Gloo's class is a group itself, since then it is the backend
// of one.
template <typename Group, typename Gloo>
c10::intrusive_ptr<Group> group_of(
    const c10::intrusive_ptr<Gloo>& gloo,
    const c10::intrusive_ptr<c10d::Store>& store) {
  if constexpr (std::is_base_of_v<Group, Gloo>) {
    return gloo;
  } else {
    auto group =
        c10::make_intrusive<Group>(store, gloo->getRank(), gloo->getSize());
    group->setBackend(c10::DeviceType::CPU, Group::BackendType::GLOO, gloo);
    group->setDefaultBackend(Group::BackendType::GLOO);
    return group;
  }
}

// A write to a rank that is gone would end the program before it can say so.
void ignore_broken_connections() {
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  if (before != SIG_DFL && before != SIG_ERR) std::signal(SIGPIPE, before);
}

}  // namespace

std::shared_ptr<Reduction> gloo_reduction(
    const c10::intrusive_ptr<c10d::Store>& store,
    const ConnectOptions& options,
    Deadline deadline) {
  ignore_broken_connections();
  const std::string address =
      options.address().empty()
          ? address_towards(checked_master(options), deadline)
          : options.address();
  const auto wanted =
      c10d::ProcessGroupGloo::Options::create(std::chrono::milliseconds(
          static_cast<int64_t>(1000 * options.timeout_seconds()) + 1));
  wanted->devices.push_back(
      c10d::ProcessGroupGloo::createDeviceForHostname(address));
  const auto own_store = c10::make_intrusive<c10d::PrefixStore>("gloo", store);
  const auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(
      own_store,
      static_cast<int>(options.rank()),
      static_cast<int>(options.world_size()),
      wanted);
  return std::make_shared<ProcessGroupReduction>(
      group_of<c10d::ProcessGroup>(gloo, own_store),
      at::kCPU,
      options.timeout_seconds());
}

}  // namespace stepsize::detail
