#include "csrc/tune/halton.h"

#include <c10/util/Exception.h>

#include <array>
#include <numeric>
#include <utility>

namespace stepsize::detail {
namespace {

constexpr std::array<int64_t, kMostHaltonDimensions> kPrimes = {
    2,  3,  5,  7,  11, 13, 17, 19, 23, 29,  31,  37,  41,  43,  47,  53,
    59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131};

constexpr double kLeastPlace = 0x1p-53;

// std::shuffle is not the same everywhere.
std::vector<int64_t> permutation(int64_t size, std::uint64_t& state) {
  std::vector<int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (std::size_t i = order.size() - 1; i > 0; --i) {
    std::swap(order[i], order[split_mix(state) % (i + 1)]);
  }
  return order;
}

}  // namespace

std::uint64_t split_mix(std::uint64_t& state) {
  state += 0x9E3779B97F4A7C15ULL;
  std::uint64_t mixed = state;
  mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBULL;
  return mixed ^ (mixed >> 31U);
}

Halton::Halton(std::size_t dimensions, std::uint64_t seed) {
  TORCH_CHECK(
      dimensions <= kMostHaltonDimensions,
      "Halton: dimensions must be <= ",
      std::to_string(kMostHaltonDimensions),
      ", got ",
      std::to_string(dimensions));
  for (std::size_t j = 0; j < dimensions; ++j) {
    std::uint64_t state = seed ^ (0xA5A5A5A5A5A5A5A5ULL * (j + 1));
    const auto base = static_cast<double>(kPrimes[j]);
    std::vector<std::vector<int64_t>> places;
    // All places of a double: zeros are permuted too.
    for (double place = 1 / base; place >= kLeastPlace; place /= base) {
      places.push_back(permutation(kPrimes[j], state));
    }
    permutations_.push_back(std::move(places));
  }
}

std::vector<double> Halton::point(int64_t index) const {
  std::vector<double> point;
  for (std::size_t j = 0; j < permutations_.size(); ++j) {
    const int64_t base = kPrimes[j];
    double value = 0;
    double place = 1;
    int64_t left = index;
    for (const std::vector<int64_t>& digits : permutations_[j]) {
      place /= static_cast<double>(base);
      value += place * static_cast<double>(
                           digits[static_cast<std::size_t>(left % base)]);
      left /= base;
    }
    point.push_back(value < 1 ? value : 1 - kLeastPlace);
  }
  return point;
}

}  // namespace stepsize::detail
