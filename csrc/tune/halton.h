#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace stepsize::detail {

/// The next of a chain of random numbers, the same on all machines (Steele,
/// Lea, Flood, Fast splittable pseudorandom number generators, 2014).
std::uint64_t split_mix(std::uint64_t& state);

/// The most dimensions that Halton has a prime for.
constexpr std::size_t kMostHaltonDimensions = 32;

/// Halton's sequence in [0, 1)^dimensions, each digit permuted by a permutation
/// of its place, drawn from the seed: of every b^k points in a row from a
/// multiple of b^k on, one lies in each b^-k-th of an axis of base b (Halton
/// 1960; Owen, A randomized Halton algorithm in R, 2017).
class Halton {
 public:
  /// Throws c10::Error for more dimensions than there are primes for.
  Halton(std::size_t dimensions, std::uint64_t seed);

  /// Point `index` >= 0.
  std::vector<double> point(int64_t index) const;

 private:
  // Of each dimension, and of each place of a double.
  std::vector<std::vector<std::vector<int64_t>>> permutations_;
};

}  // namespace stepsize::detail
