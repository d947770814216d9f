#include <stepsize/schedule/decay.h>

#include "csrc/schedule/check.h"
#include "csrc/schedule/node.h"
#include "csrc/text/number.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <tuple>

namespace stepsize {
namespace detail {
namespace {

class StepDecay final : public KeyedNode<StepDecay> {
 public:
  StepDecay(double period, double gamma) : period_(period), gamma_(gamma) {}
  double value(double t) const override {
    // fmod is exact where t / period would round up to the next whole number.
    return std::pow(gamma_, std::round((t - std::fmod(t, period_)) / period_));
  }
  std::string text() const override {
    return "step " + number_text(period_) + " gamma " + number_text(gamma_);
  }
  auto key() const { return std::tie(period_, gamma_); }

 private:
  double period_;
  double gamma_;
};

class MultiStep final : public KeyedNode<MultiStep> {
 public:
  MultiStep(std::vector<double> milestones, double gamma)
      : milestones_(std::move(milestones)), gamma_(gamma) {}
  double value(double t) const override {
    const auto passed =
        std::upper_bound(milestones_.begin(), milestones_.end(), t);
    return std::pow(gamma_, static_cast<double>(passed - milestones_.begin()));
  }
  double length() const override { return milestones_.back(); }
  std::string text() const override {
    std::string text = "multi_step";
    for (const double milestone : milestones_) {
      text += " " + number_text(milestone);
    }
    return text + " gamma " + number_text(gamma_);
  }
  auto key() const { return std::tie(milestones_, gamma_); }

 private:
  std::vector<double> milestones_;
  double gamma_;
};

class Exponential final : public KeyedNode<Exponential> {
 public:
  Exponential(double gamma, double period) : gamma_(gamma), period_(period) {}
  double value(double t) const override {
    return std::pow(gamma_, t / period_);
  }
  std::string text() const override {
    return "exponential " + number_text(gamma_) +
           (period_ == 1 ? "" : " every " + number_text(period_));
  }
  auto key() const { return std::tie(gamma_, period_); }

 private:
  double gamma_;
  double period_;
};

class InverseTime final : public KeyedNode<InverseTime> {
 public:
  InverseTime(double k, double period, bool staircase)
      : k_(k), period_(period), staircase_(staircase) {}
  double value(double t) const override {
    const double periods =
        staircase_ ? std::round((t - std::fmod(t, period_)) / period_)
                   : t / period_;
    // 0 times an overflow of `periods` would be NaN.
    return k_ == 0 ? 1 : 1 / (1 + k_ * periods);
  }
  std::string text() const override {
    return "inverse_time " + number_text(k_) +
           (period_ == 1 ? "" : " every " + number_text(period_)) +
           (staircase_ ? " staircase" : "");
  }
  auto key() const { return std::tie(k_, period_, staircase_); }

 private:
  double k_;
  double period_;
  bool staircase_;
};

class InverseSqrt final : public KeyedNode<InverseSqrt> {
 public:
  explicit InverseSqrt(double timescale) : timescale_(timescale) {}
  double value(double t) const override {
    return std::sqrt(timescale_ / (timescale_ + t));
  }
  std::string text() const override {
    return "inverse_sqrt " + number_text(timescale_);
  }
  const double& key() const { return timescale_; }

 private:
  double timescale_;
};

class Noam final : public KeyedNode<Noam> {
 public:
  Noam(double warmup_steps, double model_size, double scale)
      : warmup_steps_(warmup_steps), model_size_(model_size), scale_(scale) {}
  double value(double t) const override {
    const double step = t + 1;
    return scale_ / std::sqrt(model_size_) *
           std::min(
               1 / std::sqrt(step),
               step / (warmup_steps_ * std::sqrt(warmup_steps_)));
  }
  std::string text() const override {
    return "noam " + number_text(warmup_steps_) + " model_size " +
           number_text(model_size_) +
           (scale_ == 1 ? "" : " scale " + number_text(scale_));
  }
  auto key() const { return std::tie(warmup_steps_, model_size_, scale_); }

 private:
  double warmup_steps_;
  double model_size_;
  double scale_;
};

class Callable final : public KeyedNode<Callable> {
 public:
  Callable(std::function<double(double)> function, double length)
      : function_(std::move(function)), length_(length) {}
  double value(double t) const override {
    const double factor = function_(t);
    if (!(factor >= 0 && std::isfinite(factor))) {
      throw std::domain_error(
          "callable: the factor must be >= 0 and finite, got " +
          number_text(factor) + " at t = " + number_text(t));
    }
    return factor;
  }
  double length() const override { return length_; }
  std::string text() const override {
    return length_ < kInfinity ? "callable for " + number_text(length_)
                               : "callable";
  }
  // Functions cannot be compared: a node equals itself alone.
  const Callable* key() const { return this; }

 private:
  std::function<double(double)> function_;
  double length_;
};

}  // namespace
}  // namespace detail

Schedule step_decay(double period, double gamma) {
  detail::check_positive(period, "step_decay", "period");
  detail::check_factor(gamma, "step_decay", "gamma");
  return detail::make_schedule<detail::StepDecay>(period, gamma);
}

Schedule multi_step(std::vector<double> milestones, double gamma) {
  if (milestones.empty()) {
    throw std::invalid_argument("multi_step: needs at least one milestone");
  }
  double previous = 0;
  for (const double milestone : milestones) {
    detail::check_length(milestone, "multi_step", "a milestone");
    detail::check(
        milestone >= previous,
        "multi_step",
        "milestones must not decrease, " + detail::number_text(previous) +
            " comes before",
        milestone);
    previous = milestone;
  }
  detail::check_factor(gamma, "multi_step", "gamma");
  return detail::make_schedule<detail::MultiStep>(std::move(milestones), gamma);
}

Schedule exponential(double gamma, double period) {
  detail::check_positive(gamma, "exponential", "gamma");
  detail::check_positive(period, "exponential", "period");
  return detail::make_schedule<detail::Exponential>(gamma, period);
}

Schedule inverse_time(double k, double period, bool staircase) {
  detail::check_factor(k, "inverse_time", "k");
  detail::check_positive(period, "inverse_time", "period");
  return detail::make_schedule<detail::InverseTime>(k, period, staircase);
}

Schedule inverse_sqrt(double timescale) {
  detail::check_positive(timescale, "inverse_sqrt", "timescale");
  return detail::make_schedule<detail::InverseSqrt>(timescale);
}

Schedule noam(double warmup_steps, double model_size, double scale) {
  detail::check_positive(warmup_steps, "noam", "warmup_steps");
  detail::check_positive(model_size, "noam", "model_size");
  detail::check_positive(scale, "noam", "scale");
  return detail::make_schedule<detail::Noam>(warmup_steps, model_size, scale);
}

Schedule callable(std::function<double(double)> function, double length) {
  if (!function) {
    throw std::invalid_argument("callable: function must not be empty");
  }
  detail::check(length >= 0, "callable", "length must be >= 0", length);
  return detail::make_schedule<detail::Callable>(std::move(function), length);
}

}  // namespace stepsize
