// Bad input: a message that says what is wrong, and nothing changed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/kernels/adam.h>
#include <stepsize/kernels/sgd.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <string>

#include "tests/kernels/support/problem.h"
#include "tests/support/error_text.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using ::testing::HasSubstr;

/// A call of a step that is right, for tests to spoil.
struct SGDCall {
  Tensors params = {torch::ones({4}), torch::ones({2, 3})};
  Tensors grads = {torch::ones({4}), torch::ones({2, 3})};
  Tensors buffers = {torch::ones({4}), torch::ones({2, 3})};
  std::vector<bool> first = {true, true};
  SGDHyperparameters h;
  torch::Tensor scale;

  void run() const {
    // std::vector<bool> is no array.
    const auto flags = std::make_unique<bool[]>(first.size());
    std::copy(first.begin(), first.end(), flags.get());
    sgd_step(
        params,
        grads,
        buffers,
        c10::ArrayRef<bool>(flags.get(), first.size()),
        h,
        scale);
  }
};

struct AdamCall {
  Tensors params = {torch::ones({4}), torch::ones({2, 3})};
  Tensors grads = {torch::ones({4}), torch::ones({2, 3})};
  Tensors means = {torch::ones({4}), torch::ones({2, 3})};
  Tensors squares = {torch::ones({4}), torch::ones({2, 3})};
  Tensors max_squares;
  std::vector<int64_t> steps = {1, 1};
  AdamHyperparameters h;
  torch::Tensor scale;

  void run() const {
    adam_step(params, grads, means, squares, max_squares, steps, h, scale);
  }
};

std::string refusal(const std::function<void(SGDCall&)>& spoil) {
  SGDCall call;
  call.h.lr = 0.1;
  call.h.momentum = 0.9;
  const Tensors params = call.params;
  const Tensors buffers = call.buffers;
  spoil(call);
  const Tensors params_before = clones(params);
  const Tensors buffers_before = clones(buffers);
  const std::string message = message_of([&] { call.run(); });
  expect_same(params, params_before);
  expect_same(buffers, buffers_before);
  return message;
}

std::string adam_refusal(const std::function<void(AdamCall&)>& spoil) {
  AdamCall call;
  const Tensors params = call.params;
  spoil(call);
  const Tensors before = clones(params);
  const std::string message = message_of([&] { call.run(); });
  expect_same(params, before);
  return message;
}

TEST(Refusal, TheCallIsRightWhenNothingIsSpoiled) {
  SGDCall sgd;
  sgd.h.momentum = 0.9;
  EXPECT_NO_THROW(sgd.run());
  EXPECT_NO_THROW(AdamCall().run());
}

TEST(Refusal, SGDNumbers) {
  EXPECT_THAT(
      refusal([](SGDCall& c) { c.h.lr = -1; }),
      HasSubstr("sgd_step: lr must be finite and >= 0, got -1"));
  EXPECT_THAT(refusal([](SGDCall& c) { c.h.lr = kNaN; }), HasSubstr("got nan"));
  EXPECT_THAT(
      refusal([](SGDCall& c) { c.h.momentum = -0.5; }), HasSubstr("momentum"));
  EXPECT_THAT(
      refusal([](SGDCall& c) { c.h.weight_decay = -0.5; }),
      HasSubstr("weight_decay"));
  EXPECT_THAT(
      refusal([](SGDCall& c) { c.h.dampening = kNaN; }),
      HasSubstr("dampening"));
  EXPECT_THAT(
      refusal([](SGDCall& c) {
        c.h.nesterov = true;
        c.h.dampening = 0.5;
      }),
      HasSubstr("nesterov wants momentum > 0 and dampening 0"));
}

TEST(Refusal, SGDLists) {
  EXPECT_THAT(
      refusal([](SGDCall& c) { c.grads.pop_back(); }),
      HasSubstr("sgd_step: grads must have length 2, got 1"));
  EXPECT_THAT(
      refusal([](SGDCall& c) { c.buffers.pop_back(); }),
      HasSubstr("momentum_buffers must have length 2, got 1"));
  EXPECT_THAT(
      refusal([](SGDCall& c) { c.h.momentum = 0; }),
      HasSubstr("momentum_buffers at momentum 0 must have length 0, got 2"));
  EXPECT_THAT(
      refusal([](SGDCall& c) { c.first.pop_back(); }),
      HasSubstr("first_step must have length 2, got 1"));
}

TEST(Refusal, SGDTensorsOfTheSecondParameter) {
  EXPECT_THAT(
      refusal([](SGDCall& c) { c.params[1] = torch::Tensor(); }),
      HasSubstr("sgd_step: parameter 1 is undefined"));
  EXPECT_THAT(
      refusal([](SGDCall& c) { c.buffers[1] = torch::Tensor(); }),
      HasSubstr("momentum buffer 1 is undefined"));
  EXPECT_THAT(
      refusal([](SGDCall& c) {
        c.grads[1] = torch::ones({3, 2});
      }),
      HasSubstr(
          "gradient 1 must have its parameter's shape [2, 3], got [3, 2"));
  EXPECT_THAT(
      refusal([](SGDCall& c) {
        c.grads[1] = torch::ones({2, 3}, torch::kDouble);
      }),
      HasSubstr(
          "gradient 1 must be of its parameter's type Float, got Double"));
  EXPECT_THAT(
      refusal([](SGDCall& c) {
        c.buffers[1] = torch::ones({2, 3}, torch::kHalf);
      }),
      HasSubstr(
          "momentum buffer 1 must be of its parameter's type Float, got"));
  EXPECT_THAT(
      refusal([](SGDCall& c) {
        c.params[1] = torch::ones({2, 3}, torch::kLong);
        c.grads[1] = c.params[1];
        c.buffers[1] = c.params[1];
      }),
      HasSubstr("parameter 1 must be float32, float64, bfloat16 or float16"));
  EXPECT_THAT(
      refusal([](SGDCall& c) { c.grads[1] = c.grads[1].to_sparse(); }),
      HasSubstr("gradient 1 must be dense, got layout Sparse"));
  EXPECT_THAT(
      refusal([](SGDCall& c) {
        c.params[1] = torch::ones({1, 3}).expand({2, 3});
      }),
      HasSubstr("parameter 1 must not overlap itself"));
  EXPECT_THAT(
      refusal([](SGDCall& c) {
        c.buffers[1] = torch::ones({1, 3}).expand({2, 3});
      }),
      HasSubstr("momentum buffer 1 must not overlap itself"));
  EXPECT_THAT(
      refusal([](SGDCall& c) {
        c.grads[1] = torch::empty({2, 3}, torch::kMeta);
      }),
      HasSubstr("gradient 1 must be on its parameter's device cpu, got meta"));
}

TEST(Refusal, MemoryThatMayOverlap) {
  EXPECT_THAT(
      refusal([](SGDCall& c) {
        c.params[1] = torch::zeros({4}).as_strided({2, 3}, {1, 1});
      }),
      HasSubstr(
          "parameter 1 must not overlap itself, got shape [2, 3] with strides "
          "[1, 1]"));
}

TEST(Refusal, WhatMayNotBeWritten) {
  EXPECT_THAT(
      refusal([](SGDCall& c) {
        const c10::InferenceMode inference;
        c.params[1] = torch::zeros({3, 2}).t();
      }),
      HasSubstr("sgd_step: parameter 1 must not be an inference tensor"));
  EXPECT_THAT(
      refusal([](SGDCall& c) {
        c.buffers[1] = at::_efficientzerotensor({2, 3}, at::kFloat);
      }),
      HasSubstr("momentum buffer 1 must have memory, got a constant zero"));
}

TEST(Refusal, InferenceModeMayWriteItsOwn) {
  const c10::InferenceMode inference;
  SGDCall call;
  call.h.lr = 1;
  call.h.momentum = 0.9;
  call.params[1] = torch::zeros({3, 2}).t();
  call.run();
  EXPECT_TRUE(call.params[1].eq(-1).all().item<bool>());
}

TEST(Refusal, Scale) {
  EXPECT_THAT(
      refusal([](SGDCall& c) { c.scale = torch::ones({1}); }),
      HasSubstr("sgd_step: grad_scale must be 0-dim, got shape [1]"));
  EXPECT_THAT(
      adam_refusal([](AdamCall& c) { c.scale = torch::tensor(1); }),
      HasSubstr("adam_step: grad_scale must be of a floating type, got Long"));
}

TEST(Refusal, AdamNumbers) {
  EXPECT_THAT(
      adam_refusal([](AdamCall& c) { c.h.lr = -1; }),
      HasSubstr("adam_step: lr must be finite and >= 0, got -1"));
  EXPECT_THAT(
      adam_refusal([](AdamCall& c) { c.h.beta1 = 1; }),
      HasSubstr("adam_step: beta1 must be in [0, 1), got 1"));
  EXPECT_THAT(
      adam_refusal([](AdamCall& c) { c.h.beta2 = kNaN; }), HasSubstr("beta2"));
  EXPECT_THAT(
      adam_refusal([](AdamCall& c) { c.h.eps = -1; }), HasSubstr("eps"));
  EXPECT_THAT(
      adam_refusal([](AdamCall& c) { c.h.weight_decay = -1; }),
      HasSubstr("weight_decay"));
}

TEST(Refusal, AdamLists) {
  EXPECT_THAT(
      adam_refusal([](AdamCall& c) { c.means.pop_back(); }),
      HasSubstr("exp_avgs must have length 2, got 1"));
  EXPECT_THAT(
      adam_refusal([](AdamCall& c) { c.squares.pop_back(); }),
      HasSubstr("exp_avg_sqs must have length 2, got 1"));
  EXPECT_THAT(
      adam_refusal([](AdamCall& c) { c.h.amsgrad = true; }),
      HasSubstr("max_exp_avg_sqs with amsgrad must have length 2, got 0"));
  EXPECT_THAT(
      adam_refusal([](AdamCall& c) { c.max_squares = c.squares; }),
      HasSubstr("max_exp_avg_sqs without amsgrad must have length 0, got 2"));
  EXPECT_THAT(
      adam_refusal([](AdamCall& c) {
        c.steps = {1, 0};
      }),
      HasSubstr("adam_step: step 1 must be >= 1, got 0"));
}

TEST(Refusal, AdamStatesOfTwoTypes) {
  EXPECT_THAT(
      adam_refusal([](AdamCall& c) {
        c.params[1] = torch::ones({2, 3}, torch::kHalf);
        c.grads[1] = c.params[1].clone();
        c.squares[1] = c.params[1].clone();
      }),
      HasSubstr("exp_avg_sq 1 must be of the type of its exp_avg Float"));
}

}  // namespace
}  // namespace stepsize::test
