#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace stepsize {

/// Sees a gradient's norm grow at any speed, from one norm and one loss a step
/// and in memory that grows with the logarithm of the steps.
///
/// A ladder of windows of 4, 8, 16 ... steps keeps, at each length, the mean
/// log norm and the mean loss of the last twelve. They show growth where
///
/// - the norm has grown by `ratio` from the first to the last of them, by steps
///   whose mean is six of its standard errors above 0, and in the second half
///   by no less than three quarters of what it has in the first: growth by a
///   factor goes on, that of an oscillation or of noise slows down;
/// - each mean loss is above the one before, and the loss has given back half
///   of what it had fallen to the first of them since the start, or is 100
///   times that one. A gradient that grows while the loss falls is none.
///
/// Only the order and the differences of losses count: a constant added to them
/// changes nothing but the last condition, which wants the first one >= 0.
///
/// A norm that grows by a factor q in each step, and the loss with it, shows in
/// 12 max(4, 2 ln(ratio) / (11 ln q)) steps at most where it grew from the
/// first on, and in a twelfth more at any time. docs/optimizers.md has what was
/// measured where it must not show.
class GrowthTrend {
 public:
  static constexpr int kWindows = 12;  ///< of each length
  static constexpr int kSteps = 4;     ///< in one of the shortest

  /// Takes in one step. Returns over how many steps growth shows that ends
  /// with this one, 0 where none does. `norm`: finite and >= 0; 0 is left out,
  /// since nothing moves there. `loss`: NaN where it is not known, and then the
  /// norm must have grown by `blind_ratio`. Ratios > 1, infinity for never.
  int64_t add(double norm, double loss, double ratio, double blind_ratio);
  void clear();

  /// All of it as a list of numbers, empty where there was no step yet.
  std::vector<double> state() const;
  /// Throws c10::Error where the list cannot be one, and changes nothing then.
  void restore(const std::vector<double>& state);

 private:
  struct Level {
    std::array<double, kWindows> log_norms{};
    std::array<double, kWindows> losses{};
    double highest_loss = 0;
  };
  static bool grows(const Level& level, double ratio, double blind_ratio);

  int64_t steps_ = 0;
  // Means of the shortest window that is not full yet.
  double log_norm_ = 0;
  double loss_ = 0;
  std::vector<Level> levels_;
};

}  // namespace stepsize
