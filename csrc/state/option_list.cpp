#include <stepsize/state/option_list.h>

#include <c10/util/Exception.h>

#include <cmath>
#include <limits>

#include "csrc/core/archive.h"
#include "csrc/core/check.h"
#include "csrc/text/number.h"

namespace stepsize::detail {
namespace {

// NaN is no number, and stands for an option that is not set.
bool same(const OptionValue& left, const OptionValue& right) {
  const auto* a = std::get_if<double>(&left);
  const auto* b = std::get_if<double>(&right);
  return left == right ||
         (a != nullptr && b != nullptr && std::isnan(*a) && std::isnan(*b));
}

bool has(torch::serialize::InputArchive& archive, const std::string& key) {
  c10::IValue value;
  return archive.try_read(key, value);
}

int64_t parsed(
    const std::string& kind,
    const OptionField& field,
    const std::string& text) {
  const auto value = number_in<int64_t>(text);
  TORCH_CHECK(
      value, kind, ": '", field.name, "' of the archive is not an integer");
  return *value;
}

OptionValue read_value(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const OptionField& field) {
  switch (field.kind) {
    case OptionKind::kNumber:
      return read_double(archive, kind, field.name);
    case OptionKind::kSeed:
      return parsed(kind, field, read_string(archive, kind, field.name));
    case OptionKind::kFlag:
      return read_int(archive, kind, field.name, 1);
    case OptionKind::kChoice:
      return read_int(
          archive,
          kind,
          field.name,
          static_cast<int64_t>(field.choices.size()) - 1);
    default:
      return read_int(archive, kind, field.name);
  }
}

OptionValue as_value(OptionKind kind, double number) {
  if (kind == OptionKind::kNumber) return number;
  return static_cast<int64_t>(number);
}

}  // namespace

std::string option_text(const OptionField& field, const OptionValue& value) {
  if (const auto* number = std::get_if<double>(&value)) {
    return number_text(*number);
  }
  const int64_t count = std::get<int64_t>(value);
  if (field.kind == OptionKind::kFlag) return count != 0 ? "true" : "false";
  if (count >= 0 && count < static_cast<int64_t>(field.choices.size())) {
    return field.choices[static_cast<std::size_t>(count)];
  }
  return std::to_string(count);
}

void FieldList::add(Entry entry) {
  TORCH_CHECK(
      find(entry.field.name) == nullptr,
      kind_,
      ": the option ",
      entry.field.name,
      " is there twice");
  entries_.push_back(std::move(entry));
}

OptionField& FieldList::last() {
  TORCH_CHECK(
      !entries_.empty(), kind_, ": a rule comes after the option it is for");
  return entries_.back().field;
}

FieldList& FieldList::number_must_be(
    std::string rule, std::function<bool(double)> holds) {
  TORCH_CHECK(
      last().kind == OptionKind::kNumber,
      kind_,
      ": ",
      last().name,
      " is no number: count_must_be()");
  last().rule = std::move(rule);
  entries_.back().holds = [holds = std::move(holds)](const OptionValue& value) {
    return holds(std::get<double>(value));
  };
  return *this;
}

FieldList& FieldList::count_must_be(
    std::string rule, std::function<bool(int64_t)> holds) {
  TORCH_CHECK(
      last().kind != OptionKind::kNumber,
      kind_,
      ": ",
      last().name,
      " is a number: must_be()");
  last().rule = std::move(rule);
  entries_.back().holds = [holds = std::move(holds)](const OptionValue& value) {
    return holds(std::get<int64_t>(value));
  };
  return *this;
}

FieldList& FieldList::not_negative() {
  return number_must_be("finite and >= 0", [](double value) {
    return std::isfinite(value) && value >= 0;
  });
}

FieldList& FieldList::share() {
  return number_must_be(
      "in [0, 1)", [](double value) { return value >= 0 && value < 1; });
}

FieldList& FieldList::finite() {
  return number_must_be(
      "finite", [](double value) { return std::isfinite(value); });
}

FieldList& FieldList::at_least(int64_t least) {
  return count_must_be(">= " + std::to_string(least), [least](int64_t value) {
    return value >= least;
  });
}

FieldList& FieldList::choose_from(std::vector<std::string> names) {
  const auto count = static_cast<int64_t>(names.size());
  std::string rule;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const bool is_last = i + 1 == names.size();
    rule += (i == 0 ? "" : is_last ? " or " : ", ") + names[i];
  }
  last().choices = std::move(names);
  return count_must_be(std::move(rule), [count](int64_t value) {
    return value >= 0 && value < count;
  });
}

const FieldList::Entry* FieldList::find(const std::string& name) const {
  for (const Entry& entry : entries_) {
    if (entry.field.name == name) return &entry;
  }
  return nullptr;
}

std::vector<OptionField> FieldList::fields() const {
  std::vector<OptionField> fields;
  for (const Entry& entry : entries_) fields.push_back(entry.field);
  return fields;
}

void FieldList::check_value(
    const Entry& entry,
    const OptionValue& value,
    const std::string& kind) const {
  if (entry.holds == nullptr || entry.holds(value)) return;
  const auto* count = std::get_if<int64_t>(&value);
  TORCH_CHECK(
      false,
      kind,
      ": ",
      entry.field.name,
      " must be ",
      entry.field.rule,
      ", got ",
      count != nullptr ? std::to_string(*count)
                       : number_text(std::get<double>(value)));
}

void FieldList::check(const void* options, const std::string& kind) const {
  for (const Entry& entry : entries_) {
    check_value(entry, entry.get(options), kind);
  }
  for (const Rule& rule : rules_) rule(options, kind);
}

void FieldList::check_same_in_groups(
    const void* first, const void* other) const {
  for (const Entry& entry : entries_) {
    if (!entry.field.same_in_groups) continue;
    const OptionValue wanted = entry.get(first);
    const OptionValue value = entry.get(other);
    TORCH_CHECK(
        same(wanted, value),
        kind_,
        ": ",
        entry.field.name,
        " must be the same in all parameter groups (",
        option_text(entry.field, wanted),
        "), got ",
        option_text(entry.field, value));
  }
}

const FieldList::Entry* FieldList::difference(
    const void* left, const void* right) const {
  for (const Entry& entry : entries_) {
    if (!same(entry.get(left), entry.get(right))) return &entry;
  }
  return nullptr;
}

std::string FieldList::describe(const void* options) const {
  std::string text;
  for (const Entry& entry : entries_) {
    text += (text.empty() ? "" : ", ") + entry.field.name + "=" +
            option_text(entry.field, entry.get(options));
  }
  return text;
}

std::vector<std::pair<std::string, double>> FieldList::numbers(
    const void* options) const {
  std::vector<std::pair<std::string, double>> all;
  for (const Entry& entry : entries_) {
    const double number = std::visit(
        [](auto value) { return static_cast<double>(value); },
        entry.get(options));
    all.emplace_back(entry.field.name, number);
  }
  return all;
}

void FieldList::set(
    void* options, const std::string& name, double number) const {
  const Entry* const entry = find(name);
  TORCH_CHECK(entry != nullptr, kind_, ": there is no option ", name);
  // What a file has may be anything, and is no integer for that.
  check_option(
      entry->field.kind == OptionKind::kNumber ||
          (std::abs(number) < 0x1p63 && std::floor(number) == number),
      kind_,
      name,
      "an integer of 64 bits",
      number);
  check_option(
      entry->field.kind != OptionKind::kFlag || number == 0 || number == 1,
      kind_,
      name,
      "0 or 1",
      number);
  const OptionValue value = as_value(entry->field.kind, number);
  // An enumeration may be narrower, and would cut off what is wrong.
  check_value(*entry, value, kind_);
  entry->set(options, value);
}

void FieldList::write(
    torch::serialize::OutputArchive& archive, const void* options) const {
  for (const Entry& entry : entries_) {
    const OptionValue value = entry.get(options);
    const std::string& key = entry.field.name;
    if (const auto* number = std::get_if<double>(&value)) {
      write_double(archive, key, *number);
    } else if (entry.field.kind == OptionKind::kSeed) {
      // read_int() takes none below 0.
      write_string(archive, key, std::to_string(std::get<int64_t>(value)));
    } else {
      write_int(archive, key, std::get<int64_t>(value));
    }
  }
}

void FieldList::read(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    void* options) const {
  for (const Entry& entry : entries_) {
    if (entry.field.may_be_missing && !has(archive, entry.field.name)) continue;
    entry.set(options, read_value(archive, kind, entry.field));
  }
}

}  // namespace stepsize::detail
