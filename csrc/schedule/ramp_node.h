#pragma once

#include "csrc/schedule/node.h"

#include <string>
#include <tuple>

namespace stepsize::detail {

/// The same factor at every t.
class Constant final : public KeyedNode<Constant> {
 public:
  explicit Constant(double factor) : factor_(factor) {}
  double value(double /*t*/) const override { return factor_; }
  std::string text() const override;
  double floor() const override { return factor_; }
  bool extends_product() const override { return false; }
  const double& key() const { return factor_; }

 private:
  double factor_;
};

/// How a ramp passes from its first factor to its last.
enum class RampShape : std::uint8_t {
  kLinear,
  kCosine,      // p1: the k of k-decay; p2: exponent
  kGeometric,   // equal ratios
  kPolynomial,  // p1: the k of k-decay; p2: power
  kRex,
  kTanh,         // p1, p2: lower and upper argument
  kSqrt,         // share done sqrt(x): fast start
  kSqrtUp,       // share done 1 - sqrt(1 - x): slow start
  kSquare,       // share done x^2
  kHalfLife,     // share to go 2^(1 - x) - 1
  kLogarithmic,  // share done ln(1 + t) / ln(1 + length)
};

/// What bends a ramp besides its shape; 0 where the shape has no such number.
struct RampParameters {
  double p1;
  double p2;
};

/// The parameters of a shape that has been told none.
RampParameters default_parameters(RampShape shape);

/// A finite curve between two factors. Bodies of the factories in ramp.h and
/// recipe.h, and of what the text form can say beyond them (a falling curve
/// that does not start at 1).
class Ramp final : public KeyedNode<Ramp> {
 public:
  Ramp(
      RampShape shape,
      double length,
      double from,
      double to,
      RampParameters parameters)
      : shape_(shape),
        length_(length),
        from_(from),
        to_(to),
        p1_(parameters.p1),
        p2_(parameters.p2) {}

  double value(double t) const override;
  double length() const override { return length_; }
  std::string text() const override;
  auto key() const { return std::tie(shape_, length_, from_, to_, p1_, p2_); }

 private:
  // The share of the way still to go at time t, in [0, 1].
  double remaining(double t) const;

  RampShape shape_;
  double length_;
  double from_;
  double to_;
  double p1_;
  double p2_;
};

/// Checked construction; `who` names the caller in an error.
Schedule make_ramp(
    const char* who,
    RampShape shape,
    double length,
    double from,
    double to,
    RampParameters parameters);
Schedule make_ramp(
    const char* who, RampShape shape, double length, double from, double to);

/// Where a warm-up starts unless told otherwise: 1/(length + 1).
double default_warmup_start(double length);

}  // namespace stepsize::detail
