#include <stepsize/schedule/ramp.h>

#include "csrc/schedule/check.h"
#include "csrc/schedule/ramp_node.h"
#include "csrc/text/number.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>

namespace stepsize {
namespace detail {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr double kLn2 = 0.69314718055994530942;

// cos^2(pi x/2) = (1 + cos(pi x))/2 at x = done without the cancellation near
// x = 1: relative accuracy down to the floor, and exactly 0 where left = 0.
double cosine_fall(double done, double left) {
  const double s = std::sin(kPi / 2 * (done < 0.5 ? done : left));
  return done < 0.5 ? 1 - s * s : s * s;
}

RampShape ramp_shape(WarmupShape shape) {
  switch (shape) {
    case WarmupShape::kCosine:
      return RampShape::kCosine;
    case WarmupShape::kExponential:
      return RampShape::kGeometric;
    case WarmupShape::kSqrt:
      return RampShape::kSqrtUp;
    case WarmupShape::kLogarithmic:
      return RampShape::kLogarithmic;
    case WarmupShape::kLinear:
      break;
  }
  return RampShape::kLinear;
}

RampShape ramp_shape(CooldownShape shape) {
  switch (shape) {
    case CooldownShape::kCosine:
      return RampShape::kCosine;
    case CooldownShape::kSqrt:
      return RampShape::kSqrt;
    case CooldownShape::kSquare:
      return RampShape::kSquare;
    case CooldownShape::kExponential:
      return RampShape::kGeometric;
    case CooldownShape::kHalfLife:
      return RampShape::kHalfLife;
    case CooldownShape::kLinear:
      break;
  }
  return RampShape::kLinear;
}

// 1 - x^k at x = done, without the cancellation near x = 1.
double k_decay_left(double done, double left, double k) {
  return k == 1       ? left
         : done < 0.5 ? 1 - std::pow(done, k)
                      : -std::expm1(k * std::log1p(-left));
}

// What the text says of the curve before its end points: a rise to 1 from
// below is a warm-up wherever a warm-up has that curve.
struct RampName {
  const char* name;
  const char* word;  // behind the length
};

RampName ramp_name(RampShape shape, bool is_warmup) {
  switch (shape) {
    case RampShape::kLinear:
      return {is_warmup ? "warmup" : "linear", ""};
    case RampShape::kCosine:
      return is_warmup ? RampName{"warmup", " cosine"} : RampName{"cosine", ""};
    case RampShape::kGeometric:
      return is_warmup ? RampName{"warmup", " exponential"}
                       : RampName{"geometric", ""};
    case RampShape::kPolynomial:
      return {"polynomial", ""};
    case RampShape::kRex:
      return {"rex", ""};
    case RampShape::kTanh:
      return {"tanh", ""};
    case RampShape::kSqrt:
      return {"cooldown", " sqrt"};
    case RampShape::kSqrtUp:
      return {"warmup", " sqrt"};
    case RampShape::kLogarithmic:
      return {"warmup", " logarithmic"};
    case RampShape::kHalfLife:
      return {"cooldown", " half_life"};
    case RampShape::kSquare:
      break;
  }
  return {"cooldown", " square"};
}

class PowerCooldown final : public KeyedNode<PowerCooldown> {
 public:
  PowerCooldown(double length, double power, std::optional<double> scale)
      : length_(length), power_(power), scale_(scale) {}
  double value(double t) const override {
    const double left = length_ - t;
    if (!(left > 0)) {
      return 0;  // where the length is 0 there is no share left / length
    }
    // length^-power would be 0 for a long curve of a large power.
    return scale_ ? std::min(1.0, scaled_power(left))
                  : std::pow(left / length_, power_);
  }
  double length() const override { return length_; }
  std::string text() const override {
    return "power_cooldown " + number_text(length_) + " power " +
           number_text(power_) +
           (scale_ ? " scale " + number_text(*scale_) : "");
  }
  auto key() const { return std::tie(length_, power_, scale_); }

 private:
  // scale left^power. The power alone may leave the range of a double where
  // the product is in it; in two halves it does not.
  double scaled_power(double left) const {
    const double whole = std::pow(left, power_);
    if (std::isnormal(whole)) {
      return *scale_ * whole;
    }
    const double half = std::pow(left, power_ / 2);
    return *scale_ * half * half;
  }

  double length_;
  double power_;
  std::optional<double> scale_;
};

Schedule make_power_cooldown(
    double length, double power, std::optional<double> scale) {
  check_length(length, "power_cooldown", "length");
  check_positive(power, "power_cooldown", "power");
  if (scale) {
    check_positive(*scale, "power_cooldown", "scale");
  }
  return make_schedule<PowerCooldown>(length, power, scale);
}

}  // namespace

RampParameters default_parameters(RampShape shape) {
  switch (shape) {
    case RampShape::kCosine:
    case RampShape::kPolynomial:
      return {1, 1};
    case RampShape::kTanh:
      return {-6, 3};
    default:
      return {0, 0};
  }
}

double default_warmup_start(double length) { return 1 / (length + 1); }

std::string Constant::text() const {
  return "constant " + number_text(factor_);
}

double Ramp::remaining(double t) const {
  const double done = t / length_;
  const double left = (length_ - t) / length_;
  switch (shape_) {
    case RampShape::kLinear:
    case RampShape::kGeometric:
      return left;
    case RampShape::kCosine: {
      const double bent = p1_ == 1 ? done : std::pow(done, p1_);
      const double rest = cosine_fall(bent, p1_ == 1 ? left : 1 - bent);
      return p2_ == 1 ? rest : std::pow(rest, p2_);
    }
    case RampShape::kPolynomial:
      return std::pow(k_decay_left(done, left, p1_), p2_);
    case RampShape::kRex:
      return left / (1 - done / 2);
    case RampShape::kTanh:
      return (1 - std::tanh(p1_ * left + p2_ * done)) / 2;
    case RampShape::kSqrt:
      return 1 - std::sqrt(done);
    case RampShape::kSqrtUp:
      return std::sqrt(left);
    case RampShape::kLogarithmic:
      // 1 - ln(1 + t) / ln(1 + length), without the cancellation near the end.
      return std::log1p((length_ - t) / (1 + t)) / std::log1p(length_);
    case RampShape::kHalfLife:
      // Exact at both ends, without the cancellation near the second.
      return left < 0.5 ? std::expm1(kLn2 * left) : std::exp2(left) - 1;
    case RampShape::kSquare:
      break;
  }
  return 1 - done * done;
}

double Ramp::value(double t) const {
  // The tanh curve alone does not arrive at its end value.
  if (length_ == 0 || (t >= length_ && shape_ != RampShape::kTanh)) {
    return to_;
  }
  const double rest = remaining(t);
  if (shape_ == RampShape::kGeometric) {
    return std::pow(from_, rest) * std::pow(to_, 1 - rest);
  }
  return from_ * rest + to_ * (1 - rest);
}

std::string Ramp::text() const {
  const RampParameters standard = default_parameters(shape_);
  const bool is_warmup = to_ == 1 &&
                         (from_ < 1 || (from_ == 1 && length_ == 0)) &&
                         p1_ == standard.p1 && p2_ == standard.p2;
  const RampName name = ramp_name(shape_, is_warmup);
  const bool prints_warmup = std::string(name.name) == "warmup";
  std::string text =
      std::string(name.name) + " " + number_text(length_) + name.word;
  const auto add = [&text](const char* keyword, double value, double usual) {
    if (value != usual) {
      text += std::string(" ") + keyword + " " + number_text(value);
    }
  };
  if (shape_ == RampShape::kPolynomial) {
    add("power", p2_, standard.p2);
  } else if (shape_ == RampShape::kTanh) {
    add("lower", p1_, standard.p1);
    add("upper", p2_, standard.p2);
  }
  if (prints_warmup) {
    add("from", from_, default_warmup_start(length_));
    return text;
  }
  // A geometric ramp has no default end.
  add("from", from_, 1);
  add("to", to_, shape_ == RampShape::kGeometric ? kNaN : 0);
  if (shape_ == RampShape::kCosine || shape_ == RampShape::kPolynomial) {
    add("k", p1_, standard.p1);
  }
  if (shape_ == RampShape::kCosine) {
    add("exponent", p2_, standard.p2);
  }
  return text;
}

Schedule make_ramp(
    const char* who,
    RampShape shape,
    double length,
    double from,
    double to,
    RampParameters parameters) {
  const auto [p1, p2] = parameters;
  check_length(length, who, "length");
  if (shape == RampShape::kGeometric) {
    check_positive(from, who, "from");
    check_positive(to, who, "to");
  } else {
    check_factor(from, who, "from");
    check_factor(to, who, "to");
  }
  if (shape == RampShape::kCosine || shape == RampShape::kPolynomial) {
    check_positive(p1, who, "k");
    check_positive(p2, who, shape == RampShape::kCosine ? "exponent" : "power");
  } else if (shape == RampShape::kTanh) {
    check(
        std::isfinite(p1) && std::isfinite(p2) && p1 < p2,
        who,
        "lower must be below upper and both finite, upper " + number_text(p2),
        p1);
  }
  return make_schedule<Ramp>(shape, length, from, to, parameters);
}

Schedule make_ramp(
    const char* who, RampShape shape, double length, double from, double to) {
  return make_ramp(who, shape, length, from, to, default_parameters(shape));
}

}  // namespace detail

using detail::make_ramp;
using detail::RampShape;

Schedule constant(double factor) {
  detail::check_factor(factor, "constant", "factor");
  return detail::make_schedule<detail::Constant>(factor);
}

Schedule linear(double length, double from, double to) {
  return make_ramp("linear", RampShape::kLinear, length, from, to);
}

Schedule warmup(double length, WarmupShape shape) {
  detail::check_length(length, "warmup", "length");
  return warmup(length, shape, detail::default_warmup_start(length));
}

Schedule warmup(double length, WarmupShape shape, double from) {
  const bool exponential = shape == WarmupShape::kExponential;
  detail::check(
      from <= 1 && (exponential ? from > 0 : from >= 0),
      "warmup",
      exponential ? "from must be in (0, 1]" : "from must be in [0, 1]",
      from);
  const RampShape ramp = detail::ramp_shape(shape);
  return make_ramp("warmup", ramp, length, from, 1);
}

Schedule cooldown(double length, CooldownShape shape, double floor) {
  const bool exponential = shape == CooldownShape::kExponential;
  detail::check_floor(floor, "cooldown", exponential);
  const RampShape ramp = detail::ramp_shape(shape);
  return make_ramp("cooldown", ramp, length, 1, floor);
}

Schedule power_cooldown(double length, double power) {
  return detail::make_power_cooldown(length, power, std::nullopt);
}

Schedule power_cooldown(double length, double power, double scale) {
  return detail::make_power_cooldown(length, power, scale);
}

Schedule cosine(double length, double floor, double k, double exponent) {
  detail::check_floor(floor, "cosine");
  return make_ramp(
      "cosine", RampShape::kCosine, length, 1, floor, {k, exponent});
}

Schedule polynomial(double length, double power, double floor, double k) {
  detail::check_floor(floor, "polynomial");
  return make_ramp(
      "polynomial", RampShape::kPolynomial, length, 1, floor, {k, power});
}

Schedule geometric(double length, double from, double to) {
  return make_ramp("geometric", RampShape::kGeometric, length, from, to);
}

Schedule rex(double length, double floor) {
  detail::check_floor(floor, "rex");
  return make_ramp("rex", RampShape::kRex, length, 1, floor);
}

Schedule tanh_decay(double length, double lower, double upper, double floor) {
  detail::check_floor(floor, "tanh_decay");
  return make_ramp(
      "tanh_decay", RampShape::kTanh, length, 1, floor, {lower, upper});
}

}  // namespace stepsize
