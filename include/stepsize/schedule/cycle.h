#pragma once

#include <stepsize/schedule/schedule.h>

#include <cstdint>

namespace stepsize {

/// Knobs of cosine_restarts(); each setter returns the options.
class CosineRestartsOptions {
 public:
  /// Each cycle is this many times as long as the one before; >= 1.
  CosineRestartsOptions& stretch(double value);
  /// Each peak is this many times as high as the one before, though never
  /// below the floor (timm's cycle_decay); in (0, 1].
  CosineRestartsOptions& peak_decay(double value);
  /// Each peak is this many times as far above the floor as the one before
  /// (Keras' m_mul); in (0, 1]. Takes the place of peak_decay.
  CosineRestartsOptions& height_decay(double value);
  /// Cycles to play before the floor holds; Schedule::kForever or >= 1.
  CosineRestartsOptions& cycles(int64_t value);
  /// The factor at each cycle's end; in [0, 1].
  CosineRestartsOptions& floor(double value);

  double stretch() const { return stretch_; }
  /// 1 where the other one has been set.
  double peak_decay() const { return of_height_ ? 1 : decay_; }
  double height_decay() const { return of_height_ ? decay_ : 1; }
  int64_t cycles() const { return cycles_; }
  double floor() const { return floor_; }

 private:
  double stretch_ = 1.0;
  double decay_ = 1.0;
  bool of_height_ = false;
  int64_t cycles_ = Schedule::kForever;
  double floor_ = 0.0;
};

/// SGDR (Loshchilov & Hutter 2017): cycle i lasts first_cycle * stretch^i and
/// falls along half a cosine from max(peak_decay^i, floor), or from
/// floor + (1 - floor) height_decay^i, to floor. A restart is exact: at the
/// very t where a cycle ends the next peak stands, for whole lengths and
/// stretches up to t = 2^53. Text:
/// `cosine_restarts T0 stretch S decay D cycles N to M`, where `above M` in
/// the place of `to M` lets the height decay.
Schedule cosine_restarts(
    double first_cycle, const CosineRestartsOptions& options = {});

/// Knobs of Schedule::repeat(); each setter returns the options.
class RepeatOptions {
 public:
  /// Times to play; Schedule::kForever, the default, or >= 1.
  RepeatOptions& count(int64_t value);
  /// Each time is this many times as long as the one before; >= 1.
  RepeatOptions& stretch(double value);
  /// Each time, what was 1 is this many times as high as the time before,
  /// though never below the floor (timm's cycle_decay); in (0, 1].
  RepeatOptions& peak_decay(double value);
  /// Each time, everything is this many times as far from the floor as the
  /// time before (Keras' m_mul); in (0, 1]. Takes the place of peak_decay.
  RepeatOptions& height_decay(double value);
  /// The factor that a decay leaves where it is; in [0, 1], by default 0.
  RepeatOptions& floor(double value);

  int64_t count() const { return count_; }
  double stretch() const { return stretch_; }
  /// 1 where the other one has been set.
  double peak_decay() const { return of_height_ ? 1 : decay_; }
  double height_decay() const { return of_height_ ? decay_ : 1; }
  double floor() const { return floor_; }

 private:
  int64_t count_ = Schedule::kForever;
  double stretch_ = 1.0;
  double decay_ = 1.0;
  bool of_height_ = false;
  double floor_ = 0.0;
};

/// m + (1 - m)(1 - t/h)^power, h being the first multiple of `length` that is
/// >= t: falls to the floor m in `length`, then from just under a half again in
/// as long, from just under a third, and so on without end (Keras'
/// PolynomialDecay with cycle). At a multiple itself the floor stands.
/// length > 0, power > 0, floor in [0, 1]. Text:
/// `polynomial_cycles LENGTH power P to M`.
Schedule polynomial_cycles(
    double length, double power = 1.0, double floor = 0.0);

/// Knobs of the triangular cycles; each setter returns the options.
class TriangularOptions {
 public:
  /// Duration of the falling half; > 0; as long as the rising half by default.
  TriangularOptions& down(double value);
  /// The factor at the foot of every triangle; in [0, 1]. The default, a
  /// quarter, is the rule of thumb of Smith (2017), section 3.3.
  TriangularOptions& floor(double value);

  double down() const { return down_; }
  double floor() const { return floor_; }

 private:
  double down_ = 0.0;  // 0: as the rising half
  double floor_ = 0.25;
};

/// Triangles from floor to 1 in `up` and back in `down`, for ever (Smith
/// 2017, "Cyclical Learning Rates for Training Neural Networks").
/// Text: `triangular UP down D from M`.
Schedule triangular(double up, const TriangularOptions& options = {});

/// triangular() with its height above the floor halved every cycle. Text:
/// `triangular2 UP down D from M`.
Schedule triangular2(double up, const TriangularOptions& options = {});

/// triangular() with its height above the floor times gamma^t; gamma in
/// (0, 1]. Text: `exp_range UP gamma G down D from M`.
Schedule exp_range(
    double up, double gamma, const TriangularOptions& options = {});

}  // namespace stepsize
