#include "examples/trainer/cli/help_defaults.h"

#include <cstddef>

namespace stepsize::trainer {

std::string wrapped(const std::vector<std::string>& words) {
  // The help leaves 56 of 80; some versions of CLI11 end a line in a blank.
  constexpr std::size_t kDescriptionColumns = 55;
  std::string text;
  std::size_t columns = 0;
  for (const auto& word : words) {
    if (!text.empty()) {
      const bool fits = columns + 1 + word.size() <= kDescriptionColumns;
      text += fits ? ' ' : '\n';
      columns = fits ? columns + 1 : 0;
    }
    text += word;
    columns += word.size();
  }
  return text;
}

}  // namespace stepsize::trainer
