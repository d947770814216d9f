#pragma once

#include <torch/optim/optimizer.h>
#include <torch/serialize/archive.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace stepsize {

/// How a hypergradient h = g . u changes the rate, u being the direction of the
/// update before.
enum class HypergradientForm : std::uint8_t {
  kAdditive,        ///< rate + hypergrad_lr h
  kMultiplicative,  ///< rate (1 + hypergrad_lr h / (|g| |u|))
};

/// The rates of an optimizer's groups that learn by hypergradients (Baydin et
/// al., Online Learning Rate Adaptation with Hypergradient Descent, 2018,
/// equations 5 and 8).
///
/// The option `lr` is where a group's rate starts. Is it set to another value,
/// by a scheduler or by hand, the rate is that value: the next update is made
/// with it as it is, and the learning goes on from there.
class HypergradientRates {
 public:
  /// The sums that a rate is learned from.
  struct Sums {
    double dot = 0;        ///< g . u
    double gradient = 0;   ///< |g|^2
    double direction = 0;  ///< |u|^2
  };

  /// Of the last update, or `lr` where that is new.
  double current(std::size_t group, double lr) const;
  /// Makes the rate of the coming update.
  double renew(
      std::size_t group,
      double lr,
      const Sums& sums,
      double hypergrad_lr,
      HypergradientForm form);

  void save(torch::serialize::OutputArchive& archive, std::size_t groups) const;
  /// Reads and checks them; what it returns takes them over.
  std::function<void()> read(
      torch::serialize::InputArchive& archive,
      const std::string& kind,
      std::size_t groups);

 private:
  struct Rate {
    double now;
    double set;  ///< the option when it was made; NaN before the first update
  };

  std::vector<Rate> rates_;
};

}  // namespace stepsize
