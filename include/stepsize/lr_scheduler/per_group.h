#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace stepsize {

/// An option that is one number for all parameter groups or a list with one
/// number a group, as Python writes `max_lr=0.1` or `max_lr=[0.1, 0.2]`.
///
/// A list must have as many entries as the optimizer has groups when the
/// scheduler is made, or one for all; a group added later takes the last entry.
class PerGroup {
 public:
  /// The same number for every group.
  PerGroup(double value) : values_{value} {}  // NOLINT: implicit by design
  /// One number a group.
  PerGroup(std::vector<double> values)  // NOLINT: implicit by design
      : values_(std::move(values)), is_list_(true) {}
  PerGroup(std::initializer_list<double> values)
      : PerGroup(std::vector<double>(values)) {}

  /// The number of group `index` >= 0. A list must not be empty.
  double operator[](int64_t index) const {
    const auto last = static_cast<int64_t>(values_.size()) - 1;
    return values_[static_cast<std::size_t>(index < last ? index : last)];
  }

  /// Whether this was given as a list.
  bool is_list() const { return is_list_; }
  const std::vector<double>& values() const { return values_; }

  /// "0.1" or "[0.1, 0.2]", each number in its shortest exact form.
  std::string to_string() const;

 private:
  std::vector<double> values_;
  bool is_list_ = false;
};

}  // namespace stepsize
