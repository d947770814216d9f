#pragma once

#include <stepsize/tune/lr_range_test.h>

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

namespace stepsize::detail {

/// Sees from the losses as they come that a range test has diverged.
class DivergenceWatch {
 public:
  explicit DivergenceWatch(const LRRangeTestOptions& options);

  /// Takes in a finite loss. True where their average or the median of the last
  /// nine has risen too far.
  bool seen(double loss);

  /// What seen() found, with numbers.
  const std::string& reason() const { return reason_; }

 private:
  double recent_median() const;

  double smoothing_;
  double factor_;
  std::size_t planned_;
  std::vector<double> losses_;
  double initial_ = 0;
  double average_ = 0;
  double share_ = 1;
  double best_ = std::numeric_limits<double>::infinity();
  double latest_ = 0;
  std::string reason_;
};

}  // namespace stepsize::detail
