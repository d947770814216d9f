#pragma once

#include <stepsize/schedule/schedule.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

namespace stepsize {

// Curves without an end of their own (cut them with limit(), `for` in text)
// and curves given by points, by noise or by a function.

/// gamma^floor(t/period); period > 0, gamma >= 0. Text:
/// `step PERIOD gamma G`.
Schedule step_decay(double period, double gamma = 0.1);

/// gamma^(number of milestones <= t); milestones increasing, >= 0 (one that
/// stands twice counts twice). Text: `multi_step M1 M2 ... gamma G`.
Schedule multi_step(std::vector<double> milestones, double gamma = 0.1);

/// gamma^(t/period), gamma > 0, period > 0. Text:
/// `exponential GAMMA every PERIOD`.
Schedule exponential(double gamma, double period = 1.0);

/// 1/(1 + k t/period), or with floor(t/period) where `staircase` (Robbins &
/// Monro 1951). Text: `inverse_time K every PERIOD [staircase]`.
Schedule inverse_time(double k, double period = 1.0, bool staircase = false);

/// sqrt(w/(w + t)): what follows a warm-up of w steps in the Transformer's
/// schedule, so that warmup(w).then(inverse_sqrt(w)) is sqrt(w/t) from t = w
/// on. timescale w > 0. Text: `inverse_sqrt TIMESCALE`.
Schedule inverse_sqrt(double timescale);

/// scale * model_size^-0.5 * min((t+1)^-0.5, (t+1) warmup^-1.5) (Vaswani et
/// al. 2017, eq. 3, their step counted from 1). It is the rate itself where
/// the base rate is 1. Text: `noam WARMUP model_size D scale C`.
Schedule noam(double warmup_steps, double model_size, double scale = 1.0);

/// One corner of a piecewise schedule.
struct SchedulePoint {
  double t;
  double factor;
  friend bool operator==(const SchedulePoint& a, const SchedulePoint& b) {
    return a.t == b.t && a.factor == b.factor;
  }
};

/// How a piecewise schedule passes from point to point.
enum class Interpolation : std::uint8_t { kLinear, kCosine };

/// Through the given points (t increasing, the first at t >= 0, factors
/// finite and >= 0); before the first point its factor holds, and after the
/// last. Text: `piecewise 0:0.1 500:1 10000:0 [cosine]`.
Schedule piecewise(
    std::vector<SchedulePoint> points,
    Interpolation interpolation = Interpolation::kLinear);

/// Seeded multiplicative noise: 1 + z with z normal of standard deviation
/// `stddev` >= 0, redrawn until |z| <= limit, one z for every `period` of t.
/// limit in (0, 1], so that the factor stays >= 0. An infinite stddev makes z
/// uniform in [-limit, limit]. A function of (seed, t)
/// alone: no generator, the same after a resume. Multiply it onto a
/// schedule: cosine(9000) * noise(0.05). Text:
/// `noise STDDEV limit L seed S every PERIOD`.
Schedule noise(
    double stddev,
    std::uint64_t seed = 0,
    double limit = 0.5,
    double period = 1.0);

/// Any function of t. It must be pure, return a finite factor >= 0 for every
/// t asked for (else std::domain_error says which t), and be safe to call
/// from the threads that evaluate the schedule. It has no text form.
Schedule callable(
    std::function<double(double)> function,
    double length = std::numeric_limits<double>::infinity());

}  // namespace stepsize
