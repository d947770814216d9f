#include "csrc/adaptive/tiled_newton_schulz.h"

#include <ATen/Functions.h>
#include <c10/util/Exception.h>
#include <stepsize/kernels/cpu_capability.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include "csrc/adaptive/newton_schulz.h"
#include "csrc/kernels/parallel.h"

#if defined(__x86_64__) && defined(__GNUC__)
#if __has_include(<avx512bf16intrin.h>)
#define STEPSIZE_HAS_TILES 1
#endif
#endif

// What is multiplied lies in panels of 32 columns: the values of a row of it
// follow each other, and then comes the next row; of bfloat16 two rows share a
// line, two values of a column a word, as the processor's product of pairs
// wants them. By its symmetry the panel of a Gram matrix, or of a polynomial of
// it, serves for its rows, too. So every product multiplies panels by panels,
// and what it makes of Gram matrices is stored in panels again.
//
// With G = X X^T the iteration X = (a + b G + c G^2) X keeps to polynomials of
// G, which commute: P = (a + R) P, G = (a + R)^2 G, R = b G + c G^2. P is
// p + S: the multiple of the identity is not rounded with the rest. That costs
// four symmetric products a step, by half, and one with X at the end. But what
// G was rounded by grows (a^2 times a step where singular values are small),
// and with it the singular values that come out: from 1.27 on the next
// iterations send them to infinity. So a new G begins every two iterations in
// bfloat16, at which the values stay within two percent, and every five in
// float32. A square matrix is the Gram matrix's size, and has a new one each
// time, which costs no more.

namespace stepsize::detail {

#ifdef STEPSIZE_HAS_TILES

}  // namespace stepsize::detail

#include <immintrin.h>

namespace stepsize::detail {
namespace {

#define STEPSIZE_TILES \
  gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#define STEPSIZE_TILES_INLINE STEPSIZE_TILES, gnu::always_inline

// All below is for values that are float or BFloat.
using BFloat = uint16_t;
using Word = uint32_t;  // a float or two BFloats, the first in the lower half

template <typename T>
constexpr int64_t kRowsOfLine = sizeof(Word) / sizeof(T);

constexpr int64_t kPanel = 32;  // columns
constexpr int64_t kTileRows = 8;
constexpr int64_t kTilesOfPanel = kPanel / kTileRows;
constexpr int64_t kTile = kTileRows * kPanel;
constexpr int64_t kGroup = 512;  // values of the long side packed at once

int64_t panels_of(int64_t size) { return (size + kPanel - 1) / kPanel; }

struct Tile {
  __m512 sums[kTileRows][2];
};

[[STEPSIZE_TILES_INLINE]] inline void clear(Tile& tile) {
#pragma GCC unroll 8
  for (int r = 0; r < kTileRows; ++r) {
    tile.sums[r][0] = _mm512_setzero_ps();
    tile.sums[r][1] = _mm512_setzero_ps();
  }
}

[[STEPSIZE_TILES_INLINE]] inline void load(Tile& tile, const float* from) {
#pragma GCC unroll 8
  for (int r = 0; r < kTileRows; ++r) {
    tile.sums[r][0] = _mm512_loadu_ps(from + r * kPanel);
    tile.sums[r][1] = _mm512_loadu_ps(from + r * kPanel + 16);
  }
}

[[STEPSIZE_TILES_INLINE]] inline void store(const Tile& tile, float* to) {
#pragma GCC unroll 8
  for (int r = 0; r < kTileRows; ++r) {
    _mm512_storeu_ps(to + r * kPanel, tile.sums[r][0]);
    _mm512_storeu_ps(to + r * kPanel + 16, tile.sums[r][1]);
  }
}

// Adds 8 columns of a panel, as rows, times those of another.
template <typename T>
[[STEPSIZE_TILES_INLINE]] inline void multiply(
    Tile& tile, const Word* left, const Word* right, int64_t lines) {
  for (int64_t k = 0; k < lines; ++k) {
    const __m512i first = _mm512_loadu_si512(right);
    const __m512i second = _mm512_loadu_si512(right + 16);
#pragma GCC unroll 8
    for (int r = 0; r < kTileRows; ++r) {
      const __m512i own = _mm512_set1_epi32(static_cast<int>(left[r]));
      __m512* sums = tile.sums[r];
      if constexpr (std::is_same_v<T, float>) {
        sums[0] = _mm512_fmadd_ps(
            _mm512_castsi512_ps(own), _mm512_castsi512_ps(first), sums[0]);
        sums[1] = _mm512_fmadd_ps(
            _mm512_castsi512_ps(own), _mm512_castsi512_ps(second), sums[1]);
      } else {
        sums[0] = _mm512_dpbf16_ps(sums[0], (__m512bh)own, (__m512bh)first);
        sums[1] = _mm512_dpbf16_ps(sums[1], (__m512bh)own, (__m512bh)second);
      }
    }
    left += kPanel;
    right += kPanel;
  }
}

[[STEPSIZE_TILES_INLINE]] inline __m512i narrowed(__m512 values) {
  return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(values));
}

[[STEPSIZE_TILES_INLINE]] inline __m512i words(__m512 lower, __m512 upper) {
  return _mm512_or_si512(
      narrowed(lower), _mm512_slli_epi32(narrowed(upper), 16));
}

[[STEPSIZE_TILES_INLINE]] inline __m512 lower(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}

[[STEPSIZE_TILES_INLINE]] inline __m512 upper(__m512i pairs) {
  return _mm512_castsi512_ps(
      _mm512_and_si512(pairs, _mm512_set1_epi32(~0xffff)));
}

[[STEPSIZE_TILES_INLINE]] inline void transpose(__m512i* r) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    t[c] = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);
    t[4 + c] = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
    t[8 + c] = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);
    t[12 + c] = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    r[c] = _mm512_shuffle_i32x4(t[c], t[4 + c], 0x88);
    r[4 + c] = _mm512_shuffle_i32x4(t[8 + c], t[12 + c], 0x88);
    r[8 + c] = _mm512_shuffle_i32x4(t[c], t[4 + c], 0xdd);
    r[12 + c] = _mm512_shuffle_i32x4(t[8 + c], t[12 + c], 0xdd);
  }
}

// A symmetric matrix in panels, or nothing.
template <typename T>
struct Square {
  Word* words = nullptr;
  int64_t panels = 0;

  int64_t lines() const { return panels * kPanel / kRowsOfLine<T>; }
  Word* panel(int64_t position) const {
    return words + position * lines() * kPanel;
  }
  // Of the rows of panel `row` from tile `part` on.
  Word* tile(int64_t row, int64_t part, int64_t column) const {
    return panel(column) +
           (row * kPanel + part * kTileRows) / kRowsOfLine<T> * kPanel;
  }
};

template <typename T>
struct Addend {
  Square<T> matrix;
  double factor = 0;
};

template <typename T>
[[STEPSIZE_TILES_INLINE]] inline void add(
    Tile& tile, const Word* from, float factor) {
  const __m512 scale = _mm512_set1_ps(factor);
#pragma GCC unroll 8
  for (int r = 0; r < kTileRows; ++r) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m512i line =
          _mm512_loadu_si512(from + r / kRowsOfLine<T> * kPanel + h * 16);
      const __m512 values = std::is_same_v<T, float> ? _mm512_castsi512_ps(line)
                            : r % 2 == 0             ? lower(line)
                                                     : upper(line);
      tile.sums[r][h] = _mm512_fmadd_ps(scale, values, tile.sums[r][h]);
    }
  }
}

[[STEPSIZE_TILES_INLINE]] inline void scale(Tile& tile, float factor) {
  const __m512 own = _mm512_set1_ps(factor);
#pragma GCC unroll 8
  for (int r = 0; r < kTileRows; ++r) {
    tile.sums[r][0] = _mm512_mul_ps(tile.sums[r][0], own);
    tile.sums[r][1] = _mm512_mul_ps(tile.sums[r][1], own);
  }
}

// 8 rows of 16 words, as 16 lines of a panel.
[[STEPSIZE_TILES_INLINE]] inline void store_turned(
    const __m512i* rows, Word* to) {
  __m512i turned[16];
#pragma GCC unroll 8
  for (int r = 0; r < kTileRows; ++r) {
    turned[r] = rows[r];
    turned[kTileRows + r] = _mm512_setzero_si512();
  }
  transpose(turned);
#pragma GCC unroll 16
  for (int c = 0; c < 16; ++c) {
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(to + c * kPanel),
        _mm512_castsi512_si256(turned[c]));
  }
}

// Stores a tile on or above the diagonal, and what mirrors it.
template <typename T>
[[STEPSIZE_TILES_INLINE]] inline void store_mirrored(
    const Tile& tile,
    const Square<T>& to,
    int64_t row,
    int64_t part,
    int64_t column) {
  Word* own = to.tile(row, part, column);
  Word* mirror = to.tile(column, 0, row) + part * kTileRows;
  __m512i rows[kTileRows];
  if constexpr (std::is_same_v<T, float>) {
    store(tile, reinterpret_cast<float*>(own));
    if (row == column) return;
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
#pragma GCC unroll 8
      for (int r = 0; r < kTileRows; ++r) {
        rows[r] = _mm512_castps_si512(tile.sums[r][h]);
      }
      store_turned(rows, mirror + h * 16 * kPanel);
    }
  } else {
#pragma GCC unroll 4
    for (int q = 0; q < kTileRows / 2; ++q) {
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        _mm512_storeu_si512(
            own + q * kPanel + h * 16,
            words(tile.sums[2 * q][h], tile.sums[2 * q + 1][h]));
      }
    }
    if (row == column) return;
#pragma GCC unroll 8
    for (int r = 0; r < kTileRows; ++r) {
      rows[r] = (__m512i)_mm512_cvtne2ps_pbh(tile.sums[r][1], tile.sums[r][0]);
    }
    store_turned(rows, mirror);
  }
}

// Copies what is above the diagonal below it, in the panel's own rows. Of two
// factors each value there is another sum; and as the left one is read turned,
// a part that is not symmetric would grow with every product.
template <typename T>
void mirror_diagonal(Word* block) {
  char* bytes = reinterpret_cast<char*>(block);
  const auto at = [bytes](int64_t row, int64_t column) {
    constexpr int64_t kRows = kRowsOfLine<T>;
    return bytes + ((row / kRows * kPanel + column) * kRows + row % kRows) *
                       static_cast<int64_t>(sizeof(T));
  };
  for (int64_t row = 1; row < kPanel; ++row) {
    for (int64_t column = 0; column < row; ++column) {
      std::memcpy(at(row, column), at(column, row), sizeof(T));
    }
  }
}

template <typename T>
[[STEPSIZE_TILES]] void multiply_column(
    const Square<T>& left,
    const Square<T>& right,
    float factor,
    const Addend<T>& first,
    const Addend<T>& second,
    const Square<T>& to,
    int64_t column) {
  for (int64_t row = 0; row <= column; ++row) {
    for (int64_t part = 0; part < kTilesOfPanel; ++part) {
      Tile tile;
      clear(tile);
      multiply<T>(
          tile,
          left.panel(row) + part * kTileRows,
          right.panel(column),
          left.lines());
      scale(tile, factor);
      if (first.matrix.words != nullptr) {
        add<T>(
            tile,
            first.matrix.tile(row, part, column),
            static_cast<float>(first.factor));
      }
      if (second.matrix.words != nullptr) {
        add<T>(
            tile,
            second.matrix.tile(row, part, column),
            static_cast<float>(second.factor));
      }
      store_mirrored(tile, to, row, part, column);
    }
  }
  mirror_diagonal<T>(to.tile(column, 0, column));
}

// to = factor left right + the addends, of matrices that commute.
template <typename T>
void multiply_squares(
    const Square<T>& left,
    const Square<T>& right,
    double factor,
    const Addend<T>& first,
    const Addend<T>& second,
    const Square<T>& to) {
  parallel_run(to.panels, [&](int64_t item) {
    // The longest first.
    multiply_column(
        left,
        right,
        static_cast<float>(factor),
        first,
        second,
        to,
        to.panels - 1 - item);
  });
}

// A row-major matrix.
template <typename T>
struct Matrix {
  T* values = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
};

__mmask32 first_of(int64_t count) {
  return count >= 32  ? ~__mmask32{0}
         : count <= 0 ? __mmask32{0}
                      : static_cast<__mmask32>((uint32_t{1} << count) - 1);
}

[[STEPSIZE_TILES_INLINE]] inline __m512 load_values(
    const float* from, __mmask16 mask) {
  return _mm512_maskz_loadu_ps(mask, from);
}

[[STEPSIZE_TILES_INLINE]] inline __m512 load_values(
    const BFloat* from, __mmask16 mask) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(
      _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from)), 16));
}

[[STEPSIZE_TILES_INLINE]] inline void store_values(
    float* to, __mmask16 mask, __m512 values) {
  _mm512_mask_storeu_ps(to, mask, values);
}

[[STEPSIZE_TILES_INLINE]] inline void store_values(
    BFloat* to, __mmask16 mask, __m512 values) {
  _mm256_mask_storeu_epi16(to, mask, (__m256i)_mm512_cvtneps_pbh(values));
}

[[STEPSIZE_TILES_INLINE]] inline __mmask16 half_of(__mmask32 mask, int half) {
  return static_cast<__mmask16>(mask >> (16 * half));
}

// A panel of columns from `column` on; its rows from `row` on are multiplied.
template <typename T>
[[STEPSIZE_TILES]] void pack_columns(
    const Matrix<T>& from,
    int64_t column,
    int64_t row,
    int64_t lines,
    Word* to) {
  const __mmask32 inside = first_of(from.columns - column);
  for (int64_t k = 0; k < lines; ++k) {
    const int64_t own = row + k * kRowsOfLine<T>;
    const T* values = from.values + own * from.columns + column;
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __mmask16 mask = half_of(inside, h);
      const __m512 first =
          load_values(values + 16 * h, own < from.rows ? mask : __mmask16{0});
      __m512i line = _mm512_castps_si512(first);
      if constexpr (!std::is_same_v<T, float>) {
        const __m512 second = load_values(
            values + from.columns + 16 * h,
            own + 1 < from.rows ? mask : __mmask16{0});
        line = _mm512_or_si512(
            _mm512_srli_epi32(line, 16), _mm512_castps_si512(second));
      }
      _mm512_storeu_si512(to + k * kPanel + h * 16, line);
    }
  }
}

// A panel of rows from `row` on; its columns from `column` on are multiplied.
template <typename T>
[[STEPSIZE_TILES]] void pack_rows(
    const Matrix<T>& from,
    int64_t row,
    int64_t column,
    int64_t lines,
    Word* to) {
  for (int64_t half = 0; half < 2; ++half) {
    for (int64_t k = 0; k < lines; k += 16) {
      const int64_t left = column + k * kRowsOfLine<T>;
      const __mmask32 inside = first_of(from.columns - left);
      __m512i rows[16];
#pragma GCC unroll 16
      for (int r = 0; r < 16; ++r) {
        const int64_t own = row + half * 16 + r;
        const __mmask32 mask = own < from.rows ? inside : __mmask32{0};
        const T* values = from.values + own * from.columns + left;
        if constexpr (std::is_same_v<T, float>) {
          rows[r] = _mm512_maskz_loadu_epi32(half_of(mask, 0), values);
        } else {
          rows[r] = _mm512_maskz_loadu_epi16(mask, values);
        }
      }
      transpose(rows);
#pragma GCC unroll 16
      for (int r = 0; r < 16; ++r) {
        _mm512_storeu_si512(to + (k + r) * kPanel + half * 16, rows[r]);
      }
    }
  }
}

// One column of panels of a Gram matrix, by a group of what is summed.
template <typename T>
[[STEPSIZE_TILES]] void add_to_gram(
    const Word* packed,
    int64_t lines,
    bool is_first,
    bool is_last,
    float factor,
    float* sums,
    const Square<T>& gram,
    int64_t column) {
  const int64_t length = lines * kPanel;
  for (int64_t row = 0; row <= column; ++row) {
    for (int64_t part = 0; part < kTilesOfPanel; ++part) {
      float* own =
          sums + ((column * gram.panels + row) * kTilesOfPanel + part) * kTile;
      Tile tile;
      if (is_first) {
        clear(tile);
      } else {
        load(tile, own);
      }
      multiply<T>(
          tile,
          packed + row * length + part * kTileRows,
          packed + column * length,
          lines);
      if (is_last) {
        scale(tile, factor);
        store_mirrored(tile, gram, row, part, column);
      } else {
        store(tile, own);
      }
    }
  }
}

// What is made of a tile of the matrix itself: scale (share matrix + product),
// in its place or, if there is one, in `result`.
struct Ending {
  float scale;
  float share;
  float* result;
};

template <typename T>
[[STEPSIZE_TILES_INLINE]] inline void end_tile(
    const Tile& tile,
    const Ending& ending,
    const Matrix<T>& matrix,
    int64_t row,
    int64_t column) {
  const __mmask32 inside = first_of(matrix.columns - column);
  const __m512 scale = _mm512_set1_ps(ending.scale);
  const __m512 share = _mm512_set1_ps(ending.share);
#pragma GCC unroll 8
  for (int r = 0; r < kTileRows; ++r) {
    if (row + r >= matrix.rows) continue;
    const int64_t place = (row + r) * matrix.columns + column;
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __mmask16 mask = half_of(inside, h);
      T* values = matrix.values + place + 16 * h;
      const __m512 sum = _mm512_mul_ps(
          scale,
          _mm512_fmadd_ps(share, load_values(values, mask), tile.sums[r][h]));
      if (ending.result != nullptr) {
        store_values(ending.result + place + 16 * h, mask, sum);
      } else {
        store_values(values, mask, sum);
      }
    }
  }
}

// `count` panels as rows times a panel as columns.
template <typename T>
[[STEPSIZE_TILES]] void end_column(
    const Word* left,
    int64_t count,
    const Word* right,
    int64_t lines,
    const Ending& ending,
    const Matrix<T>& matrix,
    int64_t row,
    int64_t column) {
  for (int64_t panel = 0; panel < count; ++panel) {
    for (int64_t part = 0; part < kTilesOfPanel; ++part) {
      const int64_t own = row + panel * kPanel + part * kTileRows;
      if (own >= matrix.rows) return;
      Tile tile;
      clear(tile);
      multiply<T>(
          tile, left + panel * lines * kPanel + part * kTileRows, right, lines);
      end_tile(tile, ending, matrix, own, column);
    }
  }
}

[[STEPSIZE_TILES_INLINE]] inline void add_squares(__m512d& sum, __m512 values) {
  const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(values));
  const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(values, 1));
  sum = _mm512_fmadd_pd(high, high, _mm512_fmadd_pd(low, low, sum));
}

// Takes values, and returns the sum of their squares.
template <typename T>
[[STEPSIZE_TILES]] double take_values(
    const float* values, int64_t count, T* to) {
  __m512d sum = _mm512_setzero_pd();
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 mask = half_of(first_of(count - i), 0);
    const __m512 own = load_values(values + i, mask);
    add_squares(sum, own);
    store_values(to + i, mask, own);
  }
  return _mm512_reduce_add_pd(sum);
}

template <typename T>
[[STEPSIZE_TILES]] double take_means(
    const float* gradient,
    float* mean,
    double momentum,
    bool nesterov,
    int64_t count,
    T* to) {
  const __m512 share = _mm512_set1_ps(static_cast<float>(1.0 - momentum));
  const __m512 keep = _mm512_set1_ps(static_cast<float>(momentum));
  __m512d sum = _mm512_setzero_pd();
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 mask = half_of(first_of(count - i), 0);
    const __m512 own = load_values(gradient + i, mask);
    __m512 value = load_values(mean + i, mask);
    value = _mm512_fmadd_ps(share, _mm512_sub_ps(own, value), value);
    store_values(mean + i, mask, value);
    if (nesterov) {
      value = _mm512_fmadd_ps(keep, _mm512_sub_ps(value, own), own);
    }
    add_squares(sum, value);
    store_values(to + i, mask, value);
  }
  return _mm512_reduce_add_pd(sum);
}

[[STEPSIZE_TILES]] void move_by(
    float* parameter,
    const float* update,
    double keep,
    double rate,
    int64_t count) {
  const __m512 share = _mm512_set1_ps(static_cast<float>(keep));
  const __m512 minus = _mm512_set1_ps(static_cast<float>(-rate));
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 mask = half_of(first_of(count - i), 0);
    const __m512 own = _mm512_mul_ps(share, load_values(parameter + i, mask));
    store_values(
        parameter + i,
        mask,
        _mm512_fmadd_ps(minus, load_values(update + i, mask), own));
  }
}

template <typename T>
[[STEPSIZE_TILES]] void scale_values(T* values, int64_t count, float factor) {
  const __m512 own = _mm512_set1_ps(factor);
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 mask = half_of(first_of(count - i), 0);
    store_values(
        values + i, mask, _mm512_mul_ps(load_values(values + i, mask), own));
  }
}

// The parts of an object's memory, each on a cache line of its own.
template <typename T>
class Layout {
 public:
  Layout(int64_t rows, int64_t columns, char* memory)
      : matrix_{nullptr, rows, columns},
        panels_(panels_of(std::min(rows, columns))),
        memory_(memory) {
    matrix_.values = part<T>(rows * columns);
    if constexpr (!std::is_same_v<T, float>) {
      result_ = part<float>(rows * columns);
    }
    const int64_t side = panels_ * kPanel;
    for (Word*& square : squares_) {
      square = part<Word>(side * side / kRowsOfLine<T>);
    }
    packed_ = part<Word>(side * kGroup / kRowsOfLine<T>);
    sums_ = part<float>(longer() > kGroup ? side * side : 0);
  }

  int64_t size() const { return size_; }
  const Matrix<T>& matrix() const { return matrix_; }
  Square<T> square(std::size_t position) const {
    return {squares_[position], panels_};
  }
  Word* packed() const { return packed_; }
  float* sums() const { return sums_; }
  bool is_wide() const { return matrix_.rows <= matrix_.columns; }
  int64_t shorter() const { return std::min(matrix_.rows, matrix_.columns); }
  int64_t longer() const { return std::max(matrix_.rows, matrix_.columns); }

  // Apart from the matrix, or nothing.
  float* result() const { return result_; }
  const float* end() const {
    if constexpr (std::is_same_v<T, float>) {
      return matrix_.values;
    } else {
      return result_;
    }
  }

 private:
  template <typename Value>
  Value* part(int64_t count) {
    char* own = memory_ == nullptr ? nullptr : memory_ + size_;
    const int64_t bytes = count * static_cast<int64_t>(sizeof(Value));
    size_ += (bytes + 63) / 64 * 64;
    return reinterpret_cast<Value*>(own);
  }

  Matrix<T> matrix_;
  int64_t panels_;
  char* memory_;
  int64_t size_ = 0;
  float* result_ = nullptr;
  Word* squares_[5] = {};
  Word* packed_ = nullptr;
  float* sums_ = nullptr;
};

// gram = scale^2 X X^T
template <typename T>
void make_gram(const Layout<T>& layout, double scale, const Square<T>& gram) {
  const int64_t longer = layout.longer();
  for (int64_t begin = 0; begin < longer; begin += kGroup) {
    const int64_t count = std::min(kGroup, longer - begin);
    const int64_t lines = panels_of(count) * kPanel / kRowsOfLine<T>;
    parallel_run(gram.panels, [&](int64_t panel) {
      Word* to = layout.packed() + panel * lines * kPanel;
      if (layout.is_wide()) {
        pack_rows(layout.matrix(), panel * kPanel, begin, lines, to);
      } else {
        pack_columns(layout.matrix(), panel * kPanel, begin, lines, to);
      }
    });
    parallel_run(gram.panels, [&](int64_t item) {
      add_to_gram(
          layout.packed(),
          lines,
          begin == 0,
          begin + count == longer,
          static_cast<float>(scale * scale),
          layout.sums(),
          gram,
          gram.panels - 1 - item);
    });
  }
}

// Multiplies the matrix by a polynomial, from the side that is short.
template <typename T>
void multiply_matrix(
    const Layout<T>& layout, const Square<T>& factor, const Ending& ending) {
  const Matrix<T>& matrix = layout.matrix();
  const int64_t lines = factor.lines();
  for (int64_t begin = 0; begin < layout.longer(); begin += kGroup) {
    const int64_t panels = panels_of(std::min(kGroup, layout.longer() - begin));
    parallel_run(panels, [&](int64_t panel) {
      Word* to = layout.packed() + panel * lines * kPanel;
      const int64_t first = begin + panel * kPanel;
      if (layout.is_wide()) {
        pack_columns(matrix, first, 0, lines, to);
      } else {
        pack_rows(matrix, first, 0, lines, to);
      }
    });
    if (layout.is_wide()) {
      parallel_run(panels, [&](int64_t panel) {
        end_column(
            factor.words,
            factor.panels,
            layout.packed() + panel * lines * kPanel,
            lines,
            ending,
            matrix,
            0,
            begin + panel * kPanel);
      });
    } else {
      parallel_run(factor.panels, [&](int64_t panel) {
        end_column(
            layout.packed(),
            panels,
            factor.panel(panel),
            lines,
            ending,
            matrix,
            begin,
            panel * kPanel);
      });
    }
  }
}

// `steps` iterations of scale X by one Gram matrix; to the result if they are
// the last.
template <typename T>
void iterate_tiles(
    const Layout<T>& layout, double scale, int64_t steps, bool is_last) {
  const Square<T> gram = layout.square(0);
  const Square<T> half_way = layout.square(1);
  Square<T> own = layout.square(2);  // R
  Square<T> sum = layout.square(3);  // S
  Square<T> next = layout.square(4);
  double share = 1;  // p
  make_gram(layout, scale, gram);
  for (int64_t step = 0; step < steps; ++step) {
    multiply_squares<T>(
        gram, gram, kNewtonSchulzQuintic, {gram, kNewtonSchulzCubic}, {}, own);
    if (step + 1 < steps) {
      multiply_squares<T>(
          gram, own, 1, {gram, kNewtonSchulzLinear}, {}, half_way);
      multiply_squares<T>(
          half_way, own, 1, {half_way, kNewtonSchulzLinear}, {}, gram);
    }
    if (step == 0) {
      std::swap(sum, own);
    } else {
      multiply_squares<T>(
          own, sum, 1, {sum, kNewtonSchulzLinear}, {own, share}, next);
      std::swap(sum, next);
    }
    share *= kNewtonSchulzLinear;
  }
  multiply_matrix(
      layout,
      sum,
      {static_cast<float>(scale),
       static_cast<float>(share),
       is_last ? layout.result() : nullptr});
}

// Elements that a thread takes at once.
constexpr int64_t kTilesBlock = int64_t{1} << 16;

// The sum of what run(begin, count) gives, in an order of its own.
template <typename Run>
double sum_of_blocks(int64_t count, const Run& run) {
  const int64_t blocks = (count + kTilesBlock - 1) / kTilesBlock;
  std::vector<double> sums(static_cast<std::size_t>(blocks), 0.0);
  parallel_run(blocks, [&](int64_t block) {
    const int64_t begin = block * kTilesBlock;
    sums[static_cast<std::size_t>(block)] =
        run(begin, std::min(kTilesBlock, count - begin));
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

// The sum of squares of what take(begin, count, values) takes.
template <typename T, typename Take>
double take_blocks(const Matrix<T>& matrix, const Take& take) {
  return sum_of_blocks(
      matrix.rows * matrix.columns, [&](int64_t begin, int64_t count) {
        return take(begin, count, matrix.values + begin);
      });
}

constexpr int64_t kSmallSide = 64;

// How many of the remaining steps have one Gram matrix.
template <typename T>
int64_t steps_of_gram(const Layout<T>& layout, int64_t steps) {
  // Small ones are not worth the rounding.
  if (layout.shorter() <= kSmallSide) return 1;
  const int64_t more = layout.longer() - layout.shorter();
  if constexpr (std::is_same_v<T, float>) {
    return 2 * more < layout.shorter() ? 1 : first_steps_of_gram(steps);
  } else {
    if (more <= layout.shorter() / 25) return 1;
    return std::min<int64_t>(steps, 2);
  }
}

// Of a length whose square float32 can hold, small parts included.
constexpr int kTilesExponent = 30;

template <typename T>
void run_tiles(const Layout<T>& layout, double length, int64_t steps) {
  int exponent = 0;
  if (std::isfinite(length) && length > 0) std::frexp(length, &exponent);
  if (std::abs(exponent) > kTilesExponent) {
    exponent = std::min(std::max(exponent, -126), 126);
    const Matrix<T>& matrix = layout.matrix();
    scale_values(
        matrix.values,
        matrix.rows * matrix.columns,
        static_cast<float>(std::ldexp(1.0, -exponent)));
    length = std::ldexp(length, -exponent);
  }
  double scale = std::isfinite(length)
                     ? 1 / length
                     : std::numeric_limits<double>::quiet_NaN();
  while (steps > 0) {
    const int64_t own = steps_of_gram(layout, steps);
    steps -= own;
    iterate_tiles(layout, scale, own, steps == 0);
    scale = 1;
  }
}

}  // namespace

bool has_tiled_newton_schulz(at::ScalarType type) {
  static const bool has_bfloat16 = __builtin_cpu_supports("avx512bf16") != 0;
  return cpu_capability() == CPUCapability::kAVX512 &&
         (type == at::kFloat || (type == at::kBFloat16 && has_bfloat16));
}

// Calls run(layout).
template <typename Run>
auto TiledNewtonSchulz::with_layout(const Run& run) const {
  char* memory =
      memory_.defined() ? static_cast<char*>(memory_.data_ptr()) : nullptr;
  return type_ == at::kFloat ? run(Layout<float>(rows_, columns_, memory))
                             : run(Layout<BFloat>(rows_, columns_, memory));
}

void TiledNewtonSchulz::resize(
    at::ScalarType type, int64_t rows, int64_t columns) {
  type_ = type;
  rows_ = rows;
  columns_ = columns;
  const int64_t size =
      with_layout([](const auto& layout) { return layout.size(); });
  if (!memory_.defined() || memory_.numel() < size) {
    memory_ = at::empty({size}, at::kByte);
  }
}

void TiledNewtonSchulz::take_mean(
    const float* gradient, float* mean, double momentum, bool nesterov) {
  square_sum_ = with_layout([&](const auto& layout) {
    return take_blocks(
        layout.matrix(), [&](int64_t begin, int64_t count, auto* to) {
          return take_means(
              gradient + begin, mean + begin, momentum, nesterov, count, to);
        });
  });
}

void TiledNewtonSchulz::take(const float* values) {
  square_sum_ = with_layout([&](const auto& layout) {
    return take_blocks(
        layout.matrix(), [&](int64_t begin, int64_t count, auto* to) {
          return take_values(values + begin, count, to);
        });
  });
}

void TiledNewtonSchulz::run(int64_t steps, double eps) {
  with_layout([&](const auto& layout) {
    run_tiles(layout, std::sqrt(square_sum_) + eps, steps);
  });
}

const float* TiledNewtonSchulz::result() const {
  return with_layout([](const auto& layout) { return layout.end(); });
}

void TiledNewtonSchulz::move(float* parameter, double keep, double rate) const {
  const float* update = result();
  const int64_t count = rows_ * columns_;
  parallel_run((count + kTilesBlock - 1) / kTilesBlock, [&](int64_t block) {
    const int64_t begin = block * kTilesBlock;
    move_by(
        parameter + begin,
        update + begin,
        keep,
        rate,
        std::min(kTilesBlock, count - begin));
  });
}

#else

bool has_tiled_newton_schulz(at::ScalarType) { return false; }

void TiledNewtonSchulz::resize(at::ScalarType, int64_t, int64_t) {
  TORCH_INTERNAL_ASSERT(false, "this build has no tiles");
}
void TiledNewtonSchulz::take_mean(const float*, float*, double, bool) {}
void TiledNewtonSchulz::take(const float*) {}
void TiledNewtonSchulz::run(int64_t, double) {}
const float* TiledNewtonSchulz::result() const { return nullptr; }
void TiledNewtonSchulz::move(float*, double, double) const {}

#endif

}  // namespace stepsize::detail
