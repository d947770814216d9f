#include "csrc/tune/search_record.h"

#include <c10/util/Exception.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <nlohmann/json.hpp>

#include "csrc/text/number.h"

namespace stepsize::detail {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no word for NaN and infinity.
Json loss_json(double loss) {
  if (std::isfinite(loss)) return loss;
  return number_text(loss);
}

// The members of a flat object. Each reader says whether the member is there
// and of that kind: a line is whole or it is none.
class Members {
 public:
  explicit Members(const Json& object) : object_(object) {}

  bool has(const char* key) const { return object_.contains(key); }
  bool has_only(std::size_t count) const { return object_.size() == count; }

  bool text(const char* key, std::string& out) const {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_string()) return false;
    out = found->get<std::string>();
    return true;
  }
  bool list(const char* key, std::vector<double>& out) const {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_array()) return false;
    for (const auto& number : *found) {
      if (!number.is_number()) return false;
    }
    out = found->get<std::vector<double>>();
    return true;
  }
  // At least 0.
  bool count(const char* key, int64_t& out) const {
    constexpr int64_t kMost = int64_t{1} << 53;
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_number_unsigned()) return false;
    const auto value = found->get<uint64_t>();
    out = static_cast<int64_t>(value);
    return value <= static_cast<uint64_t>(kMost);
  }
  bool loss(const char* key, double& out) const {
    const auto found = object_.find(key);
    if (found == object_.end()) return false;
    if (found->is_number()) {
      out = found->get<double>();
      return true;
    }
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    std::string word;
    if (!text(key, word)) return false;
    if (word == "nan") out = std::numeric_limits<double>::quiet_NaN();
    if (word == "inf") out = kInfinity;
    if (word == "-inf") out = -kInfinity;
    return word == "nan" || word == "inf" || word == "-inf";
  }
  bool whole(const char* key, int64_t& out) const {
    std::string word;
    if (!text(key, word)) return false;
    const auto number = number_in<int64_t>(word);
    out = number.value_or(0);
    return number.has_value();
  }

 private:
  const Json& object_;
};

Json to_json(const SearchRecord& record) {
  switch (record.kind) {
    case SearchRecord::Kind::kSearch:
      return {
          {"lr_search", 1},
          {"space", record.space},
          {"context", record.context},
          {"label", record.label},
          // Seeds reach beyond the whole numbers of many JSON readers.
          {"seed", std::to_string(record.seed)},
          {"repeats", record.repeats}};
    case SearchRecord::Kind::kStart:
      return {{"start", record.trial}, {"values", record.values}};
    case SearchRecord::Kind::kReport:
      return {
          {"report", record.trial},
          {"repeat", record.repeat},
          {"step", record.step},
          {"loss", loss_json(record.loss)}};
    case SearchRecord::Kind::kEnd:
      return {
          {"end", record.trial},
          {"repeat", record.repeat},
          {"step", record.step},
          {"loss", loss_json(record.loss)},
          {"status", record.status}};
  }
  return {};
}

}  // namespace

std::string SearchRecord::to_line() const {
  try {
    return to_json(*this).dump();
  } catch (const Json::type_error&) {
    TORCH_CHECK(
        false,
        "LRSearch: label and space must be UTF-8, as the journal is JSON, got "
        "'",
        label,
        "' and '",
        space,
        "'");
  }
  return "";
}

std::optional<SearchRecord> SearchRecord::parse(const std::string& line) {
  // The parser takes it for the end of the text.
  if (line.find('\0') != std::string::npos) return std::nullopt;
  // Of two members of one name the parser would keep one.
  std::size_t keys = 0;
  const auto count_keys =
      [&keys](
          int /*depth*/, Json::parse_event_t event, const Json& /*parsed*/) {
        if (event == Json::parse_event_t::key) ++keys;
        return true;
      };
  const Json object = Json::parse(line, count_keys, /*allow_exceptions=*/false);
  if (!object.is_object() || !Members(object).has_only(keys)) {
    return std::nullopt;
  }
  const Members members(object);
  SearchRecord record;
  bool whole = false;
  if (members.has("lr_search")) {
    int64_t version = 0;
    record.kind = Kind::kSearch;
    whole = members.has_only(6) && members.count("lr_search", version) &&
            version == 1 && members.text("space", record.space) &&
            members.list("context", record.context) &&
            members.text("label", record.label) &&
            members.whole("seed", record.seed) &&
            members.count("repeats", record.repeats);
  } else if (members.has("start")) {
    record.kind = Kind::kStart;
    whole = members.has_only(2) && members.count("start", record.trial) &&
            members.list("values", record.values);
  } else if (members.has("report")) {
    record.kind = Kind::kReport;
    whole = members.has_only(4) && members.count("report", record.trial) &&
            members.count("repeat", record.repeat) &&
            members.count("step", record.step) &&
            members.loss("loss", record.loss);
  } else if (members.has("end")) {
    record.kind = Kind::kEnd;
    whole = members.has_only(5) && members.count("end", record.trial) &&
            members.count("repeat", record.repeat) &&
            members.count("step", record.step) &&
            members.loss("loss", record.loss) &&
            members.text("status", record.status) &&
            (record.status == "finished" || record.status == "stopped" ||
             record.status == "diverged");
  }
  if (!whole) return std::nullopt;
  return record;
}

}  // namespace stepsize::detail
