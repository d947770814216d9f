// Autocast on a CPU: what is cast, and what is put back.

#include <ATen/autocast_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/autocast.h>
#include <torch/torch.h>

#include <stdexcept>
#include <thread>
#include <type_traits>

#include "tests/support/error_text.h"

namespace stepsize {
namespace {

using test::message_of;
using testing::HasSubstr;

// So that Autocast(device); declares no variable of that name.
static_assert(!std::is_default_constructible_v<Autocast>);
static_assert(!std::is_copy_constructible_v<Autocast>);
static_assert(!std::is_move_constructible_v<Autocast>);

class AutocastOnACPU : public testing::Test {
 protected:
  torch::Dtype type_of_output() {
    return linear->forward(inputs).scalar_type();
  }

  // Of the parameters themselves: LibTorch 1.13's layer takes a view of the
  // weight, which is not kept.
  torch::Tensor output() const {
    return torch::linear(inputs, linear->weight, linear->bias)
        .to(torch::kFloat)
        .detach();
  }

  torch::nn::Linear linear{3, 2};
  torch::Tensor inputs = torch::ones({4, 3});
};

TEST_F(AutocastOnACPU, CastsInsideAndNotOutside) {
  EXPECT_EQ(type_of_output(), torch::kFloat);
  {
    const Autocast autocast(torch::kCPU);
    EXPECT_EQ(type_of_output(), torch::kBFloat16);
    // Parameters stay what they are.
    EXPECT_EQ(linear->weight.scalar_type(), torch::kFloat);
  }
  EXPECT_EQ(type_of_output(), torch::kFloat);
}

TEST_F(AutocastOnACPU, GivesGradientsOfTheParametersType) {
  torch::Tensor loss;
  {
    const Autocast autocast(torch::kCPU, torch::kBFloat16);
    loss = torch::mse_loss(linear->forward(inputs), torch::zeros({4, 2}));
  }
  EXPECT_EQ(loss.scalar_type(), torch::kFloat);
  loss.backward();
  EXPECT_EQ(linear->weight.grad().scalar_type(), torch::kFloat);
}

TEST_F(AutocastOnACPU, Nests) {
  const Autocast outer(torch::kCPU);
  {
    const Autocast off(torch::kCPU, AutocastOptions().enabled(false));
    EXPECT_EQ(type_of_output(), torch::kFloat);
    {
      const Autocast inner(torch::kCPU);
      EXPECT_EQ(type_of_output(), torch::kBFloat16);
    }
    EXPECT_EQ(type_of_output(), torch::kFloat);
  }
  EXPECT_EQ(type_of_output(), torch::kBFloat16);
}

TEST_F(AutocastOnACPU, EndsWithAnException) {
  try {
    const Autocast autocast(torch::kCPU);
    throw std::runtime_error("no such batch");
  } catch (const std::runtime_error&) {
    EXPECT_EQ(type_of_output(), torch::kFloat);
  }
  EXPECT_EQ(at::autocast::increment_nesting(), 1);
  EXPECT_EQ(at::autocast::decrement_nesting(), 0);
}

TEST_F(AutocastOnACPU, DropsWhatItHasCastAtTheEnd) {
  const auto output_within = [&] {
    const Autocast autocast(torch::kCPU);
    return output();
  };
  const auto before = output_within();
  {
    const torch::NoGradGuard no_grad;
    linear->weight.add_(1);
  }
  // One more in each of three products.
  EXPECT_NEAR((output_within() - before).max().item<double>(), 3, 0.05);
}

TEST_F(AutocastOnACPU, KeepsWhatItHasCastAsLongAsItLives) {
  const auto change_within = [&](const AutocastOptions& options) {
    const Autocast autocast(torch::kCPU, options);
    const auto before = output();
    const Autocast inner(torch::kCPU, options);
    {
      const torch::NoGradGuard no_grad;
      linear->weight.add_(1);
    }
    return (output() - before).max().item<double>();
  };
  EXPECT_EQ(change_within(AutocastOptions()), 0);
  EXPECT_NEAR(change_within(AutocastOptions().cache_enabled(false)), 3, 0.05);
  EXPECT_TRUE(at::autocast::is_autocast_cache_enabled());
}

TEST_F(AutocastOnACPU, IsForOneThread) {
  const Autocast autocast(torch::kCPU);
  torch::Dtype other = torch::kBFloat16;
  std::thread([&] { other = type_of_output(); }).join();
  EXPECT_EQ(other, torch::kFloat);
  EXPECT_EQ(type_of_output(), torch::kBFloat16);
}

TEST_F(AutocastOnACPU, TakesADeviceOrItsType) {
  const torch::Device device("cpu");
  const Autocast autocast(device);
  EXPECT_EQ(type_of_output(), torch::kBFloat16);
}

TEST_F(AutocastOnACPU, IsNotLeftOnByATypeThatThereIsNot) {
  // Newer versions have it.
  try {
    const Autocast autocast(torch::kCPU, torch::kHalf);
    EXPECT_EQ(type_of_output(), torch::kHalf);
  } catch (const c10::Error& error) {
    EXPECT_STREQ(
        error.what_without_backtrace(),
        "Autocast: dtype must be bfloat16 on a CPU with LibTorch 1, got Half");
  }
  EXPECT_EQ(type_of_output(), torch::kFloat);
}

TEST_F(AutocastOnACPU, RefusesOtherTypesAndDevices) {
  EXPECT_EQ(
      message_of([] { const Autocast autocast(torch::kCPU, torch::kInt); }),
      "Autocast: dtype must be bfloat16 or float16, got Int");
  EXPECT_EQ(
      message_of([] { const Autocast autocast(torch::kMeta); }),
      "Autocast: device must be one that LibTorch has autocast for, got meta");
  EXPECT_EQ(type_of_output(), torch::kFloat);
  EXPECT_EQ(at::autocast::increment_nesting(), 1);
  EXPECT_EQ(at::autocast::decrement_nesting(), 0);
}

}  // namespace
}  // namespace stepsize
