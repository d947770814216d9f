#pragma once

// What the loops of every instruction set offer. Only plain types: the sources
// that are compiled for a newer CPU include this header and no header with
// inline functions, for the linker might take such a function's copy from there
// for the whole program, and an older CPU would crash in it.

#include <cstdint>

namespace stepsize::detail {

/// How a parameter and its state are stored; gradients are as parameters. The
/// first four are the types of elements, too.
enum Format {
  kFloat32,
  kFloat64,
  kBFloat16,
  kFloat16,
  kBFloat16WithFloat32State,
  kFloat16WithFloat32State,
};
constexpr int kElementTypeCount = 4;
constexpr int kFormatCount = 6;

/// Elements that one sum of squares keeps in flight: with the same number on
/// every CPU the sums have the same bits.
constexpr int kLanes = 32;

enum MomentumMode {
  kNoMomentum,
  kFirst,
  kNext,
  kFirstNesterov,
  kNextNesterov,
};
constexpr int kMomentumModeCount = 5;

/// The numbers of an SGD step, in the form in which the loops want them.
struct SGDNumbers {
  double lr;
  double momentum;
  double undamped;  ///< 1 - dampening
  double decay;     ///< of the gradient's side, 0 where it is decoupled
  double keep;      ///< factor of the parameter: 1 - lr * decoupled decay
  double coarse;    ///< factor of the gradient, before `scale`: see Scale
  double scale;     ///< factor of the gradient, its sign for maximize included
};

struct SGDArrays {
  void* param;
  const void* grad;
  void* momentum;
};

/// The numbers of an Adam step.
struct AdamNumbers {
  double beta1;
  double beta2;
  double eps;
  double decay;
  double keep;
  double coarse;
  double scale;
  double step_size;     ///< lr / (1 - beta1^t)
  double inverse_root;  ///< 1 / sqrt(1 - beta2^t)
};

struct AdamArrays {
  void* param;
  const void* grad;
  void* mean;
  void* square;
  void* max_square;
};

/// Sum of the squares of the elements [begin, end). `next` is where the caller
/// goes on reading: as many bytes from there are fetched on the way, for
/// hardware does not foresee that data goes on in another place.
using SumSquaresLoop =
    double (*)(const void* data, int64_t begin, int64_t end, const void* next);
/// Sum of (scale * element)^2.
using ScaledSumSquaresLoop =
    double (*)(const void* data, int64_t begin, int64_t end, double scale);
/// Largest absolute value; NaN if there is one.
using MaxAbsLoop = double (*)(const void* data, int64_t begin, int64_t end);
using SGDLoop = void (*)(
    const SGDArrays& arrays,
    int64_t begin,
    int64_t end,
    const SGDNumbers& numbers);
using AdamLoop = void (*)(
    const AdamArrays& arrays,
    int64_t begin,
    int64_t end,
    const AdamNumbers& numbers);

struct LoopTable {
  SumSquaresLoop sum_squares[kElementTypeCount];
  ScaledSumSquaresLoop scaled_sum_squares[kElementTypeCount];
  MaxAbsLoop max_abs[kElementTypeCount];
  SGDLoop sgd[kFormatCount][kMomentumModeCount][2];  ///< [..][coupled decay]
  AdamLoop adam[kFormatCount][2][2];  ///< [..][coupled decay][amsgrad]
};

const LoopTable& base_loops();
const LoopTable& avx2_loops();
const LoopTable& avx512_loops();

}  // namespace stepsize::detail
