#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <limits>
#include <string>

#include "examples/trainer/cli/text.h"
#include "examples/trainer/loop/archive.h"

namespace stepsize::trainer {

/// Smallest and largest of some numbers.
class ValueRange {
 public:
  void add(double value) {
    low_ = std::min(low_, value);
    high_ = std::max(high_, value);
  }
  bool empty() const { return low_ > high_; }
  void save(torch::serialize::OutputArchive& archive) const {
    write_double(archive, "low", low_);
    write_double(archive, "high", high_);
  }
  /// Throws as read_double() does.
  static ValueRange loaded(torch::serialize::InputArchive archive) {
    ValueRange range;
    range.low_ = read_double(archive, "low");
    range.high_ = read_double(archive, "high");
    return range;
  }
  /// "0.031 .. 0.12"
  std::string text() const { return format("%.3g .. %.3g", low_, high_); }

 private:
  double low_ = std::numeric_limits<double>::infinity();
  double high_ = -std::numeric_limits<double>::infinity();
};

}  // namespace stepsize::trainer
