#pragma once

#include <c10/util/Exception.h>
#include <torch/serialize/archive.h>

#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "csrc/core/archive.h"

namespace stepsize::detail {

/// Writes kind, options and state of a value with clone(), name(), numbers(),
/// set_numbers(), state() and restore(), a policy or a rule, under keys that
/// begin with `key`.
template <typename Value>
void write_value(
    torch::serialize::OutputArchive& archive,
    const std::string& key,
    const Value& value) {
  write_string(archive, key, value.name());
  std::string names;
  std::vector<double> numbers;
  for (const auto& [name, number] : value.numbers()) {
    names += name + '\n';
    numbers.push_back(number);
  }
  write_string(archive, key + "_options", names);
  write_doubles(archive, key + "_option_values", numbers);
  write_doubles(archive, key + "_state", value.state());
}

/// A clone of `present` with options and state of the archive. Throws
/// c10::Error, in the name of `owner`, where that is of another kind.
template <typename Value>
std::shared_ptr<Value> read_value(
    torch::serialize::InputArchive& archive,
    const std::string& owner,
    const std::string& key,
    const std::string& what,
    const Value& present) {
  const auto name = read_string(archive, owner, key);
  TORCH_CHECK(
      name == present.name(),
      owner,
      ": the archive was written with ",
      name,
      ", and the ",
      what,
      " here is ",
      present.name());
  std::shared_ptr<Value> value = present.clone();
  std::vector<std::pair<std::string, double>> options;
  c10::IValue there;
  // None where the archive is of before they were kept: those here stay then.
  if (archive.try_read(key + "_options", there)) {
    const auto numbers = read_doubles(archive, owner, key + "_option_values");
    std::istringstream text(read_string(archive, owner, key + "_options"));
    std::vector<std::string> names;
    for (std::string line; std::getline(text, line);) names.push_back(line);
    TORCH_CHECK(
        numbers.size() == names.size(),
        owner,
        ": the archive has ",
        numbers.size(),
        " values of ",
        names.size(),
        " options of the ",
        what);
    for (std::size_t i = 0; i < names.size(); ++i) {
      options.emplace_back(names[i], numbers[i]);
    }
  }
  value->set_numbers(options);
  value->restore(read_doubles(archive, owner, key + "_state"));
  return value;
}

}  // namespace stepsize::detail
