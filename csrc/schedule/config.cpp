#include "csrc/schedule/config.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>

#include "csrc/schedule/node.h"
#include "csrc/text/edit_distance.h"
#include "csrc/text/number.h"

namespace stepsize::detail {
namespace {

// No configuration is nested deeper, and a tree is destroyed by recursion.
constexpr std::size_t kMostNested = 32;
constexpr std::size_t kMostShown = 40;
// Every step up to here is a whole number of its own.
constexpr double kMostSteps = 9007199254740992;

}  // namespace

std::string shortened(const std::string& text) {
  if (text.size() <= kMostShown) return text;
  std::size_t end = kMostShown;
  // Not within a letter of several bytes.
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) {
    --end;
  }
  return text.substr(0, end) + "...";
}

// By pieces: GCC 12 warns of what it makes of a literal plus a text.
std::string in_quotes(const std::string& text, char quote) {
  std::string result(1, quote);
  result += shortened(text);
  result += quote;
  return result;
}

namespace {

// Builds the tree, one event of the parser at a time: its own tree would keep
// the last of two members with one name, and tell nobody.
class ConfigBuilder : public nlohmann::json::json_sax_t {
 public:
  explicit ConfigBuilder(ConfigValue& root) : root_(root) {}

  bool null() override { return add(ConfigKind::kNull) != nullptr; }
  bool boolean(bool value) override {
    add(ConfigKind::kBool)->flag = value;
    return true;
  }
  bool number_integer(number_integer_t value) override {
    return number(static_cast<double>(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return number(static_cast<double>(value));
  }
  bool number_float(number_float_t value, const string_t& /*text*/) override {
    return number(value);
  }
  bool string(string_t& value) override {
    add(ConfigKind::kText)->text = value;
    return true;
  }
  bool binary(binary_t& /*value*/) override { return false; }
  bool start_object(std::size_t /*size*/) override {
    return open(ConfigKind::kObject);
  }
  bool end_object() override { return close(); }
  bool start_array(std::size_t /*size*/) override {
    return open(ConfigKind::kList);
  }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (open_.back()->find(name) != nullptr) {
      refuse_config(in_quotes(name) + " stands twice in one object");
    }
    key_ = name;
    return true;
  }
  bool parse_error(
      std::size_t position,
      const std::string& /*token*/,
      const nlohmann::json::exception& /*error*/) override {
    refuse_config(
        "the text is no JSON: it is wrong at byte " + std::to_string(position));
  }

 private:
  ConfigValue* add(ConfigKind kind) {
    // Its parent takes no other member before it is closed: it stays in place.
    ConfigValue* value =
        open_.empty()
            ? &root_
            : &open_.back()->members.emplace_back(key_, ConfigValue{}).second;
    value->kind = kind;
    return value;
  }
  bool number(double value) {
    add(ConfigKind::kNumber)->number = value;
    return true;
  }
  bool open(ConfigKind kind) {
    if (open_.size() >= kMostNested) {
      refuse_config(
          "the text must not be nested more than " +
          std::to_string(kMostNested) + " deep");
    }
    open_.push_back(add(kind));
    key_.clear();  // what a list holds has no name
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  ConfigValue& root_;
  std::vector<ConfigValue*> open_;
  std::string key_;
};

}  // namespace

const ConfigValue* ConfigValue::find(std::string_view name) const {
  for (const auto& [key, value] : members) {
    if (key == name) return &value;
  }
  return nullptr;
}

ConfigValue read_config(const std::string& json) {
  ConfigValue root;
  ConfigBuilder builder(root);
  nlohmann::json::sax_parse(json, &builder);
  if (root.kind != ConfigKind::kObject) {
    refuse_config("the text must be a JSON object, got " + shown(root));
  }
  return root;
}

void refuse_config(const std::string& message) {
  throw std::invalid_argument("from_config: " + message);
}

std::string nearest_name(const std::string& word, const ConfigNames& names) {
  const std::string* nearest = nullptr;
  // A third of the letters may be wrong.
  std::size_t nearest_distance = std::min<std::size_t>(word.size(), 64) / 3 + 1;
  if (word.size() <= 64) {
    for (const std::string& name : names) {
      const std::size_t distance = edit_distance(word, name);
      if (distance < nearest_distance) {
        nearest = &name;
        nearest_distance = distance;
      }
    }
  }
  return nearest == nullptr ? "" : "did you mean '" + *nearest + "'? ";
}

std::string name_list(const ConfigNames& names) {
  std::string list;
  for (const std::string& name : names) {
    list += (list.empty() ? "" : ", ") + name;
  }
  return list.empty() ? "none" : list;
}

std::string shown(const ConfigValue& value) {
  switch (value.kind) {
    case ConfigKind::kNull:
      return "null";
    case ConfigKind::kBool:
      return value.flag ? "true" : "false";
    case ConfigKind::kNumber:
      return number_text(value.number);
    case ConfigKind::kText:
      return "the text " + in_quotes(value.text, '"');
    case ConfigKind::kList:
      return "a list";
    case ConfigKind::kObject:
      break;
  }
  return "an object";
}

ConfigFields::ConfigFields(
    const ConfigValue& object, std::string place, const ConfigNames& known)
    : object_(object), place_(std::move(place)) {
  if (object.kind != ConfigKind::kObject) {
    refuse_config(place_ + " must be an object, got " + shown(object));
  }
  for (const auto& [name, value] : object.members) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      refuse_config(
          in_quotes(name) + " is no field of " + place_ + "; " +
          nearest_name(name, known) + "known are: " + name_list(known));
    }
  }
}

const ConfigValue* ConfigFields::find(const char* name) const {
  const ConfigValue* value = object_.find(name);
  return value == nullptr || value->kind == ConfigKind::kNull ? nullptr : value;
}

void ConfigFields::refuse(const char* name, const std::string& rule) const {
  const ConfigValue* value = find(name);
  refuse_config(
      place_ + ": " + name + " must " + rule + ", got " +
      (value == nullptr ? "none" : shown(*value)));
}

void ConfigFields::one_of(const char* first, const char* second) const {
  if (has(first) && has(second)) {
    refuse_config(
        place_ + ": " + first + " and " + second +
        " say the same; give one of them");
  }
}

std::optional<double> ConfigFields::any_number(const char* name) const {
  const ConfigValue* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->kind == ConfigKind::kText && value->text == "auto") {
    refuse(
        name,
        "be a number; 'auto' is for the Trainer of Hugging Face to fill "
        "in");
  }
  if (value->kind == ConfigKind::kList) {
    refuse(
        name,
        "be a number; one for each parameter group makes several schedules");
  }
  if (value->kind != ConfigKind::kNumber) refuse(name, "be a number");
  return value->number;
}

std::optional<double> ConfigFields::steps(
    const char* name, double least) const {
  const auto value = any_number(name);
  if (value && !(*value >= least && *value <= kMostSteps &&
                 *value == std::floor(*value))) {
    refuse(name, "be a whole number >= " + number_text(least));
  }
  return value;
}

std::optional<double> ConfigFields::number(const char* name) const {
  const auto value = any_number(name);
  if (value && !(*value >= 0 && std::isfinite(*value))) {
    refuse(name, "be >= 0 and finite");
  }
  return value;
}

std::optional<double> ConfigFields::positive(const char* name) const {
  const auto value = any_number(name);
  if (value && !(*value > 0 && std::isfinite(*value))) {
    refuse(name, "be > 0 and finite");
  }
  return value;
}

std::optional<double> ConfigFields::share(const char* name) const {
  const auto value = any_number(name);
  if (value && !(*value >= 0 && *value <= 1)) refuse(name, "be in [0, 1]");
  return value;
}

std::optional<bool> ConfigFields::flag(const char* name) const {
  const ConfigValue* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->kind != ConfigKind::kBool) refuse(name, "be true or false");
  return value->flag;
}

std::optional<std::string> ConfigFields::text(const char* name) const {
  const ConfigValue* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->kind != ConfigKind::kText) refuse(name, "be a text");
  return value->text;
}

std::optional<std::string> ConfigFields::choice(
    const char* name, const ConfigNames& words) const {
  auto word = text(name);
  if (word && std::find(words.begin(), words.end(), *word) == words.end()) {
    refuse(name, "be one of " + name_list(words));
  }
  return word;
}

double config_factor(
    const ConfigFields& fields,
    const char* name,
    double rate,
    std::optional<double> base,
    const char* base_name) {
  if (rate == 0) return 0;
  if (!base) {
    refuse_config(
        fields.place() + ": " + name + " is a rate, got " + number_text(rate) +
        "; " + base_name + " is missing, of which it has to be a share");
  }
  if (rate > *base) {
    refuse_config(
        fields.place() + ": " + name + " must be <= " + base_name + " " +
        number_text(*base) + ", got " + number_text(rate));
  }
  return rate / *base;
}

Schedule config_sequence(const std::vector<Schedule>& parts) {
  std::vector<Schedule> kept;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i + 1 == parts.size() || parts[i].length() > 0) {
      kept.push_back(parts[i]);
    }
  }
  return join(kept);
}

}  // namespace stepsize::detail
