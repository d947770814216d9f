// Neither the instruction set nor the number of threads changes a bit.
#include <gtest/gtest.h>
#include <stepsize/kernels/cpu_capability.h>
#include <stepsize/kernels/grad_norm.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <thread>

#include "csrc/kernels/dispatch.h"
#include "csrc/kernels/flat_ranges.h"
#include "csrc/kernels/parallel.h"
#include "tests/kernels/support/problem.h"

namespace stepsize::test {
namespace {

class Variants : public ::testing::Test {
 protected:
  void TearDown() override {
    detail::use_capability(capability_);
    torch::set_num_threads(threads_);
  }

  /// Expects the same tensors from a computation on every variant this CPU has.
  static void expect_no_difference(const std::function<Tensors()>& compute) {
    detail::use_capability(CPUCapability::kBase);
    const Tensors expected = compute();
    for (const CPUCapability capability :
         {CPUCapability::kAVX2, CPUCapability::kAVX512}) {
      if (capability > detail::supported_capability()) continue;
      SCOPED_TRACE(to_string(capability));
      detail::use_capability(capability);
      expect_same(compute(), expected);
    }
  }

 private:
  CPUCapability capability_ = cpu_capability();
  int threads_ = torch::get_num_threads();
};

Tensors join(Tensors a, const std::vector<Tensors>& others) {
  for (const Tensors& other : others) {
    a.insert(a.end(), other.begin(), other.end());
  }
  return a;
}

TEST_F(Variants, GiveTheSameNorm) {
  for (const torch::Dtype type : kTypes) {
    for (const NormType norm : {NormType::kTwo, NormType::kInfinity}) {
      expect_no_difference([&] {
        torch::manual_seed(4);
        Tensors norms;
        for (const int64_t size : {1, 31, 32, 33, 100000}) {
          norms.push_back(global_norm({torch::randn({size}).to(type)}, norm));
        }
        return norms;
      });
    }
  }
}

TEST_F(Variants, GiveTheSameScaledNorm) {
  expect_no_difference([] {
    torch::manual_seed(4);
    const auto values = torch::randn({1000}, torch::kDouble);
    return Tensors{
        global_norm({values * 1e300}),
        global_norm({values * 1e-300, torch::ones({3}) * 1e-38})};
  });
}

TEST_F(Variants, GiveTheSameSGD) {
  for (const torch::Dtype type : kTypes) {
    for (const SGDHyperparameters& h : all_sgd_hyperparameters()) {
      SCOPED_TRACE(to_text(h));
      expect_no_difference([&] {
        torch::manual_seed(4);
        SGDRun run(random_params(type), h);
        const auto scale = torch::tensor(0.3, torch::kDouble);
        for (int i = 0; i < 10; ++i) run.step(random_grads(run.params), scale);
        return join(run.params, {run.buffers});
      });
    }
  }
}

TEST_F(Variants, GiveTheSameAdam) {
  for (const torch::Dtype type : kTypes) {
    auto all = all_adam_hyperparameters();
    const auto cautious = all_cautious_hyperparameters();
    all.insert(all.end(), cautious.begin(), cautious.end());
    for (const AdamHyperparameters& h : all) {
      SCOPED_TRACE(to_text(h));
      expect_no_difference([&] {
        torch::manual_seed(4);
        AdamRun run(random_params(type), h);
        const auto scale = torch::tensor(0.3, torch::kDouble);
        for (int i = 0; i < 10; ++i) run.step(random_grads(run.params), scale);
        return join(run.params, {run.means, run.squares, run.max_squares});
      });
    }
  }
}

TEST_F(Variants, ThreadsDoNotMatter) {
  const auto compute = [](int threads) {
    torch::set_num_threads(threads);
    torch::manual_seed(4);
    Tensors start;
    for (int i = 0; i < 40; ++i) start.push_back(torch::randn({i * i * 97}));
    AdamRun run(start, {});
    const Tensors grads = random_grads(run.params);
    const auto norm = global_norm(grads);
    run.step(grads, clip_coefficient(norm, 1.0));
    return join(run.params, {{norm}});
  };
  const Tensors expected = compute(1);
  for (const int threads : {2, 3, 8}) {
    SCOPED_TRACE(threads);
    expect_same(compute(threads), expected);
  }
}

TEST_F(Variants, CapabilityBeyondTheCPUIsRefused) {
  if (detail::supported_capability() == CPUCapability::kAVX512) {
    GTEST_SKIP() << "this CPU has them all";
  }
  EXPECT_THROW(detail::use_capability(CPUCapability::kAVX512), c10::Error);
}

TEST_F(Variants, WorkIsDoneByAsManyThreadsAsLibTorchUses) {
  torch::set_num_threads(3);
  std::vector<int> times(1000, 0);
  detail::parallel_run(1000, [&](int64_t i) { ++times[i]; });
  EXPECT_EQ(times, std::vector<int>(1000, 1));
  // Tasks that wait for each other meet only if three threads are there.
  std::atomic<int> arrived{0};
  std::atomic<int> met{0};
  detail::parallel_run(3, [&](int64_t) {
    ++arrived;
    for (int i = 0; i < 10000000 && arrived < 3; ++i) {
      std::this_thread::yield();
    }
    met += arrived == 3 ? 1 : 0;
  });
  EXPECT_EQ(met, 3);
}

// The other tests of this file leave the choice as they found it.
TEST(CPUCapability, IsTheBestThereIsUnlessTheEnvironmentLowersIt) {
  const char* wish = std::getenv("STEPSIZE_CPU_CAPABILITY");
  if (wish == nullptr) {
    EXPECT_EQ(cpu_capability(), detail::supported_capability());
  } else {
    EXPECT_STREQ(to_string(cpu_capability()), wish);
  }
}

TEST(FlatRanges, BlocksHoldEveryElementOnce) {
  const std::vector<int64_t> sizes = {0, 1, 100000, 64, 0, 0, 32768, 5, 0};
  detail::FlatRanges ranges(sizes.size());
  for (const int64_t size : sizes) ranges.add(size);
  std::vector<int64_t> seen(sizes.size(), 0);
  for (int64_t block = 0; block < ranges.block_count(); ++block) {
    ranges.for_each_in_block(
        block, [&](ptrdiff_t tensor, int64_t begin, int64_t end) {
          const auto i = static_cast<size_t>(tensor);
          EXPECT_EQ(begin, seen[i]);
          EXPECT_EQ(begin % detail::FlatRanges::kAlignment, 0);
          EXPECT_LE(end - begin, detail::FlatRanges::kBlock);
          seen[i] = end;
        });
  }
  EXPECT_EQ(seen, sizes);
}

}  // namespace
}  // namespace stepsize::test
