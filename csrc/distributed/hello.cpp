#include "csrc/distributed/hello.h"

#include <cstddef>

#include "csrc/text/number.h"

namespace stepsize::detail {

std::vector<std::pair<std::string, std::string>> facts_of(
    const Meeting& meeting) {
  std::vector<std::pair<std::string, std::string>> facts{
      {"world size", std::to_string(meeting.world_size)}};
  facts.insert(facts.end(), meeting.facts.begin(), meeting.facts.end());
  return facts;
}

Words hello_of(const Meeting& meeting) {
  Words words{kHello, std::to_string(meeting.rank)};
  for (const auto& [name, value] : facts_of(meeting)) {
    words.push_back(name);
    words.push_back(value);
  }
  return words;
}

std::optional<Hello> read_hello(const Words& words) {
  if (words.size() < 2 || words.size() % 2 != 0 || words[0] != kHello) {
    return std::nullopt;
  }
  Hello hello;
  const auto rank = number_in<decltype(hello.rank)>(words[1]);
  if (!rank) return std::nullopt;
  hello.rank = *rank;
  for (std::size_t i = 2; i < words.size(); i += 2) {
    hello.facts[words[i]] = words[i + 1];
  }
  return hello;
}

}  // namespace stepsize::detail
