#include <stepsize/schedule/parse.h>

#include "tests/schedule/catalogue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <vector>

namespace {

std::atomic<long> allocations{0};

void* counted(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) {
    return memory;
  }
  throw std::bad_alloc();
}

}  // namespace

// In place of the program's own, for every allocation of this test binary.
void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  ++allocations;
  return std::malloc(size == 0 ? 1 : size);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}

namespace stepsize {
namespace {

TEST(Allocation, CounterSeesAnAllocation) {
  const long before = allocations;
  const std::vector<int> some(100);
  EXPECT_GT(allocations, before) << some.size();
}

TEST(Allocation, NoneInACallOfAnySchedule) {
  for (const Schedule& schedule : testing::every_schedule()) {
    double sum = 0;
    const long before = allocations;
    for (int t = 0; t < 200; ++t) {
      sum += schedule(t);
      sum += schedule(1e15 + t);
    }
    const long after = allocations;
    EXPECT_EQ(after, before) << schedule.to_string() << ", sum " << sum;
  }
}

TEST(Allocation, NoneInACopy) {
  const Schedule schedule = parse("(warmup 9 > cosine 90) * noise 0.1");
  const long before = allocations;
  const Schedule copy = schedule;
  const bool equal = copy == schedule;
  const long after = allocations;
  EXPECT_EQ(after, before);
  EXPECT_TRUE(equal);
}

}  // namespace
}  // namespace stepsize
