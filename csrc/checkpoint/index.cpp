#include "csrc/checkpoint/index.h"

#include <c10/util/Exception.h>
#include <torch/serialize/archive.h>

#include <map>
#include <set>
#include <vector>

#include "csrc/core/archive.h"
#include "csrc/core/tensors.h"

namespace stepsize::detail {
namespace {

using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

constexpr char kIndex[] = "the index";
constexpr auto kLastKind = static_cast<int64_t>(CheckpointEntryKind::kText);

template <typename Value>
std::vector<std::string> keys_of(const std::map<std::string, Value>& map) {
  std::vector<std::string> keys;
  for (const auto& entry : map) keys.push_back(entry.first);
  return keys;
}

template <typename Value>
std::vector<Value> values_of(const std::map<std::string, Value>& map) {
  std::vector<Value> values;
  for (const auto& entry : map) values.push_back(entry.second);
  return values;
}

template <typename Value>
std::map<std::string, Value> map_of(
    const std::vector<std::string>& keys, const std::vector<Value>& values) {
  TORCH_CHECK(
      keys.size() == values.size(), kIndex, ": it has other names than values");
  std::map<std::string, Value> map;
  for (std::size_t i = 0; i < keys.size(); ++i) map[keys[i]] = values[i];
  return map;
}

void write_entries(OutputArchive& archive, const CheckpointInfo& info) {
  std::vector<std::string> names;
  std::vector<int64_t> kinds;
  std::vector<std::string> classes;
  for (const CheckpointEntry& entry : info.entries) {
    names.push_back(entry.name);
    kinds.push_back(static_cast<int64_t>(entry.kind));
    classes.push_back(entry.class_name);
  }
  write_strings(archive, "names", names);
  write_ints(archive, "kinds", kinds);
  write_strings(archive, "classes", classes);
}

std::vector<CheckpointEntry> read_entries(InputArchive& archive) {
  const auto names = read_strings(archive, kIndex, "names");
  const auto kinds = read_ints(archive, kIndex, "kinds");
  const auto classes = read_strings(archive, kIndex, "classes");
  TORCH_CHECK(
      names.size() == kinds.size() && names.size() == classes.size(),
      kIndex,
      ": its lists are of different lengths");
  std::vector<CheckpointEntry> entries;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < names.size(); ++i) {
    TORCH_CHECK(
        kinds[i] >= 0 && kinds[i] <= kLastKind && seen.insert(names[i]).second,
        kIndex,
        ": its entry '",
        names[i],
        "' is of an unknown kind, or there twice");
    entries.push_back(
        {names[i], static_cast<CheckpointEntryKind>(kinds[i]), classes[i]});
  }
  return entries;
}

}  // namespace

std::string index_bytes(const CheckpointInfo& info) {
  return archive_bytes([&info](OutputArchive& archive) {
    write_entries(archive, info);
    write_int(archive, "random_state", info.random_state ? 1 : 0);
    write_strings(archive, "counter_names", keys_of(info.counters));
    write_ints(archive, "counters", values_of(info.counters));
    write_strings(archive, "number_names", keys_of(info.numbers));
    write_doubles(archive, "numbers", values_of(info.numbers));
    write_strings(archive, "text_names", keys_of(info.texts));
    write_strings(archive, "texts", values_of(info.texts));
    write_strings(archive, "value_names", keys_of(info.values));
    write_strings(archive, "values", values_of(info.values));
    write_int(archive, "has_step", info.step ? 1 : 0);
    write_int(archive, "step", info.step.value_or(0));
    write_int(archive, "has_metric", info.metric ? 1 : 0);
    write_double(archive, "metric", info.metric.value_or(0));
  });
}

void read_index(const std::string& bytes, CheckpointInfo& info) {
  load_bytes(bytes.data(), bytes.size(), [&info](InputArchive& archive) {
    info.entries = read_entries(archive);
    info.random_state = read_int(archive, kIndex, "random_state", 1) != 0;
    const auto strings = [&archive](const char* key) {
      return read_strings(archive, kIndex, key);
    };
    info.counters = map_of(
        strings("counter_names"), read_ints(archive, kIndex, "counters"));
    info.numbers = map_of(
        strings("number_names"), read_doubles(archive, kIndex, "numbers"));
    info.texts = map_of(strings("text_names"), strings("texts"));
    info.values = map_of(strings("value_names"), strings("values"));
    if (read_int(archive, kIndex, "has_step", 1) != 0) {
      info.step = read_int(archive, kIndex, "step");
    }
    if (read_int(archive, kIndex, "has_metric", 1) != 0) {
      info.metric = read_double(archive, kIndex, "metric");
    }
  });
}

}  // namespace stepsize::detail
