#include "csrc/curvature/vector_math.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "tests/curvature/support/problems.h"

namespace stepsize::test {
namespace {

// Long enough for two threads, and no multiple of what a loop takes at once.
constexpr int64_t kLong = 100'003;

// Sets the number of threads, and puts it back.
class ThreadsGuard {
 public:
  explicit ThreadsGuard(int threads) : before_(at::get_num_threads()) {
    at::set_num_threads(threads);
  }
  ~ThreadsGuard() { at::set_num_threads(before_); }
  ThreadsGuard(const ThreadsGuard&) = delete;
  ThreadsGuard& operator=(const ThreadsGuard&) = delete;

 private:
  int before_;
};

template <typename Function>
auto with_threads(int threads, Function function) {
  const ThreadsGuard guard(threads);
  return function();
}

TEST(VectorMath, AThrowLeavesTheNumberOfThreadsToOtherTests) {
  const int before = at::get_num_threads();
  EXPECT_THROW(
      with_threads(
          before + 1,
          []() -> int { throw std::runtime_error("a test that fails"); }),
      std::runtime_error);
  EXPECT_EQ(at::get_num_threads(), before);
}

TEST(VectorMath, ADotHasItsClosedForm) {
  // sum i^2 = (n - 1) n (2 n - 1) / 6, of i below 1000 a hundred times over:
  // whole numbers, exact in any order.
  const at::Tensor numbers = torch::arange(1000).repeat({100});
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    const TensorVector v = {numbers.to(type)};
    for (const int threads : {1, 2, 3}) {
      const double square = with_threads(
          threads, [&] { return detail::dot(v, v).item<double>(); });
      EXPECT_EQ(square, 100.0 * 999 * 1000 * 1999 / 6);
    }
  }
}

TEST(VectorMath, ADotDoesNotHangOnTheNumberOfThreads) {
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    const TensorVector like = {torch::zeros({kLong}, type)};
    const TensorVector a = gaussian(like, 1);
    const TensorVector b = gaussian(like, 2);
    const auto product = [&] { return detail::dot(a, b).item<double>(); };
    const double alone = with_threads(1, product);
    EXPECT_EQ(with_threads(2, product), alone);
    EXPECT_EQ(with_threads(3, product), alone);
    // The sum in another order: each term is about 1, and there are 1e5.
    const double expected = a[0].to(torch::kDouble)
                                .mul(b[0].to(torch::kDouble))
                                .sum()
                                .item<double>();
    EXPECT_NEAR(alone, expected, 1e-9);
  }
}

TEST(VectorMath, ADifferenceQuotientIsWrittenInPlaceByAllThreads) {
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    const at::Tensor b = torch::arange(kLong).remainder(1000).to(type);
    for (const int threads : {1, 2}) {
      // (3 b + 5 - b) / (1/4) = 8 b + 20, whole numbers.
      TensorVector a = {b * 3 + 5};
      const void* memory = a[0].data_ptr();
      const TensorVector quotient = with_threads(threads, [&] {
        return detail::difference_quotient(
            std::move(a), {b}, torch::scalar_tensor(0.25, torch::kDouble));
      });
      EXPECT_EQ(quotient[0].data_ptr(), memory);
      EXPECT_TRUE(quotient[0].equal(b * 8 + 20));
    }
  }
}

}  // namespace
}  // namespace stepsize::test
