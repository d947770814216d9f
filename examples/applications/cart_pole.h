// A pole on a cart, to be balanced by a policy.
#pragma once

#include <array>
#include <cmath>
#include <random>

namespace applications {

/// A pole stands on a cart that is pushed to the left or to the right fifty
/// times a second (Barto, Sutton and Anderson 1983, "Neuronlike adaptive
/// elements that can solve difficult learning control problems"; without their
/// friction). An episode ends where the pole leans by more than 12 degrees or
/// the cart leaves the track, and is cut after 500 pushes.
class CartPole {
 public:
  static constexpr int kLongest = 500;
  explicit CartPole(std::mt19937_64& random) : random_(&random) { start(); }

  void start() {
    std::uniform_real_distribution<double> little(-0.05, 0.05);
    for (double& value : state_) value = little(*random_);
    pushes_ = 0;
  }
  void push(bool right) {
    constexpr double kGravity = 9.8;  // m/s^2
    constexpr double kCart = 1.0;     // kg
    constexpr double kPole = 0.1;     // kg
    constexpr double kHalf = 0.5;     // of the pole's length, m
    constexpr double kForce = 10.0;   // N
    constexpr double kTime = 0.02;    // s
    constexpr double kAll = kCart + kPole;
    auto& [x, speed, angle, turn] = state_;
    const double sine = std::sin(angle);
    const double cosine = std::cos(angle);
    const double pushed =
        ((right ? kForce : -kForce) + kPole * kHalf * turn * turn * sine) /
        kAll;
    const double turn_change =
        (kGravity * sine - cosine * pushed) /
        (kHalf * (4.0 / 3.0 - kPole * cosine * cosine / kAll));
    const double speed_change =
        pushed - kPole * kHalf * turn_change * cosine / kAll;
    x += kTime * speed;
    speed += kTime * speed_change;
    angle += kTime * turn;
    turn += kTime * turn_change;
    ++pushes_;
  }
  bool fell() const {
    constexpr double kLean = 12 * 3.14159265358979 / 180;
    return std::abs(state_[0]) > 2.4 || std::abs(state_[2]) > kLean;
  }
  bool over() const { return fell() || pushes_ == kLongest; }
  int pushes() const { return pushes_; }
  const std::array<double, 4>& state() const { return state_; }

 private:
  std::mt19937_64* random_;
  std::array<double, 4> state_{};  // of cart and pole: place, speed, each
  int pushes_ = 0;
};

}  // namespace applications
