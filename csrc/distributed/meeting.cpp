#include "csrc/distributed/meeting.h"

namespace stepsize::detail {

std::string Meeting::place() const {
  const bool is_six = master.host.find(':') != std::string::npos;
  return (is_six ? "[" + master.host + "]" : master.host) + ":" +
         std::to_string(master.port);
}

std::vector<Channel> meet(const Meeting& meeting) {
  if (meeting.rank == 0) return receive_ranks(meeting);
  std::vector<Channel> channels;
  channels.push_back(go_to_master(meeting));
  return channels;
}

}  // namespace stepsize::detail
