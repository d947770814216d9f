#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace stepsize::test {

struct LRPoints {
  std::vector<double> lrs;
  std::vector<double> losses;
};

/// What a range test draws, by a formula: 100 rates from 1e-7 to 10, a logistic
/// fall by 1.5 in l = log10 lr, steepest at 1e-3, and a rise 1.5 (l + 1)^2
/// beyond 1e-1, with normal noise.
inline LRPoints crafted_curve(
    std::uint64_t seed, double noise, double width = 0.35) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<double> normal(0, 1);
  LRPoints points;
  for (int i = 0; i < 100; ++i) {
    const double l = -7 + 8.0 * i / 99;
    const double rise = l > -1 ? 1.5 * (l + 1) * (l + 1) : 0;
    points.lrs.push_back(std::pow(10.0, l));
    points.losses.push_back(
        2.3 - 1.5 / (1 + std::exp(-(l + 3) / width)) + rise +
        noise * normal(generator));
  }
  return points;
}

/// Noise in proportion to the loss, which falls to nothing around 1e-4: 100
/// rates from 1e-6 to 10.
inline LRPoints vanishing_curve(std::uint64_t seed, double share) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<double> normal(0, 1);
  LRPoints points;
  for (int i = 0; i < 100; ++i) {
    const double l = -6 + 7.0 * i / 99;
    const double loss = 2.3 / (1 + std::exp((l + 4) / 0.15));
    points.lrs.push_back(std::pow(10.0, l));
    points.losses.push_back(loss * (1 + share * normal(generator)));
  }
  return points;
}

}  // namespace stepsize::test
