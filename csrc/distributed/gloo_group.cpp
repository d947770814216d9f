#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <chrono>
#include <csignal>
#include <exception>
#include <string>
#include <type_traits>
#include <utility>

#include <stepsize/distributed/process_group_reduction.h>

#include "csrc/distributed/failure.h"
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

// How ranks that have met make a group of theirs, and further ones.
struct RanksThatMet {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::ProcessGroupGloo::Options> wanted;
  int64_t rank;
  int64_t world_size;
  double timeout_seconds;
};

c10::intrusive_ptr<c10d::ProcessGroup> group_named(
    const std::string& name, const RanksThatMet& met) {
  const auto own_store =
      c10::make_intrusive<c10d::PrefixStore>(name, met.store);
  const auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(
      own_store,
      static_cast<int>(met.rank),
      static_cast<int>(met.world_size),
      met.wanted);
  return group_of<c10d::ProcessGroup>(gloo, own_store);
}

class GlooReduction : public ProcessGroupReduction {
 public:
  GlooReduction(RanksThatMet met, const std::string& name)
      : ProcessGroupReduction(
            group_named(name, met), at::kCPU, met.timeout_seconds),
        met_(std::move(met)),
        name_(name) {}

  std::shared_ptr<Reduction> duplicate() override {
    // All come here, and at about the same time.
    barrier();
    try {
      return std::make_shared<GlooReduction>(
          met_, name_ + "." + std::to_string(++duplicates_));
    } catch (const std::exception&) {
      const std::string text = text_of(std::current_exception());
      const std::string why = "connect: no further group: ";
      constexpr c10::SourceLocation kHere{"duplicate", "gloo_group.cpp", 0};
      throw RankLostError(kHere, why + text.substr(0, text.find('\n')));
    }
  }

 private:
  RanksThatMet met_;
  std::string name_;
  int64_t duplicates_ = 0;
};

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
  return std::make_shared<GlooReduction>(
      RanksThatMet{
          store,
          wanted,
          options.rank(),
          options.world_size(),
          options.timeout_seconds()},
      "gloo");
}

}  // namespace stepsize::detail
