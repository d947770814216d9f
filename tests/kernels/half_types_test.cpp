// bfloat16 and float16: computed in float32, rounded once. The reference is the
// float32 loop with LibTorch's own conversions.
#include <gtest/gtest.h>
#include <stepsize/kernels/adam.h>
#include <stepsize/kernels/grad_norm.h>
#include <stepsize/kernels/sgd.h>

#include "csrc/kernels/dispatch.h"
#include "tests/kernels/support/problem.h"

namespace stepsize::test {
namespace {

const torch::Dtype kHalfTypes[] = {torch::kBFloat16, torch::kHalf};

/// All 65536 bit patterns.
torch::Tensor all_patterns(torch::Dtype type) {
  return torch::arange(-32768, 32768).to(torch::kShort).view(type);
}

Tensors to_type(const Tensors& tensors, torch::Dtype type) {
  Tensors result;
  for (const torch::Tensor& tensor : tensors) {
    result.push_back(tensor.to(type));
  }
  return result;
}

class HalfTypes : public ::testing::Test {
 protected:
  void TearDown() override { detail::use_capability(before_); }

  /// Runs a check on each instruction set that this CPU has.
  template <typename Check>
  static void on_all_variants(const Check& check) {
    for (const CPUCapability capability :
         {CPUCapability::kBase, CPUCapability::kAVX2, CPUCapability::kAVX512}) {
      if (capability > detail::supported_capability()) continue;
      SCOPED_TRACE(to_string(capability));
      detail::use_capability(capability);
      check();
    }
  }

 private:
  CPUCapability before_ = cpu_capability();
};

TEST_F(HalfTypes, EveryValueIsReadAndWrittenAsItIs) {
  on_all_variants([] {
    for (const torch::Dtype type : kHalfTypes) {
      const auto values = all_patterns(type);
      const auto params = values.clone();
      SGDHyperparameters h;  // lr 0: p = p * 1 - 0 * g
      sgd_step({params}, {torch::zeros_like(params)}, {}, {}, h);
      expect_same({params}, {values});
    }
  });
}

TEST_F(HalfTypes, EveryValueEntersTheNorm) {
  on_all_variants([] {
    for (const torch::Dtype type : kHalfTypes) {
      const auto values = all_patterns(type);
      const auto finite = values.masked_select(torch::isfinite(values));
      const auto wide = finite.to(torch::kDouble);
      EXPECT_NEAR(
          global_norm({finite}).item<double>() /
              wide.pow(2).sum().sqrt().item<double>(),
          1.0,
          1e-13);
      EXPECT_EQ(
          global_norm({finite}, NormType::kInfinity).item<double>(),
          wide.abs().max().item<double>());
    }
  });
}

TEST_F(HalfTypes, RoundsAsLibTorchDoes) {
  torch::manual_seed(5);
  // Factors that reach from overflow down into the subnormals and to 0.
  const auto factor = torch::exp2(torch::randint(-45, 20, {100000}));
  const auto wide = torch::randn({100000}) * factor;
  on_all_variants([&] {
    for (const torch::Dtype type : kHalfTypes) {
      // Out of a float32 buffer: p = -(0.5 * buffer).
      const auto params = torch::zeros({100000}, type);
      const auto buffers = wide.clone();
      SGDHyperparameters h;
      h.lr = 1.0;
      h.momentum = 0.5;
      sgd_step({params}, {torch::zeros_like(params)}, {buffers}, {}, h);
      expect_same({params}, {(wide * -0.5).to(type)});
    }
  });
}

// A run in float32 that is rounded to the half type after every step. The state
// may be kept in float32 or in the half type.
template <typename Run, typename Hyperparameters>
void compare_with_float32(
    const std::vector<Hyperparameters>& all,
    const std::vector<Tensors Run::*>& states) {
  torch::manual_seed(11);
  for (const torch::Dtype type : kHalfTypes) {
    for (const bool wide_state : {false, true}) {
      for (const Hyperparameters& h : all) {
        SCOPED_TRACE(to_text(h));
        Run half(random_params(type), h);
        Run reference(to_type(half.params, torch::kFloat), h);
        for (Tensors Run::*state : states) {
          if (wide_state) half.*state = zeros_like(half.*state, torch::kFloat);
        }
        const auto scale = torch::tensor(0.7, torch::kDouble);
        for (int i = 0; i < 20; ++i) {
          const Tensors grads = random_grads(half.params);
          half.step(grads, scale);
          reference.step(to_type(grads, torch::kFloat), scale);
          const auto round = [&](Tensors& list) {
            list = to_type(to_type(list, type), torch::kFloat);
          };
          round(reference.params);
          for (Tensors Run::*state : states) {
            if (!wide_state) round(reference.*state);
          }
        }
        expect_same(half.params, to_type(reference.params, type));
        for (Tensors Run::*state : states) {
          expect_same(to_type(half.*state, torch::kFloat), reference.*state);
        }
      }
    }
  }
}

TEST_F(HalfTypes, SGDIsFloat32RoundedOnce) {
  compare_with_float32<SGDRun>(all_sgd_hyperparameters(), {&SGDRun::buffers});
}

TEST_F(HalfTypes, AdamIsFloat32RoundedOnce) {
  compare_with_float32<AdamRun>(
      all_adam_hyperparameters(),
      {&AdamRun::means, &AdamRun::squares, &AdamRun::max_squares});
}

}  // namespace
}  // namespace stepsize::test
