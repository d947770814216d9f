#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace stepsize::detail {

/// Tensors laid end to end and cut into blocks of equal length: work for
/// threads that does not depend on how many there are. Each tensor begins at a
/// multiple of `alignment`, so that no cut falls into a vector of elements, or
/// into a block of that length.
class FlatRanges {
 public:
  static constexpr int64_t kAlignment = 64;
  static constexpr int64_t kBlock = 32768;

  /// `alignment` divides kBlock.
  explicit FlatRanges(size_t capacity, int64_t alignment = kAlignment)
      : alignment_(alignment) {
    tensors_.reserve(capacity);
  }

  void add(int64_t elements) {
    tensors_.push_back({end_, elements});
    end_ += (elements + alignment_ - 1) / alignment_ * alignment_;
  }

  int64_t block_count() const { return (end_ + kBlock - 1) / kBlock; }

  /// The first block that has some of this tensor, by the order of adding.
  int64_t first_block(size_t tensor) const {
    return tensors_[tensor].start / kBlock;
  }

  /// Calls visit(tensor, begin, end) for what the block has of each tensor.
  template <typename Visit>
  void for_each_in_block(int64_t block, const Visit& visit) const {
    const int64_t from = block * kBlock;
    auto tensor = std::upper_bound(
        tensors_.begin(),
        tensors_.end(),
        from,
        [](int64_t position, const Tensor& t) { return position < t.start; });
    --tensor;
    for (; tensor != tensors_.end() && tensor->start < from + kBlock;
         ++tensor) {
      const int64_t begin = std::max<int64_t>(from - tensor->start, 0);
      const int64_t end =
          std::min(from + kBlock - tensor->start, tensor->elements);
      if (begin < end) visit(tensor - tensors_.begin(), begin, end);
    }
  }

 private:
  struct Tensor {
    int64_t start;
    int64_t elements;
  };

  std::vector<Tensor> tensors_;
  int64_t alignment_;
  int64_t end_ = 0;
};

}  // namespace stepsize::detail
