#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace stepsize::detail {

/// Keeps a copy of some tensors as they were where the mean of the last
/// `window` losses was lowest.
class LowestPoint {
 public:
  LowestPoint(std::vector<at::Tensor> tensors, int64_t window);

  /// Once an update, with its loss. One that is not finite begins anew.
  void look(double loss);
  /// Writes the copy into the tensors. False, and nothing is written, where
  /// there were too few losses for one.
  bool go_there();

 private:
  std::vector<at::Tensor> tensors_;
  std::vector<at::Tensor> copies_;
  std::size_t window_;
  std::deque<double> losses_;
  double lowest_ = 0;
};

}  // namespace stepsize::detail
