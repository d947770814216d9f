#pragma once

#include <stepsize/schedule/from_config.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/schedule.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace stepsize::detail {

enum class ConfigKind : std::uint8_t {
  kNull,
  kBool,
  kNumber,
  kText,
  kList,
  kObject,
};

/// A value of a configuration; what a list holds has empty names.
struct ConfigValue {
  ConfigKind kind = ConfigKind::kNull;
  bool flag = false;
  double number = 0;
  std::string text;
  std::vector<std::pair<std::string, ConfigValue>> members;

  /// The member of that name; null where there is none.
  const ConfigValue* find(std::string_view name) const;
};

using ConfigNames = std::vector<std::string>;

/// Reads a JSON text whose outermost value is an object. Throws
/// std::invalid_argument where it is none, where a name stands twice in one
/// object, or where it is nested more than 32 deep.
ConfigValue read_config(const std::string& json);

/// Throws std::invalid_argument "from_config: ...".
[[noreturn]] void refuse_config(const std::string& message);

/// "did you mean 'x'? " where one of the names is near, else nothing.
std::string nearest_name(const std::string& word, const ConfigNames& names);
/// "a, b, c", or "none".
std::string name_list(const ConfigNames& names);
/// A text for a message, cut where it is long; and that between quotes.
std::string shortened(const std::string& text);
std::string in_quotes(const std::string& text, char quote = '\'');
/// A value for a message.
std::string shown(const ConfigValue& value);

/// The fields of one object, each checked when it is asked for. A field that
/// is null is as good as not there, as None is in Python.
class ConfigFields {
 public:
  /// `place` names the object in messages. Throws where a member is none of
  /// the known.
  ConfigFields(
      const ConfigValue& object, std::string place, const ConfigNames& known);

  bool has(const char* name) const { return find(name) != nullptr; }
  /// A whole number of steps, >= least.
  std::optional<double> steps(const char* name, double least = 0) const;
  /// Finite and >= 0, or > 0.
  std::optional<double> number(const char* name) const;
  std::optional<double> positive(const char* name) const;
  /// In [0, 1].
  std::optional<double> share(const char* name) const;
  std::optional<bool> flag(const char* name) const;
  /// One of the words.
  std::optional<std::string> choice(
      const char* name, const ConfigNames& words) const;
  std::optional<std::string> text(const char* name) const;

  /// Throws "PLACE: NAME must RULE, got VALUE", the value being the field's.
  [[noreturn]] void refuse(const char* name, const std::string& rule) const;
  /// Throws where two fields are there that say the same.
  void one_of(const char* first, const char* second) const;
  const std::string& place() const { return place_; }

 private:
  const ConfigValue* find(const char* name) const;
  std::optional<double> any_number(const char* name) const;

  const ConfigValue& object_;
  std::string place_;
};

/// A rate as a factor of the base rate. 0 needs no base; else throws where the
/// base is not known, naming the field that would say it, or where the factor
/// is above 1.
double config_factor(
    const ConfigFields& fields,
    const char* name,
    double rate,
    std::optional<double> base,
    const char* base_name);

/// The parts one after the other, without those of length 0 but the last.
Schedule config_sequence(const std::vector<Schedule>& parts);

ConfiguredSchedule hugging_face_schedule(
    const ConfigValue& config, const ParseContext& context);
ConfiguredSchedule deepspeed_schedule(
    const ConfigValue& config, const ParseContext& context);
ConfiguredSchedule megatron_schedule(
    const ConfigValue& config, const ParseContext& context);
/// What Megatron's fields are called, with underscores.
const ConfigNames& megatron_fields();
/// "--lr-decay-style" as "lr_decay_style".
std::string megatron_name(std::string_view name);

}  // namespace stepsize::detail
