#include <stepsize/distributed/agree.h>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace stepsize {
namespace {

constexpr char kEnd = '\0';

std::string text_of(const Facts& facts) {
  std::string text;
  for (const auto& [name, value] : facts) {
    text += name + kEnd + value + kEnd;
  }
  return text;
}

Facts facts_in(const std::string& text) {
  Facts facts;
  std::size_t place = 0;
  const auto next = [&] {
    const std::size_t end = text.find(kEnd, place);
    std::string word = text.substr(place, end - place);
    place = end == std::string::npos ? text.size() : end + 1;
    return word;
  };
  while (place < text.size()) {
    std::string name = next();
    facts.emplace_back(std::move(name), next());
  }
  return facts;
}

// What this rank has otherwise than rank 0.
std::string difference(
    int64_t rank, const Facts& own_facts, const Facts& first_facts) {
  const std::map<std::string, std::string> own(
      own_facts.begin(), own_facts.end());
  const std::map<std::string, std::string> first(
      first_facts.begin(), first_facts.end());
  constexpr int kMostNames = 4;
  int count = 0;
  std::string text;
  const auto note = [&](const std::string& what) {
    if (++count <= kMostNames) text += (count > 1 ? "; " : "") + what;
  };
  for (const auto& [name, value] : own_facts) {
    const auto at = first.find(name);
    if (at == first.end()) {
      note(name + " is " + value + ", rank 0 has none");
    } else if (at->second != value) {
      note(name + " is " + value + ", rank 0 has " + at->second);
    }
  }
  for (const auto& [name, value] : first_facts) {
    if (own.count(name) == 0) {
      note(name + " is not there, rank 0 has " + value);
    }
  }
  if (count > kMostNames) {
    text += "; and " + std::to_string(count - kMostNames) + " more";
  }
  if (count == 0) text = "its facts come in another order than those of rank 0";
  return "rank " + std::to_string(rank) + ": " + text;
}

}  // namespace

void agree(const Facts& facts, Reduction& reduction, const std::string& name) {
  const std::string own = text_of(facts);
  const std::string first = reduction.broadcast_text(own);
  const auto differs = reduction.gather(own == first ? 0.0 : 1.0);
  const auto at = std::find(differs.begin(), differs.end(), 1.0);
  if (at == differs.end()) return;
  const int64_t rank = at - differs.begin();
  const std::string text = reduction.broadcast_text(
      reduction.rank() == rank ? difference(rank, facts, facts_in(first)) : "",
      rank);
  TORCH_CHECK(false, name.empty() ? "" : name + ": ", text);
}

}  // namespace stepsize
