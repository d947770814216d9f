#include <stepsize/schedule/decay.h>

#include "csrc/schedule/check.h"
#include "csrc/schedule/node.h"
#include "csrc/schedule/ramp_node.h"
#include "csrc/text/number.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <tuple>

namespace stepsize {
namespace detail {
namespace {

constexpr double kPi = 3.14159265358979323846;

class Piecewise final : public KeyedNode<Piecewise> {
 public:
  Piecewise(std::vector<SchedulePoint> points, Interpolation interpolation)
      : points_(std::move(points)), interpolation_(interpolation) {}

  double value(double t) const override {
    const auto right = std::upper_bound(
        points_.begin(),
        points_.end(),
        t,
        [](double time, const SchedulePoint& point) { return time < point.t; });
    if (right == points_.begin()) {
      return right->factor;
    }
    const SchedulePoint& left = *(right - 1);
    if (right == points_.end()) {
      return left.factor;
    }
    double x = (t - left.t) / (right->t - left.t);
    if (interpolation_ == Interpolation::kCosine) {
      const double s = std::sin(kPi / 2 * x);
      x = s * s;
    }
    return left.factor * (1 - x) + right->factor * x;
  }
  double length() const override { return points_.back().t; }
  std::string text() const override {
    std::string text = "piecewise";
    for (const SchedulePoint& point : points_) {
      text += " " + number_text(point.t) + ":" + number_text(point.factor);
    }
    return text + (interpolation_ == Interpolation::kCosine ? " cosine" : "");
  }
  auto key() const { return std::tie(points_, interpolation_); }

 private:
  std::vector<SchedulePoint> points_;
  Interpolation interpolation_;
};

// SplitMix64 (Steele, Lea & Flood 2014): a counter in, well mixed bits out.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31U);
}

// In (0, 1]: the logarithm below stays finite.
double uniform(std::uint64_t bits) {
  return (static_cast<double>(bits >> 11U) + 1) * 0x1p-53;
}

class Noise final : public KeyedNode<Noise> {
 public:
  Noise(double stddev, std::uint64_t seed, double limit, double period)
      : stddev_(stddev), seed_(seed), limit_(limit), period_(period) {}

  double value(double t) const override {
    const double draw = std::round((t - std::fmod(t, period_)) / period_);
    // The bits of the number, since it may be too large for an integer.
    std::uint64_t bits = 0;
    std::memcpy(&bits, &draw, sizeof(bits));
    std::uint64_t state = mix(mix(seed_) ^ bits);
    while (true) {
      const double u = uniform(mix(state));
      const double v = uniform(mix(state + 1));
      if (stddev_ <= limit_) {
        const double radius = stddev_ * std::sqrt(-2 * std::log(u));
        const double z = radius * std::cos(2 * kPi * v);
        if (std::abs(z) <= limit_) {
          return 1 + z;
        }
      } else {
        // Few normal draws would be within a narrow limit; of uniform ones
        // those that are kept with the normal's density are six in ten or more.
        const double z = limit_ * (2 * u - 1);
        const double deviations = z / stddev_;
        if (v <= std::exp(-deviations * deviations / 2)) {
          return 1 + z;
        }
      }
      state = mix(state + 2);
    }
  }
  std::string text() const override {
    return "noise " + number_text(stddev_) +
           (limit_ == 0.5 ? "" : " limit " + number_text(limit_)) +
           (seed_ == 0 ? "" : " seed " + std::to_string(seed_)) +
           (period_ == 1 ? "" : " every " + number_text(period_));
  }
  // cosine(9000) * noise(0.05) is over when the cosine is.
  bool extends_product() const override { return false; }
  std::shared_ptr<const ScheduleNode> calm() const override {
    return std::make_shared<const Constant>(1.0);
  }
  auto key() const { return std::tie(stddev_, seed_, limit_, period_); }

 private:
  double stddev_;
  std::uint64_t seed_;
  double limit_;
  double period_;
};

}  // namespace
}  // namespace detail

Schedule piecewise(
    std::vector<SchedulePoint> points, Interpolation interpolation) {
  if (points.empty()) {
    throw std::invalid_argument("piecewise: needs at least one point");
  }
  double previous = -1;
  for (const SchedulePoint& point : points) {
    detail::check_length(point.t, "piecewise", "t");
    detail::check_factor(point.factor, "piecewise", "factor");
    detail::check(
        point.t > previous,
        "piecewise",
        "t must increase, " + detail::number_text(previous) + " comes before",
        point.t);
    previous = point.t;
  }
  return detail::make_schedule<detail::Piecewise>(
      std::move(points), interpolation);
}

Schedule noise(double stddev, std::uint64_t seed, double limit, double period) {
  detail::check(
      limit > 0 && limit <= 1, "noise", "limit must be in (0, 1]", limit);
  detail::check(stddev >= 0, "noise", "stddev must be >= 0", stddev);
  detail::check_positive(period, "noise", "period");
  return detail::make_schedule<detail::Noise>(stddev, seed, limit, period);
}

}  // namespace stepsize
