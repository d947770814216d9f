// Runs in threads of their own: each gives what it gives alone, bit for bit.

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "tests/hardening/small_run.h"

namespace stepsize::test {
namespace {

using Tensors = std::vector<torch::Tensor>;

bool same_bits(const Tensors& left, const Tensors& right) {
  if (left.size() != right.size()) return false;
  for (std::size_t i = 0; i < left.size(); ++i) {
    // A NaN is as good as another: none is to come up here.
    if (!torch::equal(left[i], right[i])) return false;
  }
  return true;
}

// Starts together with the others.
class Start {
 public:
  explicit Start(int runners) : missing_(runners) {}
  void wait() {
    --missing_;
    while (missing_ > 0) std::this_thread::yield();
  }

 private:
  std::atomic<int> missing_;
};

class TwoThreads : public testing::TestWithParam<SmallRun> {};

TEST_P(TwoThreads, TrainTwoModelsAsEachAloneDoes) {
  const SmallRun& run = GetParam();
  at::set_num_threads(1);
  const Tensors first = run.train(1);
  const Tensors second = run.train(2);
  ASSERT_FALSE(same_bits(first, second)) << "the seed has no say";

  Tensors together[2];
  std::exception_ptr failures[2];
  Start start(2);
  const auto work = [&](std::size_t index) {
    at::set_num_threads(1);
    start.wait();
    try {
      for (int repeat = 0; repeat < 3; ++repeat) {
        together[index] = run.train(index + 1);
      }
    } catch (...) {
      failures[index] = std::current_exception();
    }
  };
  std::thread other(work, 0);
  work(1);
  other.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  EXPECT_TRUE(same_bits(together[0], first));
  EXPECT_TRUE(same_bits(together[1], second));
}

// Each way to train beside the next one.
TEST(TwoThreadsOfTwoKinds, TrainWithDifferentOptimizers) {
  at::set_num_threads(1);
  const std::vector<SmallRun> runs = small_runs();
  for (std::size_t i = 0; i + 1 < runs.size(); ++i) {
    const Tensors alone[2] = {runs[i].train(5), runs[i + 1].train(6)};
    Tensors together[2];
    std::thread other([&] {
      at::set_num_threads(1);
      together[0] = runs[i].train(5);
    });
    together[1] = runs[i + 1].train(6);
    other.join();
    EXPECT_TRUE(same_bits(together[0], alone[0])) << runs[i].name;
    EXPECT_TRUE(same_bits(together[1], alone[1])) << runs[i + 1].name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    EachWay,
    TwoThreads,
    testing::ValuesIn(small_runs()),
    [](const testing::TestParamInfo<SmallRun>& run) { return run.param.name; });

}  // namespace
}  // namespace stepsize::test
