#include "examples/trainer/cli/unknown_options.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace stepsize::trainer {
namespace {

// Levenshtein's: the letters to insert, to remove or to replace.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

bool is_option(const std::string& word, const char* dash) {
  return word.rfind(dash, 0) == 0;
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) {
      names.push_back("--" + name);
    }
  }
  return names;
}

// "unknown option --epoch 3; did you mean --epochs?"
std::string refusal_of_option(
    const std::string& words, const std::vector<std::string>& meant) {
  std::string text = "unknown option " + words;
  for (std::size_t i = 0; i < meant.size(); ++i) {
    text +=
        i == 0 ? "; did you mean " : (i + 1 == meant.size() ? " or " : ", ");
    text += meant[i];
  }
  return text + (meant.empty() ? "" : "?");
}

}  // namespace

std::vector<std::string> similar_names(
    const std::string& name, const std::vector<std::string>& names) {
  std::vector<std::string> found;
  std::copy_if(
      names.begin(),
      names.end(),
      std::back_inserter(found),
      [&](const std::string& known) { return known.rfind(name, 0) == 0; });
  if (!found.empty()) {
    return found;
  }
  // Without the dashes.
  std::size_t best = (name.size() - std::min<std::size_t>(name.size(), 2)) / 3;
  for (const auto& known : names) {
    const std::size_t distance = edit_distance(name, known);
    if (distance > best) {
      continue;
    }
    if (distance < best) {
      found.clear();
      best = distance;
    }
    found.push_back(known);
  }
  return found;
}

void check_known(const CLI::App& app) {
  const auto extras = app.remaining();
  std::vector<std::string> lines;
  for (auto word = extras.begin(); word != extras.end();) {
    if (!is_option(*word, "-")) {
      lines.push_back("unexpected word '" + *word + "'");
      ++word;
      continue;
    }
    const std::string name = word->substr(0, word->find('='));
    std::string words = *word++;
    // What follows was meant to be its value.
    for (; word != extras.end() && !is_option(*word, "-"); ++word) {
      words += " " + *word;
    }
    // A single letter is like too many.
    const auto meant = is_option(name, "--") && name.size() > 3
                           ? similar_names(name, option_names(app))
                           : std::vector<std::string>();
    lines.push_back(refusal_of_option(words, meant));
  }
  if (lines.empty()) {
    return;
  }
  std::string text = lines.front();
  std::for_each(lines.begin() + 1, lines.end(), [&](const std::string& line) {
    text += "\n" + line;
  });
  throw CLI::ParseError(text, CLI::ExitCodes::ExtrasError);
}

}  // namespace stepsize::trainer
