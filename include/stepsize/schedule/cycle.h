#pragma once

#include <stepsize/schedule/schedule.h>

#include <cstdint>

namespace stepsize {

/// Knobs of cosine_restarts(); each setter returns the options.
class CosineRestartsOptions {
 public:
  /// Each cycle is this many times as long as the one before; >= 1.
  CosineRestartsOptions& stretch(double value);
  /// Each peak is this many times as high as the one before; in (0, 1].
  CosineRestartsOptions& peak_decay(double value);
  /// Cycles to play before the floor holds; Schedule::kForever or >= 1.
  CosineRestartsOptions& cycles(int64_t value);
  /// The factor at each cycle's end; in [0, 1].
  CosineRestartsOptions& floor(double value);

  double stretch() const { return stretch_; }
  double peak_decay() const { return peak_decay_; }
  int64_t cycles() const { return cycles_; }
  double floor() const { return floor_; }

 private:
  double stretch_ = 1.0;
  double peak_decay_ = 1.0;
  int64_t cycles_ = Schedule::kForever;
  double floor_ = 0.0;
};

/// SGDR (Loshchilov & Hutter 2017): cycle i lasts first_cycle * stretch^i and
/// falls along half a cosine from max(peak_decay^i, floor) to floor. A restart
/// is exact: at the very t where a cycle ends the next peak stands, for whole
/// lengths and stretches up to t = 2^53. Text:
/// `cosine_restarts T0 stretch S decay D cycles N to M`.
Schedule cosine_restarts(
    double first_cycle, const CosineRestartsOptions& options = {});

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
