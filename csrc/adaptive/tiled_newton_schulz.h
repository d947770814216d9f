#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace stepsize::detail {

/// Whether matrices of a type have a TiledNewtonSchulz here: on processors with
/// AVX-512 float32, and bfloat16 where they multiply it (AVX512-BF16).
bool has_tiled_newton_schulz(at::ScalarType type);

/// newton_schulz() for one matrix at a time, of float32 or bfloat16. Symmetric
/// products are computed by half, and the iteration runs on Gram matrices: see
/// the source. A result does not depend on the number of threads.
///
/// An object keeps the memory of its largest matrix: of float32 values with
/// n = min(rows, columns) rows * columns + 6 n^2 + 512 n, and half as much in
/// bfloat16, but for n^2 / 2 + rows * columns more.
class TiledNewtonSchulz {
 public:
  /// Makes room for a matrix of such products; all else is float32.
  void resize(at::ScalarType type, int64_t rows, int64_t columns);
  /// mean = mean + (gradient - mean) (1 - momentum), and takes it, or with
  /// `nesterov` what lies `momentum` of the way from gradient to mean, for the
  /// matrix.
  void take_mean(
      const float* gradient, float* mean, double momentum, bool nesterov);
  /// Takes contiguous float32 values for the matrix.
  void take(const float* values);
  /// Orthogonalizes the matrix into result().
  void run(int64_t steps, double eps);
  /// Row-major.
  const float* result() const;
  /// parameter = keep parameter - rate result()
  void move(float* parameter, double keep, double rate) const;

 private:
  template <typename Run>
  auto with_layout(const Run& run) const;

  at::ScalarType type_ = at::kFloat;
  int64_t rows_ = 0;
  int64_t columns_ = 0;
  double square_sum_ = 0;
  at::Tensor memory_;
};

}  // namespace stepsize::detail
