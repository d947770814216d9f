#include <stepsize/schedule/cycle.h>

#include "csrc/schedule/check.h"
#include "csrc/schedule/cycle_position.h"
#include "csrc/schedule/node.h"
#include "csrc/text/number.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <tuple>

namespace stepsize {
namespace detail {
namespace {

constexpr double kPi = 3.14159265358979323846;

class CosineRestarts final : public KeyedNode<CosineRestarts> {
 public:
  CosineRestarts(double first, const CosineRestartsOptions& options)
      : first_(first),
        stretch_(options.stretch()),
        cycles_(options.cycles()),
        decay_(options.peak_decay(), options.height_decay(), options.floor()),
        floor_(options.floor()),
        length_(
            cycles_ == Schedule::kForever
                ? kInfinity
                : cycle_start(static_cast<double>(cycles_), first, stretch_)) {}

  double value(double t) const override {
    if (t >= length_) {
      return floor_;
    }
    const CyclePosition cycle = locate_cycle(t, first_, stretch_);
    const double peak = decay_.peak(cycle.index);
    const double left = (cycle.length - cycle.offset) / cycle.length;
    const double s = std::sin(kPi / 2 * left);
    return peak * s * s + floor_ * (1 - s * s);
  }
  double length() const override { return length_; }
  std::string text() const override {
    std::string text = "cosine_restarts " + number_text(first_);
    if (stretch_ != 1) {
      text += " stretch " + number_text(stretch_);
    }
    if (decay_.factor() != 1) {
      text += " decay " + number_text(decay_.factor());
    }
    if (cycles_ != Schedule::kForever) {
      text += " cycles " + std::to_string(cycles_);
    }
    return floor_ == 0
               ? text
               : text + " " + decay_.keyword() + " " + number_text(floor_);
  }
  double floor() const override { return floor_; }
  auto key() const {
    return std::tie(first_, stretch_, cycles_, decay_, floor_);
  }

 private:
  double first_;
  double stretch_;
  int64_t cycles_;
  CycleDecay decay_;
  double floor_;
  double length_;
};

class PolynomialCycles final : public KeyedNode<PolynomialCycles> {
 public:
  PolynomialCycles(double length, double power, double floor)
      : length_(length), power_(power), floor_(floor) {}

  double value(double t) const override {
    // Cycles do not begin at a multiple of the length but just after it.
    const double offset = std::fmod(t, length_);
    const double done = std::round((t - offset) / length_);
    const double left =
        t > 0 && offset == 0 ? 0 : (length_ - offset) / length_ / (done + 1);
    const double rest = std::pow(left, power_);
    return rest + floor_ * (1 - rest);
  }
  std::string text() const override {
    return "polynomial_cycles " + number_text(length_) +
           (power_ == 1 ? "" : " power " + number_text(power_)) +
           (floor_ == 0 ? "" : " to " + number_text(floor_));
  }
  double floor() const override { return floor_; }
  auto key() const { return std::tie(length_, power_, floor_); }

 private:
  double length_;
  double power_;
  double floor_;
};

enum class TriangleScale : std::uint8_t { kConstant, kHalved, kExponential };

class Triangle final : public KeyedNode<Triangle> {
 public:
  Triangle(
      TriangleScale scale, double up, double down, double floor, double gamma)
      : scale_(scale), up_(up), down_(down), floor_(floor), gamma_(gamma) {}

  double value(double t) const override {
    const double period = up_ + down_;
    const double offset = std::fmod(t, period);
    double height = offset <= up_ ? offset / up_ : (period - offset) / down_;
    if (scale_ == TriangleScale::kHalved) {
      height *= std::exp2(-std::round((t - offset) / period));
    } else if (scale_ == TriangleScale::kExponential) {
      height *= std::pow(gamma_, t);
    }
    return height + floor_ * (1 - height);
  }
  std::string text() const override {
    std::string text = scale_ == TriangleScale::kConstant ? "triangular "
                       : scale_ == TriangleScale::kHalved ? "triangular2 "
                                                          : "exp_range ";
    text += number_text(up_);
    if (scale_ == TriangleScale::kExponential) {
      text += " gamma " + number_text(gamma_);
    }
    if (down_ != up_) {
      text += " down " + number_text(down_);
    }
    return text + " from " + number_text(floor_);
  }
  double floor() const override { return floor_; }
  auto key() const { return std::tie(scale_, up_, down_, floor_, gamma_); }

 private:
  TriangleScale scale_;
  double up_;
  double down_;
  double floor_;
  double gamma_;
};

Schedule make_triangle(
    const char* who,
    TriangleScale scale,
    double up,
    const TriangularOptions& options,
    double gamma = 1) {
  check_positive(up, who, "up");
  check(gamma > 0 && gamma <= 1, who, "gamma must be in (0, 1]", gamma);
  return make_schedule<Triangle>(
      scale,
      up,
      options.down() > 0 ? options.down() : up,
      options.floor(),
      gamma);
}

}  // namespace
}  // namespace detail

CosineRestartsOptions& CosineRestartsOptions::stretch(double value) {
  detail::check(
      value >= 1 && std::isfinite(value),
      "cosine_restarts",
      "stretch must be >= 1 and finite",
      value);
  stretch_ = value;
  return *this;
}

CosineRestartsOptions& CosineRestartsOptions::peak_decay(double value) {
  detail::check_decay(value, "cosine_restarts", "peak_decay");
  decay_ = value;
  of_height_ = false;
  return *this;
}

CosineRestartsOptions& CosineRestartsOptions::height_decay(double value) {
  detail::check_decay(value, "cosine_restarts", "height_decay");
  decay_ = value;
  of_height_ = true;
  return *this;
}

CosineRestartsOptions& CosineRestartsOptions::cycles(int64_t value) {
  detail::check(
      value >= 1 || value == Schedule::kForever,
      "cosine_restarts",
      "cycles must be >= 1 or Schedule::kForever",
      static_cast<double>(value));
  cycles_ = value;
  return *this;
}

CosineRestartsOptions& CosineRestartsOptions::floor(double value) {
  detail::check_floor(value, "cosine_restarts");
  floor_ = value;
  return *this;
}

RepeatOptions& RepeatOptions::count(int64_t value) {
  detail::check(
      value >= 1 || value == Schedule::kForever,
      "repeat",
      "count must be >= 1 or kForever",
      static_cast<double>(value));
  count_ = value;
  return *this;
}

RepeatOptions& RepeatOptions::stretch(double value) {
  detail::check(
      value >= 1 && std::isfinite(value),
      "repeat",
      "stretch must be >= 1 and finite",
      value);
  stretch_ = value;
  return *this;
}

RepeatOptions& RepeatOptions::peak_decay(double value) {
  detail::check_decay(value, "repeat", "peak_decay");
  decay_ = value;
  of_height_ = false;
  return *this;
}

RepeatOptions& RepeatOptions::height_decay(double value) {
  detail::check_decay(value, "repeat", "height_decay");
  decay_ = value;
  of_height_ = true;
  return *this;
}

RepeatOptions& RepeatOptions::floor(double value) {
  detail::check_floor(value, "repeat");
  floor_ = value;
  return *this;
}

TriangularOptions& TriangularOptions::down(double value) {
  detail::check_positive(value, "triangular", "down");
  down_ = value;
  return *this;
}

TriangularOptions& TriangularOptions::floor(double value) {
  detail::check_floor(value, "triangular");
  floor_ = value;
  return *this;
}

Schedule cosine_restarts(
    double first_cycle, const CosineRestartsOptions& options) {
  detail::check_positive(first_cycle, "cosine_restarts", "first_cycle");
  return detail::make_schedule<detail::CosineRestarts>(first_cycle, options);
}

Schedule polynomial_cycles(double length, double power, double floor) {
  detail::check_positive(length, "polynomial_cycles", "length");
  detail::check_positive(power, "polynomial_cycles", "power");
  detail::check_floor(floor, "polynomial_cycles");
  return detail::make_schedule<detail::PolynomialCycles>(length, power, floor);
}

Schedule triangular(double up, const TriangularOptions& options) {
  return detail::make_triangle(
      "triangular", detail::TriangleScale::kConstant, up, options);
}

Schedule triangular2(double up, const TriangularOptions& options) {
  return detail::make_triangle(
      "triangular2", detail::TriangleScale::kHalved, up, options);
}

Schedule exp_range(double up, double gamma, const TriangularOptions& options) {
  return detail::make_triangle(
      "exp_range", detail::TriangleScale::kExponential, up, options, gamma);
}

}  // namespace stepsize
