#include <stepsize/checkpoint/load_result.h>

#include <cstddef>
#include <ostream>

namespace stepsize {
namespace {

constexpr std::size_t kWidth = 80;
constexpr std::size_t kIndent = 11;  // "not found  "
constexpr std::size_t kHanging = 2;  // of a note's second line, beside it

// What follows from `column` on, in lines of words.
void write_words(
    std::ostream& stream, const std::string& text, std::size_t column) {
  const std::string margin(kIndent + kHanging, ' ');
  std::size_t at = column;
  std::size_t start = 0;
  while (start < text.size()) {
    const std::size_t space = text.find(' ', start);
    const std::string word =
        text.substr(start, space == std::string::npos ? space : space - start);
    if (start > 0) {
      if (at + 1 + word.size() > kWidth) {
        stream << '\n' << margin;
        at = margin.size();
      } else {
        stream << ' ';
        ++at;
      }
    }
    stream << word;
    at += word.size();
    start = space == std::string::npos ? text.size() : space + 1;
  }
}

std::string text_of(const LoadNote& note, const std::string& tensors) {
  std::string text = note.item;
  if (!tensors.empty()) text += ": " + tensors;
  if (!note.reason.empty()) text += ": " + note.reason;
  return text;
}

void write_notes(
    std::ostream& stream,
    std::string title,
    const std::vector<LoadNote>& notes) {
  title.resize(kIndent, ' ');
  for (std::size_t i = 0; i < notes.size();) {
    // Tensors of which the same is said are one note.
    std::vector<std::string> names;
    std::size_t end = i;
    while (end < notes.size() && notes[end].item == notes[i].item &&
           notes[end].reason == notes[i].reason) {
      names.push_back(notes[end++].tensor);
    }
    std::string tensors;
    if (names.size() == 1) {
      tensors = names.front();
    } else {
      constexpr std::size_t kMost = 6;
      for (std::size_t k = 0; k < names.size() && k < kMost; ++k) {
        tensors += (k == 0 ? "" : ", ") + names[k];
      }
      if (names.size() > kMost) {
        tensors += " and " + std::to_string(names.size() - kMost) + " more";
      }
    }
    stream << title;
    write_words(stream, text_of(notes[i], tensors), kIndent);
    stream << '\n';
    title.assign(kIndent, ' ');
    i = end;
  }
}

}  // namespace

std::ostream& operator<<(std::ostream& stream, const LoadResult& result) {
  write_notes(stream, "loaded", result.loaded);
  write_notes(stream, "left out", result.left_out);
  write_notes(stream, "not found", result.not_found);
  return stream;
}

}  // namespace stepsize
