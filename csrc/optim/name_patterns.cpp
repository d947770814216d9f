#include "csrc/optim/name_patterns.h"

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "csrc/text/edit_distance.h"

namespace stepsize::detail {
namespace {

constexpr std::size_t kMostNames = 6;

// The length of the set that the pattern begins with, "[a-c]"; 0 where there is
// none, as a bracket that nothing closes is a character like any other.
std::size_t set_length(std::string_view pattern) {
  if (pattern.empty() || pattern[0] != '[') return 0;
  std::size_t end = 1;
  if (end < pattern.size() && pattern[end] == '!') ++end;
  // A bracket at the start is a member.
  const std::size_t closing = pattern.find(']', end + 1);
  return closing == std::string_view::npos ? 0 : closing + 1;
}

bool set_has(std::string_view set, char letter) {
  std::string_view members = set.substr(1, set.size() - 2);
  const bool excludes = members[0] == '!';
  if (excludes) members.remove_prefix(1);
  bool found = false;
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (i + 2 < members.size() && members[i + 1] == '-') {
      found = found || (members[i] <= letter && letter <= members[i + 2]);
      i += 2;
    } else {
      found = found || members[i] == letter;
    }
  }
  return found != excludes;
}

// Goes back to the last star alone: an earlier one can take nothing that this
// one cannot. So the time is that of the product of the two lengths at most.
bool glob_matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;
  std::size_t star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
      continue;
    }
    const std::size_t set = set_length(pattern.substr(p));
    if (set > 0 && set_has(pattern.substr(p, set), text[t])) {
      p += set;
      ++t;
    } else if (
        set == 0 && p < pattern.size() &&
        (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// The names, and those of the modules that they lie in, each once.
std::vector<std::string> with_modules(const std::vector<std::string>& names) {
  std::vector<std::string> all;
  std::unordered_set<std::string> known;
  for (const std::string& name : names) {
    for (std::size_t dot = name.find('.'); dot != std::string::npos;
         dot = name.find('.', dot + 1)) {
      if (known.insert(name.substr(0, dot)).second) {
        all.push_back(name.substr(0, dot));
      }
    }
    if (known.insert(name).second) all.push_back(name);
  }
  return all;
}

std::string listed(const std::vector<std::string>& names, const char* last) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 < names.size() ? ", " : last;
    text += "'" + names[i] + "'";
  }
  return text;
}

}  // namespace

bool name_matches(const std::string& pattern, const std::string& name) {
  for (std::size_t dot = name.find('.'); dot != std::string::npos;
       dot = name.find('.', dot + 1)) {
    if (glob_matches(pattern, std::string_view(name).substr(0, dot))) {
      return true;
    }
  }
  return glob_matches(pattern, name);
}

std::string near_names(
    const std::string& pattern, const std::vector<std::string>& names) {
  // "haed.*" is meant as the module.
  std::string plain = pattern;
  if (plain.size() > 2 && plain.substr(plain.size() - 2) == ".*") {
    plain.resize(plain.size() - 2);
  }
  std::vector<std::pair<std::size_t, std::string>> near;
  for (const std::string& name : with_modules(names)) {
    const std::size_t apart = edit_distance(plain, name);
    // Two letters that have changed places are two apart.
    const std::size_t most =
        plain.size() < 4 ? 1 : std::max<std::size_t>(plain.size() / 3, 2);
    if (apart <= most) {
      near.emplace_back(apart, name);
    }
  }
  if (!near.empty()) {
    std::stable_sort(
        near.begin(), near.end(), [](const auto& a, const auto& b) {
          return a.first < b.first;
        });
    std::vector<std::string> nearest;
    for (const auto& [apart, name] : near) {
      if (nearest.size() < 3) nearest.push_back(name);
    }
    return "; did you mean " + listed(nearest, " or ") + "?";
  }
  std::vector<std::string> tops;
  for (const std::string& name : names) {
    const std::string top = name.substr(0, name.find('.'));
    if (std::find(tops.begin(), tops.end(), top) == tops.end()) {
      tops.push_back(top);
    }
  }
  return tops.empty() ? "" : "; the module has " + some_of(tops);
}

std::string some_of(const std::vector<std::string>& names) {
  if (names.size() <= kMostNames) return listed(names, " and ");
  const auto end = names.begin() + static_cast<std::ptrdiff_t>(kMostNames);
  return listed({names.begin(), end}, ", ") + " and " +
         std::to_string(names.size() - kMostNames) + " more";
}

}  // namespace stepsize::detail
