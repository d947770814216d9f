#include "csrc/report/canvas.h"

#include <algorithm>
#include <cmath>

namespace stepsize::report {
namespace {

constexpr char32_t kBraille = 0x2800;

bool is_braille(char32_t c) { return (c & ~char32_t{0xFF}) == kBraille; }

int cell(double place, int size) {
  return std::clamp(static_cast<int>(std::floor(place)), 0, size - 1);
}

/// Calls visit(x, y) for the cells along a curve, without holes.
template <typename Visit>
void walk(const Run& run, int width, int height, const Visit& visit) {
  Point from = run[0];
  visit(cell(from.x, width), cell(from.y, height));
  for (const Point& to : run) {
    const double length =
        std::max(std::abs(to.x - from.x), std::abs(to.y - from.y));
    const int steps = static_cast<int>(std::ceil(length));
    for (int i = 1; i <= steps; ++i) {
      const double t = static_cast<double>(i) / steps;
      visit(
          cell(from.x + t * (to.x - from.x), width),
          cell(from.y + t * (to.y - from.y), height));
    }
    from = to;
  }
}

}  // namespace

Canvas::Canvas(int columns, int rows)
    : columns_(columns),
      rows_(rows),
      cells_(
          static_cast<size_t>(rows),
          std::u32string(static_cast<size_t>(columns), U' ')) {}

void Canvas::vertical(int column, char32_t c) {
  for (std::u32string& row : cells_) row[static_cast<size_t>(column)] = c;
}

void Canvas::letter(Point at, char32_t c) {
  cells_[static_cast<size_t>(cell(at.y, rows_))]
        [static_cast<size_t>(cell(at.x, columns_))] = c;
}

void Canvas::letter_run(const Run& run, char32_t c) {
  walk(run, columns_, rows_, [&](int x, int y) {
    cells_[static_cast<size_t>(y)][static_cast<size_t>(x)] = c;
  });
}

void Canvas::braille_run(const Run& run) {
  walk(run, 2 * columns_, 4 * rows_, [&](int x, int y) { dot(x, y); });
}

std::vector<std::u32string> Canvas::lines() const { return cells_; }

void Canvas::dot(int x, int y) {
  // Unicode numbers the upper six dots by column and added the lowest two
  // later.
  constexpr char32_t kDots[4][2] = {
      {0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
  char32_t& c = cells_[static_cast<size_t>(y / 4)][static_cast<size_t>(x / 2)];
  if (!is_braille(c)) c = kBraille;
  c |= kDots[y % 4][x % 2];
}

}  // namespace stepsize::report
