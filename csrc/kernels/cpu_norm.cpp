#include "csrc/kernels/cpu_norm.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "csrc/kernels/dispatch.h"
#include "csrc/kernels/flat_ranges.h"
#include "csrc/kernels/operands.h"
#include "csrc/kernels/parallel.h"
#include "csrc/kernels/prefetch.h"

namespace stepsize::detail {
namespace {

struct Array {
  const void* data;
  int64_t elements;
  int type;
};

/// The tensors as arrays, and reductions of all their elements. Every block of
/// the ranges gives one value, and these are combined in order: the result does
/// not depend on the threads.
class Arrays {
 public:
  explicit Arrays(const std::vector<at::Tensor>& tensors)
      : ranges_(tensors.size()) {
    arrays_.reserve(tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      prefetch_tensor(tensors, i);
      const at::Tensor& tensor = tensors[i];
      if (tensor.is_contiguous() || tensor.is_non_overlapping_and_dense()) {
        add(tensor);
      } else {
        copies_.push_back(tensor.contiguous());
        add(copies_.back());
      }
    }
    partial_.resize(static_cast<size_t>(ranges_.block_count()));
  }

  double max_abs(const LoopTable& table) {
    reduce([&](size_t index, int64_t begin, int64_t end, double& result) {
      const Array& array = arrays_[index];
      const double value = table.max_abs[array.type](array.data, begin, end);
      if (value > result || std::isnan(value)) result = value;
    });
    double result = 0.0;
    for (const double value : partial_) {
      if (std::isnan(value)) return value;
      result = std::max(result, value);
    }
    return result;
  }

  double sum_squares(const LoopTable& table) {
    reduce([&](size_t index, int64_t begin, int64_t end, double& result) {
      const Array& array = arrays_[index];
      const bool ends = end == array.elements && index + 1 < arrays_.size();
      const void* next = ends ? arrays_[index + 1].data : nullptr;
      result += table.sum_squares[array.type](array.data, begin, end, next);
    });
    return sum();
  }

  double scaled_sum_squares(const LoopTable& table, double scale) {
    reduce([&](size_t index, int64_t begin, int64_t end, double& result) {
      const Array& array = arrays_[index];
      result +=
          table.scaled_sum_squares[array.type](array.data, begin, end, scale);
    });
    return sum();
  }

  bool has_float64() const { return has_float64_; }

 private:
  void add(const at::Tensor& tensor) {
    const int type = element_type(tensor.scalar_type());
    has_float64_ = has_float64_ || type == kFloat64;
    arrays_.push_back({tensor.data_ptr(), tensor.numel(), type});
    ranges_.add(tensor.numel());
  }

  template <typename Reduce>
  void reduce(const Reduce& reduce_range) {
    parallel_run(ranges_.block_count(), [&](int64_t block) {
      double result = 0.0;
      ranges_.for_each_in_block(
          block, [&](ptrdiff_t index, int64_t begin, int64_t end) {
            reduce_range(static_cast<size_t>(index), begin, end, result);
          });
      partial_[static_cast<size_t>(block)] = result;
    });
  }

  double sum() const {
    double result = 0.0;
    for (const double value : partial_) result += value;
    return result;
  }

  std::vector<Array> arrays_;
  std::vector<at::Tensor> copies_;
  FlatRanges ranges_;
  std::vector<double> partial_;
  bool has_float64_ = false;
};

// A square below the smallest normal double, 2^-1022, has lost digits: at most
// 2^-1075 for each of fewer than 2^50 elements. A sum above 2^-960 does not
// notice that.
constexpr double kSmallestSafeSum = 0x1p-960;

WideNorm two_norm(Arrays& arrays, const LoopTable& table) {
  const double sum = arrays.sum_squares(table);
  const bool in_range = std::isfinite(sum) && sum >= kSmallestSafeSum;
  // The squares of all other types fit a double: the smallest is 2^-298.
  if (in_range || std::isnan(sum) || !arrays.has_float64()) {
    return {std::sqrt(sum)};
  }
  // As in J. L. Blue, A Portable Fortran Program to Find the Euclidean Norm of
  // a Vector, 1978, but with the one scale that the largest element asks for: a
  // power of two, so that it rounds nothing, and a normal number, which stays
  // what it is where the CPU flushes the others to 0.
  const double largest = arrays.max_abs(table);
  if (!std::isfinite(largest) || largest == 0.0) return {largest};
  const int exponent = std::clamp(std::ilogb(largest), -1000, 1000);
  const double scaled =
      arrays.scaled_sum_squares(table, std::ldexp(1.0, -exponent));
  return {std::sqrt(scaled), std::ldexp(1.0, exponent)};
}

}  // namespace

WideNorm cpu_norm(const std::vector<at::Tensor>& tensors, NormType type) {
  Arrays arrays(tensors);
  const LoopTable& table = loops();
  if (type == NormType::kTwo) return two_norm(arrays, table);
  return {arrays.max_abs(table)};
}

}  // namespace stepsize::detail
