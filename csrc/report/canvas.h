#pragma once

#include <string>
#include <vector>

#include "csrc/report/polyline.h"

namespace stepsize::report {

/// A grid of characters, each either a letter or 2 x 4 braille dots. Letters
/// and dots cover what was there before, dots add to dots.
class Canvas {
 public:
  Canvas(int columns, int rows);

  /// A letter in every row of a column.
  void vertical(int column, char32_t c);
  /// A letter at a place, in units of characters.
  void letter(Point at, char32_t c);
  /// Letters along a curve, in units of characters.
  void letter_run(const Run& run, char32_t c);
  /// Dots along a curve, in units of dots.
  void braille_run(const Run& run);

  std::vector<std::u32string> lines() const;

 private:
  void dot(int x, int y);

  int columns_;
  int rows_;
  std::vector<std::u32string> cells_;
};

}  // namespace stepsize::report
