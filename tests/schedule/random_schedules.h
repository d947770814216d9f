#pragma once

#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/recipe.h>
#include <stepsize/schedule/schedule.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <random>

namespace stepsize::testing {

enum class Times : std::uint8_t {
  kWild,   ///< of every size among the ordinary ones
  kExact,  ///< eighths and powers of two: to reckon with them does not round
};

/// Seeded schedules of any curve under any combinator, with factors of every
/// size among the ordinary ones.
class RandomSchedules {
 public:
  RandomSchedules(std::uint64_t seed, Times times)
      : random_(seed), times_(times) {}

  /// A curve under up to `depth` combinators.
  Schedule any(int depth) {
    if (depth == 0 || below(5) == 0) {
      return curve();
    }
    switch (below(9)) {
      case 0:
        return finite(depth - 1).then(any(depth - 1));
      case 1:
        return any(depth - 1) * any(depth - 1);
      case 2: {
        const double low = factor();
        return any(depth - 1).clamp(
            low, below(3) == 0 ? kInf : std::max(low, factor()));
      }
      case 3:
        return finite(depth - 1).repeat(repeat_options());
      case 4: {
        const Schedule inner = finite(depth - 1);
        return inner.stretch_to(
            times_ == Times::kWild
                ? time()
                : std::ldexp(inner.length(), static_cast<int>(below(5)) - 2));
      }
      case 5: {
        const Schedule inner = finite(depth - 1);
        return inner.shift(-part_of(inner.length()));
      }
      case 6:
        return any(depth - 1).shift(time());
      case 7:
        return any(depth - 1).stairs(time());
      default:
        return any(depth - 1).limit(time());
    }
  }

  /// One that has an end > 0, cut where it has none.
  Schedule finite(int depth) {
    Schedule schedule = any(depth);
    const double length = schedule.length();
    return length > 0 && is_fit(length) ? schedule : schedule.limit(time());
  }

  /// A duration > 0.
  double time() {
    if (times_ == Times::kExact) {
      return static_cast<double>(1 + below(below(2) == 0 ? 80 : 8000)) / 8;
    }
    return positive();
  }

  /// A time in [0, length].
  double part_of(double length) {
    return times_ == Times::kExact ? std::floor(8 * length * uniform()) / 8
                                   : length * share();
  }

  double factor() { return positive(); }
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  /// In [0, 1).
  double uniform() {
    return std::ldexp(static_cast<double>(below(1U << 30)), -30);
  }

 private:
  static constexpr double kInf = std::numeric_limits<double>::infinity();

  double positive() {
    static const double odd[] = {
        5e-324, 1e-300, 1.0 / 3, 0.1, 1, 3, 1e15, 9007199254740992, 1e300};
    return below(3) == 0 ? odd[below(std::size(odd))] : 1 + 1000 * uniform();
  }
  double share() {
    static const double odd[] = {1e-300, 1.0 / 3, 0.1, 0.25, 1};
    return below(3) == 0 ? odd[below(std::size(odd))] : 0.01 + 0.9 * uniform();
  }
  double zero_or(double value) { return below(4) == 0 ? 0 : value; }
  double stretch() {
    if (times_ == Times::kExact) {
      return static_cast<double>(1 + below(2));
    }
    return below(2) == 0 ? 1 : 1 + 3 * uniform();
  }
  int64_t count() {
    return below(4) == 0 && times_ == Times::kWild
               ? (int64_t{1} << 62) + 1
               : static_cast<int64_t>(1 + below(9));
  }
  RepeatOptions repeat_options() {
    RepeatOptions options;
    options.count(below(2) == 0 ? Schedule::kForever : count())
        .stretch(stretch())
        .floor(zero_or(below(4) == 0 ? 1 : share()));
    return below(2) == 0 ? options.peak_decay(share())
                         : options.height_decay(share());
  }
  CosineRestartsOptions restarts_options(double floor) {
    CosineRestartsOptions options;
    options.stretch(stretch())
        .cycles(below(2) ? Schedule::kForever : count())
        .floor(floor);
    return below(2) == 0 ? options.peak_decay(share())
                         : options.height_decay(share());
  }
  bool is_fit(double length) const {
    return times_ == Times::kWild
               ? length < 1e300
               : length < 1e6 && std::fmod(length * 1024, 1) == 0;
  }

  Schedule curve() {
    const double n = time();
    const double s = share();
    const double m = zero_or(share());
    const auto up = static_cast<WarmupShape>(below(4));
    const auto down = static_cast<CooldownShape>(below(6));
    switch (below(21)) {
      case 0:
        return constant(zero_or(factor()));
      case 1:
        return linear(zero_or(n), zero_or(factor()), below(2) ? 1 : factor());
      case 2:
        return warmup(zero_or(n), up);
      case 3:
        return warmup(zero_or(n), up, s);
      case 4:
        return cooldown(zero_or(n), down, s);
      case 5:
        return cosine(n, m, positive(), below(2) ? 1 : positive());
      case 6:
        return polynomial(n, positive(), m, below(2) ? 1 : positive());
      case 7:
        return geometric(zero_or(n), s, below(2) ? 1 : factor());
      case 8:
        return rex(n, below(4) ? m : 1);
      case 9:
        return tanh_decay(n, -positive(), positive(), m);
      case 10:
        return step_decay(n, m);
      case 11:
        return multi_step({zero_or(n / 2), n, n}, positive());
      case 12:
        return below(2)   ? exponential(s)
               : below(2) ? exponential(factor())
                          : inverse_time(m, n, below(2) == 0);
      case 13:
        return below(2) ? inverse_sqrt(n) : noam(n, positive(), positive());
      case 14:
        return piecewise(
            {{0, m}, {1 + s, 1 / 3.0}, {3 + n, s}},
            static_cast<Interpolation>(below(2)));
      case 15:
        return noise(below(2) ? s / 2 : positive(), random_(), s, n);
      case 16:
        return cosine_restarts(n, restarts_options(m));
      case 17: {
        TriangularOptions options;
        options.floor(m).down(below(2) ? n : time());
        return below(2) ? triangular(n, options) : triangular2(n, options);
      }
      case 18:
        return exp_range(n, s);
      case 19:
        return below(2) ? polynomial_cycles(n, positive(), m)
                        : exponential(s, n);
      default:
        return one_cycle(
            n,
            OneCycleOptions()
                .pct_start(times_ == Times::kExact ? 0.25 : s / 2)
                .three_phase(below(2)));
    }
  }

  std::mt19937_64 random_;
  Times times_;
};

}  // namespace stepsize::testing
