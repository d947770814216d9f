#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

namespace stepsize::trainer {

/// What options are with a dataset where they are left out.
struct DatasetDefaults {
  std::string data_dir;  ///< empty: there is none
  std::string augment;
  std::int64_t epochs;
};

/// What options are with an optimizer where they are left out.
struct OptimizerDefaults {
  double lr;
  double momentum;
  double weight_decay;
  std::optional<double> max_norm;  ///< nothing: the optimizer has none
  std::optional<double> safety;    ///< likewise
  const char* lr_scaling;          ///< how the rate follows the batch
};

/// By the names on the command line.
const std::map<std::string, DatasetDefaults>& dataset_defaults();
const std::map<std::string, OptimizerDefaults>& optimizer_defaults();

/// The optimizers that have an option: "clipped-adamw and clipped-sgd".
std::string owners_of(std::optional<double> OptimizerDefaults::*option);

/// Words with spaces between them, or line breaks where a line of the help is
/// full.
std::string wrapped(const std::vector<std::string>& words);

template <typename Map>
std::vector<std::string> names(const Map& map) {
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

/// "[sgd: 0.1, adam: 0.001]": an option's defaults in the help, for those that
/// have it. With `usual`, those that have that default stand at the end as "or
/// else ...".
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
