// State in fewer bytes: what its codes mean, and that steps in registers do
// what tensor operations on the numbers do, bit for bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/kernels/adam.h>
#include <stepsize/kernels/compact_state.h>
#include <stepsize/kernels/cpu_capability.h>
#include <stepsize/kernels/sgd.h>
#include <torch/torch.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "csrc/kernels/compact_loops.h"
#include "csrc/kernels/compact_operands.h"
#include "csrc/kernels/dispatch.h"
#include "tests/kernels/support/problem.h"
#include "tests/support/error_text.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kBlock = 256;

torch::Tensor bits_of_state(const torch::Tensor& state) {
  return state.scalar_type() == torch::kBFloat16 ? state.view(torch::kShort)
                                                 : state;
}

/// The tree of the paper, by its bits: zeros count decades, the bit after them
/// is 1, and the rest is a fraction of the decade, in the middle of a cell.
double tree_value(int magnitude, int bits) {
  if (magnitude == 0) return 0;
  int zeros = 0;
  while ((magnitude >> (bits - 1 - zeros)) == 0) ++zeros;
  const int fraction_bits = bits - 1 - zeros;
  const int cells = 1 << fraction_bits;
  const int fraction = magnitude - cells;
  return std::pow(10.0, -zeros) * (0.1 + 0.9 * (fraction + 0.5) / cells);
}

/// How far the next values are apart at a share of the largest one.
double values_apart(double share, int bits) {
  const double top = tree_value((1 << bits) - 1, bits);
  int magnitude = 1;
  while (magnitude < (1 << bits) - 1 &&
         tree_value(magnitude, bits) < share * top) {
    ++magnitude;
  }
  return (tree_value(magnitude, bits) - tree_value(magnitude - 1, bits)) / top;
}

torch::Tensor values_of(const std::vector<double>& values) {
  return torch::tensor(values, torch::kFloat64).to(torch::kFloat32);
}

/// One block with all codes.
torch::Tensor all_codes(float factor) {
  const auto parameter = torch::zeros({kBlock});
  auto state = detail::new_compact_state(parameter, StateType::kBlockwise8Bit);
  state.narrow(0, 0, kBlock).copy_(torch::arange(kBlock));
  state.narrow(0, kBlock, 4).view(torch::kFloat32).fill_(factor);
  return state;
}

TEST(BlockCode, HasTheValuesOfThePapersTree) {
  for (const bool is_unsigned : {false, true}) {
    const int bits = is_unsigned ? 8 : 7;
    const double top = tree_value((1 << bits) - 1, bits);
    const auto numbers =
        full_state(all_codes(2.5F), torch::zeros({kBlock}), is_unsigned);
    for (int code = 0; code < kBlock; ++code) {
      const int magnitude = is_unsigned ? code : code & 127;
      const double sign = !is_unsigned && code >= 128 ? -1 : 1;
      const double expected = 2.5 * sign * tree_value(magnitude, bits) / top;
      EXPECT_NEAR(
          numbers[code].item<double>(), expected, 1e-6 * std::abs(expected))
          << code;
    }
    EXPECT_EQ(numbers[is_unsigned ? 255 : 127].item<double>(), 2.5);
  }
}

TEST(BlockCode, GivesItsOwnNumbersTheirCodes) {
  for (const bool is_unsigned : {false, true}) {
    const auto state = all_codes(0.75F);
    const auto numbers = full_state(state, torch::zeros({kBlock}), is_unsigned);
    const auto again =
        compact_state(numbers, StateType::kBlockwise8Bit, is_unsigned);
    for (int code = 0; code < kBlock; ++code) {
      EXPECT_EQ(again[code].item<int>(), code) << is_unsigned;
    }
  }
}

TEST(BlockCode, IsOneOfTheTwoNextValues) {
  torch::manual_seed(1);
  for (const bool is_unsigned : {false, true}) {
    const int bits = is_unsigned ? 8 : 7;
    // Blocks of other sizes, and numbers over more decades than the code has.
    for (const double size : {1e-41, 1e-30, 1e-3, 1.0, 1e20, 3e38}) {
      auto values =
          torch::pow(10, -9 * torch::rand({4, kBlock}, torch::kFloat64));
      values = values / values.amax(1, true) * size;
      if (!is_unsigned) values = values * torch::randn_like(values).sign();
      values = values.to(torch::kFloat32);
      const auto kept = full_state(
          compact_state(values, StateType::kBlockwise8Bit, is_unsigned),
          values,
          is_unsigned);
      const auto largest = values.abs().amax(1);
      for (int b = 0; b < 4; ++b) {
        const double top = largest[b].item<double>();
        for (int i = 0; i < kBlock; ++i) {
          const double value = values[b][i].item<double>();
          const double number = kept[b][i].item<double>();
          // Numbers of float32 that are no longer normal are 1e-45 apart.
          const double bound =
              top * values_apart(std::abs(value) / top, bits) * 1.0001 + 3e-45;
          // Without a sign what is there does not become 0.
          const double floor =
              is_unsigned ? top * 1.0001 * tree_value(1, bits) : 0;
          EXPECT_LE(std::abs(number - value), std::max(bound, floor))
              << size << " " << value / top;
          EXPECT_EQ(std::signbit(number), std::signbit(value));
          if (is_unsigned && size > 1e-30) {
            EXPECT_GT(number, 0);
          }
        }
      }
    }
  }
}

TEST(BlockCode, KeepsTheLargestOfEachBlockAndZeros) {
  for (const bool is_unsigned : {false, true}) {
    auto values = torch::zeros({3000, kBlock});
    values.select(1, 7) = is_unsigned ? 1.2345 : -1.2345;
    values[1].fill_(0);
    values[2][7] = 3e-39;
    for (int seed = 0; seed < 4; ++seed) {
      const auto kept = full_state(
          compact_state(values, StateType::kBlockwise8Bit, is_unsigned, seed),
          values,
          is_unsigned);
      EXPECT_TRUE(torch::equal(kept, values));
    }
  }
}

TEST(BlockCode, HidesNoNumberThatIsNotFinite) {
  for (const double bad : {kInfinity, -kInfinity, std::nan("")}) {
    for (const bool is_unsigned : {false, true}) {
      auto values = torch::rand({3 * kBlock});
      values[kBlock + 3] = bad;
      const auto kept = full_state(
          compact_state(values, StateType::kBlockwise8Bit, is_unsigned),
          values,
          is_unsigned);
      EXPECT_FALSE(
          kept.narrow(0, kBlock, kBlock).isfinite().any().item<bool>());
      EXPECT_TRUE(kept.narrow(0, 0, kBlock).isfinite().all().item<bool>());
      EXPECT_TRUE(
          kept.narrow(0, 2 * kBlock, kBlock).isfinite().all().item<bool>());
    }
  }
}

TEST(BlockCode, KeepsTheMean) {
  // In all decades, and between them: beside the largest, which is kept.
  for (const bool is_unsigned : {false, true}) {
    const int bits = is_unsigned ? 8 : 7;
    for (const double share :
         {0.9,
          0.5,
          0.12,
          0.1001,
          0.0999,
          0.03,
          0.0101,
          0.0099,
          2e-3,
          3e-5,
          2e-6,
          8e-8}) {
      auto values = torch::full({64, kBlock}, share);
      values.select(1, 0).fill_(1);
      double sum = 0;
      constexpr int kSeeds = 8;
      for (int seed = 0; seed < kSeeds; ++seed) {
        const auto kept = full_state(
            compact_state(values, StateType::kBlockwise8Bit, is_unsigned, seed),
            values,
            is_unsigned);
        sum += kept.narrow(1, 1, kBlock - 1)
                   .to(torch::kFloat64)
                   .mean()
                   .item<double>();
      }
      const double apart = values_apart(share, bits);
      // 130,560 numbers; the deviation of their mean is at most half of what
      // the values are apart by over the root of that. Without a sign what is
      // below the smallest becomes that.
      const double smallest =
          tree_value(1, bits) / tree_value((1 << bits) - 1, bits);
      const double expected = is_unsigned ? std::max(share, smallest) : share;
      EXPECT_NEAR(sum / kSeeds, expected, 0.006 * apart) << share;
    }
  }
}

TEST(BFloat16State, IsOneOfTheTwoNextNumbers) {
  torch::manual_seed(2);
  const auto values = torch::randn({5000}) * torch::pow(10, torch::randn(5000));
  const auto kept =
      compact_state(values, StateType::kBFloat16, false, 3).to(torch::kFloat32);
  // bfloat16 has eight digits: the next numbers are 2^-7 of a power of two
  // apart.
  const auto apart = torch::pow(2, values.abs().log2().floor() - 7) * 1.000001;
  EXPECT_TRUE((kept - values).abs().lt(apart).all().item<bool>());
  const auto exact = values.to(torch::kBFloat16).to(torch::kFloat32);
  EXPECT_TRUE(torch::equal(
      compact_state(exact, StateType::kBFloat16, false, 4).to(torch::kFloat32),
      exact));
}

TEST(BFloat16State, KeepsTheMean) {
  // A quarter on from 1 to the next number.
  const double value = 1 + 0.25 * std::pow(2, -7);
  double sum = 0;
  constexpr int kSeeds = 64;
  for (int seed = 0; seed < kSeeds; ++seed) {
    const auto kept = compact_state(
        torch::full({1024}, value), StateType::kBFloat16, false, seed);
    sum += kept.to(torch::kFloat64).mean().item<double>();
  }
  // 65536 numbers, each up with probability 1/4: three standard deviations are
  // .5% of the distance.
  EXPECT_NEAR(sum / kSeeds, value, 0.006 * std::pow(2, -7));
}

TEST(BFloat16State, KeepsWhatIsNotFinite) {
  for (int seed = 0; seed < 20; ++seed) {
    const auto kept = compact_state(
        values_of({kInfinity, -kInfinity, std::nan("")}),
        StateType::kBFloat16,
        false,
        seed);
    EXPECT_EQ(kept[0].item<double>(), kInfinity);
    EXPECT_EQ(kept[1].item<double>(), -kInfinity);
    EXPECT_TRUE(std::isnan(kept[2].item<double>()));
  }
}

TEST(CompactState, TakesTheBytesItPromises) {
  const auto values = torch::zeros({100, 1000});
  EXPECT_EQ(
      compact_state(values, StateType::kBlockwise8Bit).nbytes(),
      // To a multiple of 64, and 391 factors.
      100032U + 4U * 391U);
  EXPECT_EQ(compact_state(values, StateType::kBFloat16).nbytes(), 200000U);
}

TEST(CompactState, RefusesWhatItCannotKeep) {
  EXPECT_THAT(
      message_of([] {
        compact_state(torch::zeros({4}, torch::kFloat64), StateType::kBFloat16);
      }),
      HasSubstr("compact_state: values must be float32, got Double"));
  EXPECT_THAT(
      message_of([] {
        full_state(torch::zeros({5}, torch::kByte), torch::zeros({4}));
      }),
      HasSubstr("full_state: a state must be of its parameter's shape [4], or "
                "of 68 bytes, got Byte [5]"));
}

TEST(CompactState, LeavesSmallOnesAndVectorsFull) {
  EXPECT_TRUE(keeps_full_state(torch::zeros({63, 65})));
  EXPECT_FALSE(keeps_full_state(torch::zeros({64, 64})));
  EXPECT_TRUE(keeps_full_state(torch::zeros({65535})));
  EXPECT_FALSE(keeps_full_state(torch::zeros({65536})));
  EXPECT_TRUE(keeps_full_state(torch::zeros({64, 64}, torch::kFloat64)));
}

struct Form {
  StateType type;
  torch::Dtype parameter;
};

class CompactSteps : public testing::TestWithParam<Form> {
 protected:
  void TearDown() override { detail::use_capability(capability_); }

  /// Calls check() with each instruction set that this CPU has.
  static void on_each_capability(const std::function<void()>& check) {
    for (const CPUCapability capability :
         {CPUCapability::kBase, CPUCapability::kAVX2, CPUCapability::kAVX512}) {
      if (capability > detail::supported_capability()) continue;
      SCOPED_TRACE(to_string(capability));
      detail::use_capability(capability);
      check();
    }
  }

  static torch::Tensor compact(
      const torch::Tensor& numbers, int kind, uint32_t seed = 0) {
    return compact_state(
        numbers, GetParam().type, kind > 0, detail::seed_of_state(seed, kind));
  }

  static torch::Tensor full(
      const torch::Tensor& state, const torch::Tensor& like, int kind) {
    return full_state(state, like, kind > 0).clone();
  }

 private:
  CPUCapability capability_ = cpu_capability();
};

// Sizes around lanes and blocks, and more than one piece of work.
const std::vector<int64_t> kSizes = {1, 15, 16, 17, 255, 256, 257, 700, 33000};

TEST_P(CompactSteps, OfAdamDoWhatFullStateDoes) {
  for (const bool amsgrad : {false, true}) {
    for (const bool cautious : {false, true}) {
      AdamHyperparameters numbers;
      numbers.weight_decay = 0.1;
      numbers.decoupled_weight_decay = true;
      numbers.amsgrad = amsgrad;
      numbers.cautious = cautious;
      numbers.stochastic_rounding = true;
      numbers.rounding_seed = 5;
      on_each_capability([&] {
        torch::manual_seed(3);
        const int kinds = amsgrad ? 3 : 2;
        Tensors parameters;
        std::vector<Tensors> states(3);
        Tensors expected_parameters;
        std::vector<Tensors> expected(3);
        for (const int64_t size : kSizes) {
          const auto parameter = torch::randn({size}).to(GetParam().parameter);
          parameters.push_back(parameter);
          expected_parameters.push_back(parameter.clone());
          for (int kind = 0; kind < kinds; ++kind) {
            states[kind].push_back(
                detail::new_compact_state(parameter, GetParam().type));
            expected[kind].push_back(states[kind].back().clone());
          }
        }
        const auto scale = torch::tensor(0.7, torch::kFloat64);
        for (int64_t step = 1; step <= 4; ++step) {
          Tensors gradients;
          for (const auto& parameter : parameters) {
            gradients.push_back(torch::randn_like(parameter, torch::kFloat32)
                                    .to(parameter.scalar_type()));
          }
          const std::vector<int64_t> steps(parameters.size(), step);
          adam_step(
              parameters,
              gradients,
              states[0],
              states[1],
              states[2],
              steps,
              numbers,
              scale);
          std::vector<Tensors> full_states(3);
          for (int kind = 0; kind < kinds; ++kind) {
            for (std::size_t i = 0; i < parameters.size(); ++i) {
              full_states[kind].push_back(
                  full(expected[kind][i], parameters[i], kind));
            }
          }
          adam_step(
              expected_parameters,
              gradients,
              full_states[0],
              full_states[1],
              full_states[2],
              steps,
              numbers,
              scale);
          for (std::size_t i = 0; i < parameters.size(); ++i) {
            SCOPED_TRACE(kSizes[i]);
            EXPECT_TRUE(torch::equal(parameters[i], expected_parameters[i]));
            for (int kind = 0; kind < kinds; ++kind) {
              expected[kind][i] = compact(
                  full_states[kind][i],
                  kind,
                  detail::rounding_seed(numbers.rounding_seed, step, i));
              EXPECT_TRUE(torch::equal(
                  bits_of_state(states[kind][i]),
                  bits_of_state(expected[kind][i])))
                  << kind << " " << step;
            }
          }
        }
      });
    }
  }
}

TEST_P(CompactSteps, OfSGDDoWhatFullStateDoes) {
  for (const bool nesterov : {false, true}) {
    SGDHyperparameters numbers;
    numbers.lr = 0.1;
    numbers.momentum = 0.9;
    numbers.weight_decay = 0.01;
    numbers.dampening = nesterov ? 0 : 0.3;
    numbers.nesterov = nesterov;
    numbers.maximize = true;
    numbers.stochastic_rounding = true;
    on_each_capability([&] {
      torch::manual_seed(4);
      for (const int64_t size : kSizes) {
        SCOPED_TRACE(size);
        const auto parameter = torch::randn({size}).to(GetParam().parameter);
        const auto expected = parameter.clone();
        const auto state =
            detail::new_compact_state(parameter, GetParam().type);
        for (int64_t step = 1; step <= 4; ++step) {
          const auto gradient = torch::randn({size}).to(GetParam().parameter);
          const std::array<bool, 1> first = {step == 1};
          const auto numbers_of_state = full(state, parameter, 0);
          numbers.rounding_seed = step;
          sgd_step({parameter}, {gradient}, {state}, first, numbers);
          sgd_step({expected}, {gradient}, {numbers_of_state}, first, numbers);
          EXPECT_TRUE(torch::equal(parameter, expected));
          EXPECT_TRUE(torch::equal(
              bits_of_state(state),
              bits_of_state(compact(
                  numbers_of_state, 0, detail::rounding_seed(0, step, 0)))))
              << step;
        }
      }
    });
  }
}

TEST_P(CompactSteps, OfSGDForgetWhatABufferHeldBeforeTheFirst) {
  SGDHyperparameters numbers;
  numbers.lr = 1;
  numbers.momentum = 0.9;
  numbers.stochastic_rounding = true;
  on_each_capability([&] {
    for (const double before : {10.0, std::nan("")}) {
      const auto parameter = torch::zeros({300}).to(GetParam().parameter);
      const auto state = compact(torch::full({300}, before), 0);
      const std::array<bool, 1> first = {true};
      sgd_step(
          {parameter}, {torch::ones_like(parameter)}, {state}, first, numbers);
      EXPECT_TRUE(torch::equal(parameter, torch::full_like(parameter, -1)));
    }
  });
}

TEST_P(CompactSteps, OnOtherDevicesAreStepsOfFullState) {
  torch::manual_seed(6);
  const auto parameter = torch::zeros({300}).to(GetParam().parameter);
  const auto mean = compact(torch::randn({300}), 0);
  const auto square = compact(torch::rand({300}), 1);
  const detail::Operands operands = {
      {&parameter, &parameter, &mean, &square}, 4};
  const detail::FullState full(operands, 7);
  const auto& numbers = full.operands();
  EXPECT_TRUE(
      torch::equal(*numbers.tensors[2], full_state(mean, parameter, false)));
  EXPECT_TRUE(
      torch::equal(*numbers.tensors[3], full_state(square, parameter, true)));
  numbers.tensors[2]->mul_(0.7);
  numbers.tensors[3]->mul_(0.9);
  const auto mean_before = mean.clone();
  full.write_back(torch::tensor(std::nan("")));
  EXPECT_TRUE(torch::equal(bits_of_state(mean), bits_of_state(mean_before)));
  full.write_back(torch::tensor(0.5));
  EXPECT_TRUE(torch::equal(
      bits_of_state(mean), bits_of_state(compact(*numbers.tensors[2], 0, 7))));
  EXPECT_TRUE(torch::equal(
      bits_of_state(square),
      bits_of_state(compact(*numbers.tensors[3], 1, 7))));
}

TEST_P(CompactSteps, ChangeNothingWhereTheScaleIsNotFinite) {
  const auto parameter = torch::randn({300}).to(GetParam().parameter);
  const auto state = compact(torch::randn({300}), 0);
  const auto square = compact(torch::rand({300}), 1);
  const auto parameter_before = parameter.clone();
  const auto state_before = state.clone();
  const auto square_before = square.clone();
  AdamHyperparameters numbers;
  numbers.stochastic_rounding = true;
  adam_step(
      {parameter},
      {torch::ones_like(parameter)},
      {state},
      {square},
      {},
      {2},
      numbers,
      torch::tensor(std::nan("")));
  EXPECT_TRUE(torch::equal(parameter, parameter_before));
  EXPECT_TRUE(torch::equal(bits_of_state(state), bits_of_state(state_before)));
  EXPECT_TRUE(
      torch::equal(bits_of_state(square), bits_of_state(square_before)));
}

TEST_P(CompactSteps, KeepTheOrderOfIndices) {
  // Of a parameter whose memory has another one.
  const auto plain = torch::randn({8, 6, 5, 5}).to(GetParam().parameter);
  const auto turned = plain.contiguous(torch::MemoryFormat::ChannelsLast);
  const auto gradient = torch::randn({8, 6, 5, 5}).to(GetParam().parameter);
  Tensors states;
  for (const auto& parameter : {plain.clone(), turned}) {
    const auto mean = detail::new_compact_state(parameter, GetParam().type);
    const auto square = detail::new_compact_state(parameter, GetParam().type);
    AdamHyperparameters numbers;
    numbers.stochastic_rounding = true;
    for (int64_t step = 1; step <= 2; ++step) {
      adam_step({parameter}, {gradient}, {mean}, {square}, {}, {step}, numbers);
    }
    states.push_back(parameter.contiguous());
    states.push_back(bits_of_state(mean));
    states.push_back(bits_of_state(square));
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(torch::equal(states[i], states[i + 3])) << i;
  }
  EXPECT_FALSE(turned.is_contiguous());
}

TEST_P(CompactSteps, RefuseStateOfAnotherParameter) {
  const auto parameter = torch::zeros({300}).to(GetParam().parameter);
  const auto other = detail::new_compact_state(
      torch::zeros({700}).to(GetParam().parameter), GetParam().type);
  SGDHyperparameters numbers;
  numbers.lr = 0.1;
  numbers.momentum = 0.9;
  numbers.stochastic_rounding = true;
  EXPECT_THAT(
      message_of([&] {
        sgd_step({parameter}, {parameter.clone()}, {other}, {}, numbers);
      }),
      HasSubstr("sgd_step: momentum buffer 0 must be a compact state"));
}

INSTANTIATE_TEST_SUITE_P(
    All,
    CompactSteps,
    testing::Values(
        Form{StateType::kBlockwise8Bit, torch::kFloat32},
        Form{StateType::kBlockwise8Bit, torch::kBFloat16},
        Form{StateType::kBlockwise8Bit, torch::kFloat16},
        Form{StateType::kBFloat16, torch::kFloat32},
        Form{StateType::kBFloat16, torch::kBFloat16},
        Form{StateType::kBFloat16, torch::kFloat16}),
    [](const auto& own) {
      return std::string(
                 own.param.type == StateType::kBFloat16 ? "BFloat16"
                                                        : "EightBit") +
             "Of" + c10::toString(own.param.parameter);
    });

}  // namespace
}  // namespace stepsize::test
