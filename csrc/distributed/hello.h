#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "csrc/distributed/channel.h"
#include "csrc/distributed/meeting.h"

namespace stepsize::detail {

// What ranks say when they meet. A rank begins with kHello and facts about
// itself; rank 0 answers kWelcome at once, then kGoOn, or kRefusal with why.
constexpr char kHello[] = "hello";
constexpr char kWelcome[] = "welcome";
constexpr char kGoOn[] = "go on";
constexpr char kRefusal[] = "refusal";

/// What a rank says of itself.
struct Hello {
  std::int64_t rank = 0;
  std::map<std::string, std::string> facts;
};

/// What is compared, in this order: the world size, then the meeting's facts.
std::vector<std::pair<std::string, std::string>> facts_of(
    const Meeting& meeting);

Words hello_of(const Meeting& meeting);
/// Nothing where the words are none.
std::optional<Hello> read_hello(const Words& words);

/// Asks who listens at the master's place, where rank 0 cannot. Throws
/// std::runtime_error where it is another rank 0, which then throws the same,
/// or speaks as no rank does. Returns where it says nothing, or nobody is there
/// any more.
void ask_who_listens(const Meeting& meeting);

}  // namespace stepsize::detail
