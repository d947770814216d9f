#pragma once

#include <optional>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

namespace stepsize::trainer {

// How the help shows what an option is where it is left out.

/// The words in lines as long as a description's may be.
std::string wrapped(const std::vector<std::string>& words);

/// " [128]": whatever else is given.
template <typename Value>
std::string fixed_default(const Value& value) {
  std::ostringstream text;
  text << " [" << value << "]";
  return text.str();
}

template <typename Map>
std::vector<std::string> keys_of(const Map& map) {
  std::vector<std::string> result;
  for (const auto& entry : map) {
    result.push_back(entry.first);
  }
  return result;
}

template <typename Value>
const Value* where_present(const Value& value) {
  return &value;
}

template <typename Value>
const Value* where_present(const std::optional<Value>& value) {
  return value ? &*value : nullptr;
}

/// "[sgd: 0.1, adam: 0.001]": an option's defaults, for those that have it.
/// With `usual`, those that have that default stand at the end as "or else
/// ...".
template <typename Map, typename Value>
std::string by_name(
    const Map& map,
    Value Map::mapped_type::*value,
    const std::optional<std::common_type_t<Value>>& usual = std::nullopt) {
  std::vector<std::string> entries;
  const auto add = [&](const std::string& name, const auto& number) {
    std::ostringstream text;
    text << (entries.empty() ? "[" : "") << name << ' ' << number << ',';
    entries.push_back(text.str());
  };
  for (const auto& [name, defaults] : map) {
    const auto* number = where_present(defaults.*value);
    if (number != nullptr && !(usual && defaults.*value == *usual)) {
      add(name + ":", *number);
    }
  }
  if (usual) {
    add("or else", *where_present(*usual));
  }
  entries.back().back() = ']';
  return wrapped(entries);
}

}  // namespace stepsize::trainer
