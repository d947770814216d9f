#include <stepsize/distributed/connect.h>

#include <c10/util/Exception.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "csrc/distributed/failure.h"
#include "csrc/distributed/groups.h"
#include "csrc/distributed/meeting.h"
#include "csrc/distributed/meeting_store.h"
#include "csrc/text/number.h"

namespace stepsize {
namespace {

std::chrono::milliseconds time_of(const ConnectOptions& options) {
  return std::chrono::milliseconds(
      static_cast<int64_t>(1000 * options.timeout_seconds()) + 1);
}

detail::Meeting meeting_of(
    const ConnectOptions& options, const detail::Master& master) {
  detail::Meeting meeting;
  meeting.master = master;
  meeting.rank = options.rank();
  meeting.world_size = options.world_size();
  const bool uses_nccl = options.device().is_cuda() && detail::has_nccl();
  meeting.facts = {
      {"stepsize", STEPSIZE_VERSION},
      {"LibTorch", TORCH_VERSION},
      {"backend", uses_nccl ? "NCCL" : "Gloo"}};
  meeting.deadline = detail::Clock::now() + time_of(options);
  meeting.seconds = detail::number_text(options.timeout_seconds());
  return meeting;
}

[[noreturn]] void refuse(const std::string& why) {
  // Unlike TORCH_CHECK(false) this is known to every compiler not to return.
  C10_THROW_ERROR(Error, std::string(detail::kConnect) + ": " + why);
}

}  // namespace

std::shared_ptr<Reduction> connect(const ConnectOptions& options) {
  const detail::Master master = detail::checked_master(options);
  const detail::Meeting meeting = meeting_of(options, master);
  std::vector<detail::Channel> channels;
  try {
    channels = detail::meet(meeting);
  } catch (const std::exception& error) {
    refuse(error.what());
  }
  // Ranks that have met in the last moment may still make their group.
  const auto deadline = std::max<detail::Deadline>(
      meeting.deadline,
      detail::Clock::now() + std::min<std::chrono::milliseconds>(
                                 time_of(options), std::chrono::seconds(5)));
  c10::intrusive_ptr<detail::MeetingStore> store;
  std::string why;
  try {
    store = c10::make_intrusive<detail::MeetingStore>(
        meeting, std::move(channels), deadline, time_of(options));
    std::shared_ptr<Reduction> reduction;
    if (options.device().is_cuda()) {
      reduction = detail::nccl_reduction(store, options);
    }
    if (!reduction)
      reduction = detail::gloo_reduction(store, options, deadline);
    store->finish();
    return reduction;
  } catch (const std::exception&) {
    const std::string text = detail::text_of(std::current_exception());
    why = text.substr(0, text.find('\n'));
  }
  // Without one the connections are closed, which the others see.
  if (store) store->fail(why);
  refuse(
      "rank " + std::to_string(meeting.rank) + " of " +
      std::to_string(meeting.world_size) +
      " has met the others, and cannot get through to them: " + why);
}

}  // namespace stepsize
