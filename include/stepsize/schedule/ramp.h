#pragma once

#include <stepsize/schedule/schedule.h>

#include <cstdint>
#include <limits>

namespace stepsize {

// Ramps: finite curves from one factor to another. Below, x is the share of
// the ramp done, in [0, 1]. Every length is >= 0 and finite; a ramp of length
// 0 is its end value, so that a configured warm-up of 0 steps is no warm-up.

/// The curve that a warm-up climbs along, from s at x = 0 to 1 at x = 1.
enum class WarmupShape : std::uint8_t {
  kLinear,       ///< s + (1 - s) x (Goyal et al. 2017)
  kCosine,       ///< s + (1 - s) (1 - cos(pi x)) / 2
  kExponential,  ///< s^(1 - x): equal ratios, needs s > 0
  kSqrt,         ///< s + (1 - s) (1 - sqrt(1 - x)): slow start, fast finish
  /// s + (1 - s) ln(1 + t) / ln(1 + length): fast start, slow finish
  /// (DeepSpeed's, whose warmup_num_steps is length + 1)
  kLogarithmic,
};

/// The curve that a cooldown falls along, from 1 at x = 0 to m at x = 1.
enum class CooldownShape : std::uint8_t {
  kLinear,       ///< m + (1 - m) (1 - x)
  kCosine,       ///< m + (1 - m) (1 + cos(pi x)) / 2
  kSqrt,         ///< m + (1 - m) (1 - sqrt(x)) (Haegele et al. 2024)
  kSquare,       ///< m + (1 - m) (1 - x^2)
  kExponential,  ///< m^x: equal ratios, needs m > 0
  /// m + (1 - m) (2^(1 - x) - 1): the first half of a half-life, moved down to
  /// end at m (Megatron-LM's exponential WSD)
  kHalfLife,
};

/// The factor `factor` >= 0, without end. Text: `constant FACTOR`.
Schedule constant(double factor = 1.0);

/// from + (to - from) x over `length`. Text: `linear LENGTH from A to B`.
Schedule linear(double length, double from = 1.0, double to = 0.0);

/// Warm-up over `length` to the factor 1. By default it starts at
/// 1/(length + 1), which makes a linear warm-up climb in equal increments
/// (1, 2, 3, ...)/(length + 1) and wastes no update at a rate of zero.
/// Text: `warmup LENGTH [linear|cosine|exponential|sqrt|logarithmic]`.
Schedule warmup(double length, WarmupShape shape = WarmupShape::kLinear);

/// Warm-up from the factor `from` in [0, 1] (in (0, 1] for kExponential).
/// Text: `warmup LENGTH SHAPE from START`.
Schedule warmup(double length, WarmupShape shape, double from);

/// Fall from 1 to `floor` over `length`. Text: `cooldown LENGTH SHAPE to M`.
Schedule cooldown(
    double length,
    CooldownShape shape = CooldownShape::kLinear,
    double floor = 0.0);

/// Power-law cooldown from 1 to 0: ((length - t)/length)^power, power > 0.
/// Text: `power_cooldown LENGTH power P`.
Schedule power_cooldown(double length, double power);

/// min(1, scale (length - t)^power), 0 from t = length on; power > 0 and
/// scale > 0. It stays at 1 until scale^(-1/power) before its end, in the unit
/// of t; where scale < length^-power, it begins below 1. Text:
/// `power_cooldown LENGTH power P scale C`.
Schedule power_cooldown(double length, double power, double scale);

/// Half a cosine from 1 to `floor`: m + (1 - m)((1 + cos(pi x^k))/2)^exponent
/// (Loshchilov & Hutter 2017, eq. 5; k-decay: Zhang & Li 2020). k > 0 above 1
/// stays high for longer, below 1 it falls sooner; exponent > 0, which Optax
/// has, does the opposite and flattens the end. Text:
/// `cosine LENGTH to M k K exponent E`.
Schedule cosine(
    double length, double floor = 0.0, double k = 1.0, double exponent = 1.0);

/// m + (1 - m)(1 - x^k)^power; power > 0, k > 0 (k-decay: Zhang & Li 2020).
/// Text: `polynomial LENGTH power P to M k K`.
Schedule polynomial(
    double length, double power = 1.0, double floor = 0.0, double k = 1.0);

/// Equal ratios from `from` to `to`, both > 0: from^(1 - x) to^x. Text:
/// `geometric LENGTH from A to B`.
Schedule geometric(double length, double from, double to);

/// Reflected exponential, m + (1 - m)(1 - x)/(1 - x/2) (Chen et al. 2022,
/// "REX: Revisiting Budgeted Training"). Text: `rex LENGTH to M`.
Schedule rex(double length, double floor = 0.0);

/// (1 - tanh(lower (1 - x) + upper x))/2 (Hsueh et al. 2019, eq. 4), scaled
/// to m + (1 - m)(...). By the paper's formula it begins a hair under 1 and
/// ends a little above m. Text: `tanh LENGTH lower L upper U to M`.
Schedule tanh_decay(
    double length, double lower = -6.0, double upper = 3.0, double floor = 0.0);

}  // namespace stepsize
