// In a program of its own, whose operator new counts.
#include <stepsize/optim/lion.h>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

namespace {

std::atomic<std::size_t> allocated{0};

void* step_memory_or_null(std::size_t size) noexcept {
  allocated += size;
  return std::malloc(size == 0 ? 1 : size);
}

void* step_memory(std::size_t size) {
  if (void* memory = step_memory_or_null(size)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return step_memory(size); }
void* operator new[](std::size_t size) { return step_memory(size); }
// Those without exceptions too: what deletes their memory is below.
void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  return step_memory_or_null(size);
}
void* operator new[](std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  return step_memory_or_null(size);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t& /*tag*/) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, const std::nothrow_t& /*tag*/) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}

namespace stepsize::test {
namespace {

// Bytes that the second step of so many groups of one number asks for.
double bytes_of_a_step(int64_t groups) {
  std::vector<torch::optim::OptimizerParamGroup> own;
  for (int64_t i = 0; i < groups; ++i) {
    auto parameter = torch::zeros({1}).requires_grad_();
    parameter.mutable_grad() = torch::ones({1});
    own.emplace_back(std::vector<torch::Tensor>{parameter});
  }
  Lion optimizer(own, LionOptions(0.1));
  optimizer.step();
  const std::size_t before = allocated;
  optimizer.step();
  return static_cast<double>(allocated - before);
}

// Eight times the groups are eight times the memory, and not 64 times.
TEST(StepMemory, GrowsWithTheNumberOfGroups) {
  const double few = bytes_of_a_step(100);
  EXPECT_GT(few, 0);
  EXPECT_LT(bytes_of_a_step(800), 12 * few);
}

}  // namespace
}  // namespace stepsize::test
