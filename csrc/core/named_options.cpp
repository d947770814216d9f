#include "csrc/core/named_options.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "csrc/core/archive.h"
#include "csrc/core/tensors.h"

namespace stepsize::detail {
namespace {

using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

// Lists in lists in a file; none of ours come near.
constexpr int kDeepest = 100;
constexpr char kUnnamed[] = "schedule";

bool is_word(char letter) {
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
         (letter >= '0' && letter <= '9') || letter == '_';
}

std::size_t word_length(std::string_view text) {
  std::size_t length = 0;
  while (length < text.size() && is_word(text[length])) ++length;
  return length;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// The pieces between the separators that stand in no bracket.
std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> pieces;
  int depth = 0;
  std::size_t start = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char letter = text[i];
    if (letter == '(' || letter == '[') ++depth;
    if (letter == ')' || letter == ']') --depth;
    if (letter != separator || depth > 0) continue;
    pieces.push_back(trimmed(text.substr(start, i - start)));
    start = i + 1;
  }
  const auto last = trimmed(text.substr(start));
  if (!last.empty() || !pieces.empty()) pieces.push_back(last);
  return pieces;
}

// Whether it is "Word(...)".
bool is_call(std::string_view text) {
  const std::size_t word = word_length(text);
  return word > 0 && word < text.size() && text[word] == '(' &&
         text.back() == ')';
}

// The calls of "[Word(...), Word(...)]"; none where it is something else.
std::vector<std::string_view> calls_of(std::string_view text) {
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') return {};
  auto items = split(text.substr(1, text.size() - 2), ',');
  const bool all = std::all_of(items.begin(), items.end(), is_call);
  return all ? items : std::vector<std::string_view>();
}

// "a StepLR", "an ExponentialLR"
std::string with_article(const std::string& word) {
  constexpr std::string_view kVowels = "AEIOaeio";
  const bool is_vowel =
      !word.empty() && kVowels.find(word[0]) != std::string_view::npos;
  return (is_vowel ? "an " : "a ") + word;
}

// Of two chains of curves the first that differs, where the others are as many.
OptionDifference chain_difference(
    const std::string& name,
    const std::string& saved,
    const std::string& present) {
  const auto there = split(saved, '>');
  const auto here = split(present, '>');
  std::string place;
  std::string_view differs_there = saved;
  std::string_view differs_here = present;
  if (there.size() == here.size() && here.size() > 1) {
    const auto [a, b] = std::mismatch(there.begin(), there.end(), here.begin());
    differs_there = *a;
    differs_here = *b;
    place = "part " + std::to_string(a - there.begin() + 1) + " of " +
            std::to_string(here.size()) + " of ";
  }
  return {
      name,
      saved,
      place + name + " is '" + std::string(differs_there) + "' in the file, '" +
          std::string(differs_here) + "' here"};
}

void add_differences(
    const NamedOptions& saved,
    const NamedOptions& present,
    const std::string& way,
    std::vector<OptionDifference>& all);

void add_difference(
    const NamedOptions::Option* saved,
    const NamedOptions::Option& present,
    const std::string& name,
    std::vector<OptionDifference>& all) {
  if (saved == nullptr) {
    if (!present.before) {
      all.push_back(
          {name,
           std::nullopt,
           name + " is not set in the file, " + present.value + " here"});
    } else if (*present.before != present.value) {
      all.push_back(
          {name,
           present.before,
           name + " is " + *present.before +
               " in the file, which is older than it, " + present.value +
               " here"});
    }
    return;
  }
  const auto& there = saved->parts;
  const auto& here = present.parts;
  if (there.empty() && here.empty()) {
    if (saved->value == present.value) return;
    if (present.name == kUnnamed) {
      all.push_back(chain_difference(name, saved->value, present.value));
    } else {
      all.push_back(
          {name,
           saved->value,
           name + " is " + saved->value + " in the file, " + present.value +
               " here"});
    }
    return;
  }
  if (there.size() != here.size()) {
    all.push_back(
        {name,
         saved->value,
         name + " has " + std::to_string(there.size()) +
             " entries in the file, " + std::to_string(here.size()) + " here"});
  }
  for (std::size_t i = 0; i < std::min(there.size(), here.size()); ++i) {
    const std::string place = name + "[" + std::to_string(i) + "]";
    if (there[i].kind() != here[i].kind()) {
      all.push_back(
          {place,
           there[i].kind(),
           place + " is " + with_article(there[i].kind()) + " in the file, " +
               with_article(here[i].kind()) + " here"});
    } else {
      add_differences(there[i], here[i], place + ".", all);
    }
  }
}

void add_differences(
    const NamedOptions& saved,
    const NamedOptions& present,
    const std::string& way,
    std::vector<OptionDifference>& all) {
  for (const auto& option : present.options()) {
    add_difference(saved.find(option.name), option, way + option.name, all);
  }
  for (const auto& option : saved.options()) {
    if (present.find(option.name) != nullptr) continue;
    all.push_back(
        {way + option.name,
         option.value,
         way + option.name + " is " + option.value +
             " in the file, not set here"});
  }
}

}  // namespace

NamedOptions NamedOptions::parse(const std::string& text) {
  return parse(text, 0);
}

NamedOptions NamedOptions::parse(const std::string& text, int depth) {
  const std::string_view whole = text;
  const std::size_t word = word_length(whole);
  NamedOptions list{std::string(whole.substr(0, word))};
  if (!is_call(whole)) return list;
  const auto inside = whole.substr(word + 1, whole.size() - word - 2);
  const auto has_name = [](std::string_view piece) {
    const std::size_t length = word_length(piece);
    return length > 0 && length < piece.size() && piece[length] == '=';
  };
  if (!inside.empty() && !has_name(inside)) {
    list.add(kUnnamed, std::string(inside));
    return list;
  }
  for (const std::string_view piece : split(inside, ',')) {
    const std::size_t length = word_length(piece);
    const std::string name(piece.substr(0, length));
    const auto value = piece.substr(std::min(length + 1, piece.size()));
    std::vector<NamedOptions> parts;
    if (depth < kDeepest) {
      for (const std::string_view call : calls_of(value)) {
        parts.push_back(parse(std::string(call), depth + 1));
      }
    }
    if (parts.empty()) {
      list.add(name, std::string(value));
    } else {
      list.add_parts(name, std::move(parts));
    }
  }
  return list;
}

void NamedOptions::add(
    const std::string& name,
    const std::string& value,
    std::optional<std::string> before) {
  options_.push_back({name, value, std::move(before), {}});
}

void NamedOptions::add_parts(
    const std::string& name, std::vector<NamedOptions> parts) {
  std::string text;
  for (const NamedOptions& part : parts) {
    text += (text.empty() ? "[" : ", ") + part.text();
  }
  options_.push_back({name, text + "]", std::nullopt, std::move(parts)});
}

const NamedOptions::Option* NamedOptions::find(const std::string& name) const {
  for (const Option& option : options_) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

std::string NamedOptions::text() const {
  std::string text = kind_ + "(";
  for (const Option& option : options_) {
    if (&option != &options_.front()) text += ", ";
    if (option.name != kUnnamed || options_.size() > 1) {
      text += option.name + "=";
    }
    text += option.value;
  }
  return text + ")";
}

void NamedOptions::write(OutputArchive& archive) const {
  std::vector<std::string> names;
  std::vector<std::string> values;
  std::vector<int64_t> parts;
  for (const Option& option : options_) {
    names.push_back(option.name);
    values.push_back(option.parts.empty() ? option.value : "");
    parts.push_back(static_cast<int64_t>(option.parts.size()));
    for (std::size_t i = 0; i < option.parts.size(); ++i) {
      OutputArchive part(archive.compilation_unit());
      option.parts[i].write(part);
      archive.write(option.name + std::to_string(i), part);
    }
  }
  write_string(archive, "kind", kind_);
  write_strings(archive, "names", names);
  write_strings(archive, "values", values);
  write_ints(archive, "parts", parts);
}

NamedOptions NamedOptions::read(
    InputArchive& archive, const std::string& owner) {
  return read(archive, owner, 0);
}

NamedOptions NamedOptions::read(
    InputArchive& archive, const std::string& owner, int depth) {
  NamedOptions list(read_string(archive, owner, "kind"));
  const auto names = read_strings(archive, owner, "names");
  const auto values = read_strings(archive, owner, "values");
  const auto parts = read_ints(archive, owner, "parts");
  TORCH_CHECK(
      names.size() == values.size() && names.size() == parts.size() &&
          depth < kDeepest,
      owner,
      ": the options of the archive are no list of options");
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (parts[i] <= 0) {
      list.add(names[i], values[i]);
      continue;
    }
    std::vector<NamedOptions> its_parts;
    for (int64_t k = 0; k < parts[i]; ++k) {
      InputArchive part;
      const std::string key = names[i] + std::to_string(k);
      TORCH_CHECK(
          archive.try_read(key, part),
          owner,
          ": the options of the archive have no '",
          key,
          "'");
      its_parts.push_back(read(part, owner, depth + 1));
    }
    list.add_parts(names[i], std::move(its_parts));
  }
  return list;
}

std::vector<OptionDifference> option_differences(
    const NamedOptions& saved, const NamedOptions& present) {
  std::vector<OptionDifference> all;
  add_differences(saved, present, "", all);
  return all;
}

std::string texts_of(const std::vector<OptionDifference>& differences) {
  std::string text;
  for (const OptionDifference& difference : differences) {
    text += (text.empty() ? "" : "; ") + difference.text;
  }
  return text;
}

}  // namespace stepsize::detail
