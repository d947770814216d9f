#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace stepsize {
namespace detail {
class ScheduleNode;
}  // namespace detail
class RepeatOptions;

/// A learning-rate schedule as a value: a pure function from time to a factor
/// of the base rate.
///
/// The same t gives the same factor, for ever: nothing depends on calls made
/// before, so that resuming is one number, a plot is a loop, and a test is a
/// formula. Copies are cheap (they share an immutable tree) and may be used
/// from several threads at once.
///
/// Time counts from 0 in whatever unit the caller steps in (updates or
/// epochs) and may be fractional; it is exact for whole t up to 2^53.
/// A schedule of finite length holds the value at its end for every later t.
///
///     Schedule s = warmup(500).then(cosine(9500, 0.1));
///     double factor = s(1234);
///
/// Evaluating a schedule allocates nothing (a callable of the user's may).
/// Every constructor, factory and combinator checks its arguments and throws
/// std::invalid_argument naming the factory, the rule and the value; so does
/// one that would put combinators more than 100 deep inside each other.
class Schedule {
 public:
  /// The constant factor 1.
  Schedule();

  // Declared without moves: a schedule moved from stays as good as new.
  Schedule(const Schedule&) = default;
  Schedule& operator=(const Schedule&) = default;
  ~Schedule() = default;

  /// Factor of the base rate at time t >= 0. Throws std::invalid_argument for
  /// a negative or NaN t, and for an infinite one where there is no end;
  /// std::domain_error where growth has left the range of a double.
  double operator()(double t) const;

  /// Time from which the factor is held; infinity where there is no end
  /// (constant() has none either: cut it with limit()).
  double length() const;

  /// Text form, which parse() turns into an equal schedule. A callable prints
  /// as "callable" and is the one form that parse() refuses.
  std::string to_string() const;

  /// Plays `next` from this schedule's end on, next's own time starting at 0.
  /// Text: `A > B`. Throws where this schedule has no end.
  Schedule then(const Schedule& next) const;

  /// The pointwise product, (A * B)(t) = A(t) B(t) to the bit. It ends when the
  /// last factor ends (constants and noise aside), and has no end where one has
  /// none. Text: `A * B`; A * B * C is (A * B) * C, and A * (B * C) another.
  Schedule times(const Schedule& other) const;

  /// The factor kept within [low, high]. Text: `A clamp LOW HIGH`.
  Schedule clamp(double low, double high) const;

  /// Plays this finite schedule `count` times, or for ever (the default), each
  /// time `stretch` >= 1 times as long and `decay` in (0, 1] times as high as
  /// the time before. Text: `A repeat [COUNT] [stretch S] [decay D]`. Throws
  /// where it has no end or length 0.
  Schedule repeat(
      int64_t count = kForever, double stretch = 1.0, double decay = 1.0) const;

  /// The same with the options of cycle.h, which know a decay that leaves a
  /// floor m where it is: with s the decay's power of this time, the factor f
  /// of the first is now m + s (f - m) (`decay D above M`), or with s such
  /// that 1 comes out as max(D^i, m) (`decay D to M`).
  Schedule repeat(const RepeatOptions& options) const;

  /// The same curve, squeezed or stretched in time to a new length > 0.
  /// Text: `A stretch_to LENGTH`. Throws where it has no end.
  Schedule stretch_to(double length) const;

  /// The curve moved later by `delay`, the value at 0 held until then; a
  /// negative delay starts -delay into the curve. Text: `A shift DELAY`.
  Schedule shift(double delay) const;

  /// The curve up to time `length` >= 0, the value there held ever after.
  /// Text: `A for LENGTH`.
  Schedule limit(double length) const;

  /// The curve in steps: within each `period` > 0 the factor that it began
  /// with, as where a rate is set once an epoch. The end is at the first stair
  /// that is not before the curve's. Text: `A stairs PERIOD`.
  Schedule stairs(double period) const;

  /// repeat(kForever) repeats without end.
  static constexpr int64_t kForever = -1;

  /// Structural equality: the same tree with the same numbers. Two callables
  /// are equal only if one is a copy of the other.
  friend bool operator==(const Schedule& a, const Schedule& b);
  friend bool operator!=(const Schedule& a, const Schedule& b) {
    return !(a == b);
  }
  friend Schedule operator*(const Schedule& a, const Schedule& b) {
    return a.times(b);
  }

  /// For the library's own nodes.
  explicit Schedule(std::shared_ptr<const detail::ScheduleNode> node);
  const detail::ScheduleNode& node() const { return *node_; }

 private:
  std::shared_ptr<const detail::ScheduleNode> node_;
};

}  // namespace stepsize
