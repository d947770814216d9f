#include <stepsize/adaptive/muon.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "csrc/adaptive/newton_schulz.h"
#include "csrc/adaptive/tiled_newton_schulz.h"
#include "tests/adaptive/optimizer_golden.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using torch::optim::OptimizerParamGroup;
using Tensors = std::vector<torch::Tensor>;

torch::Tensor muon_matrix(
    int64_t rows, int64_t columns, torch::Dtype type = torch::kFloat64) {
  return torch::randn({rows, columns}, type);
}

// With these singular values, and singular vectors that are drawn.
torch::Tensor muon_matrix_of(
    const torch::Tensor& values, int64_t rows, int64_t columns) {
  const auto left = std::get<0>(
      torch::linalg_qr(muon_matrix(rows, values.numel()), "reduced"));
  const auto right = std::get<0>(
      torch::linalg_qr(muon_matrix(columns, values.numel()), "reduced"));
  return torch::matmul(left * values, right.t());
}

torch::Tensor singular_values(const torch::Tensor& matrix) {
  return torch::linalg_svdvals(matrix.to(torch::kFloat64));
}

// What the polynomial makes of singular values that are divided by the length
// of all.
torch::Tensor mapped_values(torch::Tensor values, int64_t steps, double eps) {
  values = values / (values.norm() + eps);
  for (int64_t step = 0; step < steps; ++step) {
    values = 3.4445 * values - 4.7750 * values.pow(3) + 2.0315 * values.pow(5);
  }
  return values;
}

// The first update of a parameter that is 0, over the rate, by a gradient.
torch::Tensor first_update(
    const torch::Tensor& gradient, const MuonOptions& options = {}) {
  const auto parameter = torch::zeros_like(gradient).requires_grad_();
  Muon muon(Tensors{parameter}, options);
  parameter.mutable_grad() = gradient.clone();
  muon.step();
  return parameter.detach() / -options.lr();
}

double largest(const torch::Tensor& tensor) {
  return tensor.abs().max().item<double>();
}

ParameterState muon_state(Muon& muon, std::size_t group, std::size_t index) {
  ParameterState state;
  muon.state_access()->read(group, index, state);
  return state;
}

TEST(Muon, HasTheReferencesDefaults) {
  const MuonOptions options;
  EXPECT_EQ(options.lr(), 0.02);
  EXPECT_EQ(options.momentum(), 0.95);
  EXPECT_TRUE(options.nesterov());
  EXPECT_EQ(options.weight_decay(), 0);
  EXPECT_EQ(options.ns_steps(), 5);
  EXPECT_EQ(options.betas(), std::make_tuple(0.9, 0.95));
  EXPECT_EQ(options.eps(), 1e-10);
}

TEST(Muon, FollowsItsReference) {
  expect_follows_golden("muon", [](const Tensors& parameters) {
    std::vector<OptimizerParamGroup> groups;
    groups.emplace_back(Tensors{parameters[0], parameters[2]});
    groups.emplace_back(
        Tensors{parameters[1], parameters[3]},
        std::make_unique<MuonOptions>(
            MuonOptions(0.01).weight_decay(0.1).use_muon(false)));
    const auto muon =
        std::make_shared<Muon>(groups, MuonOptions(0.004).weight_decay(0.1));
    return GoldenRun{
        [muon](GoldenProblem& problem) {
          problem.set_gradients();
          muon->step();
        },
        nullptr};
  });
}

// Wide, square and tall; on either side of the size from which symmetric
// products are computed in panels, and of the ratio from which the Gram
// matrices are.
const std::vector<std::pair<int64_t, int64_t>> kMuonShapes = {
    {12, 12}, {12, 16}, {12, 50}, {50, 12}, {300, 300}, {260, 700}, {1, 7}};

TEST(Muon, MapsSingularValuesByThePolynomial) {
  torch::manual_seed(3);
  for (const auto& [rows, columns] : kMuonShapes) {
    const auto gradient = muon_matrix(rows, columns);
    const auto expected = std::get<0>(
        mapped_values(singular_values(gradient) * (1 - 0.95 * 0.95), 5, 1e-7)
            .sort());
    const auto got = std::get<0>(
        singular_values(
            first_update(gradient, MuonOptions(1)) /
            std::sqrt(std::max(
                1.0, static_cast<double>(rows) / static_cast<double>(columns))))
            .sort());
    EXPECT_LT(largest(got - expected), 1e-10) << rows << " x " << columns;
  }
}

// The iteration keeps the singular vectors: the update is U p(S) V^T.
TEST(Muon, KeepsTheSingularVectors) {
  torch::manual_seed(4);
  for (const auto& [rows, columns] : kMuonShapes) {
    const auto gradient = muon_matrix(rows, columns);
    const auto [u, s, vh] =
        torch::linalg_svd(gradient, /*full_matrices=*/false);
    const auto values = mapped_values(s * (1 - 0.95 * 0.95), 5, 1e-7);
    const auto expected = torch::matmul(u * values, vh);
    const auto scale = std::sqrt(std::max(
        1.0, static_cast<double>(rows) / static_cast<double>(columns)));
    EXPECT_LT(
        largest(first_update(gradient, MuonOptions(1)) / scale - expected),
        1e-10)
        << rows << " x " << columns;
  }
}

// Of the whole range on which the iteration is made to work.
TEST(Muon, BringsSingularValuesNearToOne) {
  torch::manual_seed(5);
  for (const auto type : {torch::kFloat32, torch::kFloat64}) {
    for (const int64_t columns : {40, 120}) {
      // From 0.01 to 1 after the division, the largest alone carrying most.
      auto values = torch::logspace(-2, -1, 40, 10, torch::kFloat64);
      values[39] =
          std::sqrt(1 - values.narrow(0, 0, 39).square().sum().item<double>());
      const auto batch =
          muon_matrix_of(values, 40, columns).to(type).unsqueeze(0);
      const auto got =
          singular_values(detail::newton_schulz(batch.clone(), 5, 0)[0]);
      EXPECT_GE(got.min().item<double>(), 0.68) << type;
      EXPECT_LE(got.max().item<double>(), 1.14) << type;
    }
  }
}

// bfloat16 has 8 bits: two digits of each product.
TEST(Muon, ComesNearInBFloat16) {
  torch::manual_seed(6);
  const auto gradient = muon_matrix(40, 60, torch::kFloat32);
  const auto full = first_update(gradient, MuonOptions(1));
  const auto narrow = first_update(
      gradient, MuonOptions(1).ns_precision(MuonPrecision::kBFloat16));
  EXPECT_EQ(narrow.scalar_type(), torch::kFloat32);
  const double error = ((full - narrow).norm() / full.norm()).item<double>();
  EXPECT_GT(error, 1e-4);
  EXPECT_LT(error, 0.15);
}

TEST(Muon, MovesByTheRMSOfAdamW) {
  torch::manual_seed(7);
  // Where all singular values are alike an orthogonal matrix of m x n has the
  // RMS 1 / sqrt(max(m, n)); 0.2 of that is AdamW's of Liu et al. After five
  // steps the values are only near 1.
  for (const auto& [rows, columns] :
       {std::make_pair(30, 90), std::make_pair(90, 30)}) {
    const auto gradient =
        muon_matrix_of(torch::ones({30}, torch::kFloat64), rows, columns);
    const auto update = first_update(
        gradient, MuonOptions(1).adjust_lr(AdjustLR::kMatchRMSAdamW));
    const double value =
        mapped_values(
            torch::ones({30}, torch::kFloat64) * (1 - 0.95 * 0.95), 5, 1e-7)[0]
            .item<double>();
    EXPECT_NEAR(
        update.square().mean().sqrt().item<double>(), 0.2 * value, 1e-10);
  }
}

TEST(Muon, ScalesATallMatrixUp) {
  torch::manual_seed(8);
  const auto wide = muon_matrix(10, 40);
  const auto tall = wide.t().contiguous();
  const auto wide_update = first_update(wide);
  EXPECT_LT(largest(first_update(tall) / 2 - wide_update.t()), 1e-12);
}

TEST(Muon, TransposesTheUpdateWithTheParameter) {
  torch::manual_seed(9);
  const auto options = MuonOptions(1).adjust_lr(AdjustLR::kMatchRMSAdamW);
  for (const auto& [rows, columns] : kMuonShapes) {
    const auto gradient = muon_matrix(rows, columns);
    const auto turned = first_update(gradient.t().contiguous(), options);
    const auto update = first_update(gradient, options);
    // A square one is multiplied from the other side.
    EXPECT_LT(largest(turned.t() - update), 1e-10);
  }
}

TEST(Muon, TakesAConvolutionForAMatrix) {
  torch::manual_seed(10);
  const auto gradient = torch::randn({6, 5, 3, 3}, torch::kFloat64);
  const auto expected = first_update(gradient.flatten(1)).view({6, 5, 3, 3});
  EXPECT_TRUE(torch::equal(first_update(gradient), expected));
  // In another order in memory.
  const auto last = gradient.contiguous(torch::MemoryFormat::ChannelsLast);
  EXPECT_TRUE(torch::equal(first_update(last), expected));
}

// More than a batch of one shape, with others in between, of both layouts.
TEST(Muon, StepsABatchAsOneByOne) {
  torch::manual_seed(11);
  for (const auto type : {torch::kFloat32, torch::kFloat64}) {
    Tensors together;
    std::vector<Tensors> apart;
    for (int i = 0; i < 9; ++i) {
      for (const auto& [rows, columns] :
           {std::make_pair(400, 500),
            std::make_pair(500, 400),
            std::make_pair(7, 7)}) {
        const auto start = muon_matrix(rows, columns, type);
        const auto gradient = muon_matrix(rows, columns, type);
        for (auto* list : {&together, &apart.emplace_back()}) {
          auto& own = list->emplace_back(start.clone().requires_grad_());
          own.mutable_grad() = gradient.clone();
        }
      }
    }
    Muon batched(together, MuonOptions(0.1));
    batched.step();
    for (std::size_t i = 0; i < apart.size(); ++i) {
      Muon alone(apart[i], MuonOptions(0.1));
      alone.step();
      // The same products; a library may order the sums of a batch otherwise.
      EXPECT_LT(
          largest(together[i] - apart[i][0]),
          type == torch::kFloat32 ? 1e-5 : 1e-13)
          << i;
    }
  }
}

// By Python's formula: two updates and a decay.
TEST(Muon, FollowsTheMeanWithAndWithoutNesterov) {
  torch::manual_seed(12);
  for (const bool nesterov : {true, false}) {
    const auto options =
        MuonOptions(0.1).momentum(0.5).nesterov(nesterov).weight_decay(0.5);
    const auto start = muon_matrix(4, 6);
    const auto x = start.clone().requires_grad_();
    Muon muon(Tensors{x}, options);
    auto mean = torch::zeros_like(start);
    auto expected = start.clone();
    for (int step = 0; step < 2; ++step) {
      const auto gradient = muon_matrix(4, 6);
      x.mutable_grad() = gradient;
      muon.step();
      mean = 0.5 * mean + 0.5 * gradient;
      const auto mix = nesterov ? 0.5 * gradient + 0.5 * mean : mean;
      const auto update =
          detail::newton_schulz(mix.clone().unsqueeze(0), 5, 1e-7)[0];
      expected = expected * (1 - 0.05) - 0.1 * update;
      EXPECT_TRUE(torch::equal(x.grad(), gradient));
    }
    EXPECT_LT(largest(x.detach() - expected), 1e-12);
    EXPECT_LT(largest(muon_state(muon, 0, 0).tensors[0] - mean), 1e-14);
  }
}

TEST(Muon, StepsOtherGroupsAsAdamW) {
  const auto x = leaf({1, -2, 3});
  const auto y = leaf({1, -2, 3});
  Muon muon(
      Tensors{x},
      MuonOptions(0.01).use_muon(false).weight_decay(0.1).eps(1e-8));
  torch::optim::AdamW adamw(
      {y},
      torch::optim::AdamWOptions(0.01)
          .betas(std::make_tuple(0.9, 0.95))
          .weight_decay(0.1));
  for (int step = 0; step < 5; ++step) {
    for (const auto& own : {x, y}) {
      own.mutable_grad() = (own.detach() + step).sin();
    }
    muon.step();
    adamw.step();
  }
  EXPECT_LT(largest(x.detach() - y.detach()), 1e-14);
}

TEST(Muon, KeepsNoStateThatItDoesNotNeed) {
  torch::manual_seed(13);
  const auto matrix = muon_matrix(3, 3).requires_grad_();
  const auto bias = leaf({1, 2});
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(Tensors{matrix});
  groups.emplace_back(
      Tensors{bias},
      std::make_unique<MuonOptions>(MuonOptions(3e-4).use_muon(false)));
  Muon muon(groups);
  matrix.mutable_grad() = torch::ones_like(matrix);
  bias.mutable_grad() = torch::ones_like(bias);
  muon.step();
  const auto of_matrix = muon_state(muon, 0, 0).tensors;
  EXPECT_TRUE(of_matrix[0].defined());
  EXPECT_FALSE(of_matrix[1].defined());
  EXPECT_FALSE(of_matrix[2].defined());
  const auto of_bias = muon_state(muon, 1, 0).tensors;
  EXPECT_FALSE(of_bias[0].defined());
  EXPECT_TRUE(of_bias[1].defined());
  EXPECT_TRUE(of_bias[2].defined());
  // One that changes sides leaves what it had.
  static_cast<MuonOptions&>(muon.param_groups()[0].options()).use_muon(false);
  muon.step();
  EXPECT_FALSE(muon_state(muon, 0, 0).tensors[0].defined());
  EXPECT_TRUE(muon_state(muon, 0, 0).tensors[1].defined());
}

TEST(Muon, RefusesWhatIsNoMatrix) {
  const auto matrix = torch::eye(2).requires_grad_();
  const auto vector = torch::ones({2}).requires_grad_();
  EXPECT_THAT(
      message_of([&] {
        std::vector<OptimizerParamGroup> groups;
        groups.emplace_back(Tensors{matrix});
        groups.emplace_back(Tensors{torch::eye(3).requires_grad_(), vector});
        Muon muon(groups);
      }),
      HasSubstr("Muon: the parameters of a group with use_muon must have 2 "
                "dimensions or more, got shape [2] of parameter 1 of group 1"));
  Muon muon(Tensors{matrix});
  muon.add_parameters({vector});
  matrix.mutable_grad() = torch::ones_like(matrix);
  EXPECT_THAT(message_of([&] { muon.step(); }), HasSubstr("group 0"));
  EXPECT_TRUE(torch::equal(matrix, torch::eye(2)));
}

TEST(Muon, ShowsWhatIsNotFinite) {
  for (const double bad : {kNaN, kInfinity}) {
    auto gradient = torch::ones({2, 4}, torch::kFloat64);
    gradient[0][0] = bad;
    EXPECT_TRUE(first_update(gradient).isnan().all().item<bool>());
  }
  // A gradient of 0 moves nothing.
  EXPECT_EQ(largest(first_update(torch::zeros({2, 3}, torch::kFloat64))), 0);
}

TEST(Muon, StepsAnEmptyMatrix) {
  EXPECT_EQ(first_update(torch::zeros({0, 3})).numel(), 0);
  EXPECT_EQ(first_update(torch::zeros({3, 0})).numel(), 0);
}

struct MuonNetImpl : torch::nn::Module {
  MuonNetImpl() {
    embedding = register_module("tokens", torch::nn::Embedding(5, 4));
    position = register_parameter("pos_embed", torch::zeros({3, 4}));
    body = register_module(
        "body",
        torch::nn::Sequential(
            torch::nn::Conv1d(4, 4, 3),
            torch::nn::BatchNorm1d(4),
            torch::nn::Linear(4, 6),
            torch::nn::LayerNorm(torch::nn::LayerNormOptions({2, 3})),
            torch::nn::Linear(6, 4)));
    head = register_module("out", torch::nn::Linear(4, 5));
  }
  torch::nn::Embedding embedding{nullptr};
  torch::Tensor position;
  torch::nn::Sequential body{nullptr};
  torch::nn::Linear head{nullptr};
};

TEST(MuonGroups, SplitHiddenMatricesFromTheRest) {
  MuonNetImpl net;
  const auto groups = Muon::groups(net, MuonOptions(0.02), MuonOptions(3e-4));
  const auto infos = groups.infos();
  ASSERT_EQ(infos.size(), 2U);
  EXPECT_EQ(infos[0].name, "hidden");
  EXPECT_THAT(
      infos[0].parameters,
      ElementsAre("body.0.weight", "body.2.weight", "body.4.weight"));
  EXPECT_THAT(
      infos[1].parameters,
      ElementsAre(
          "pos_embed",
          "tokens.weight",
          "body.0.bias",
          "body.1.weight",
          "body.1.bias",
          "body.2.bias",
          "body.3.weight",
          "body.3.bias",
          "body.4.bias",
          "out.weight",
          "out.bias"));
  const auto muon = groups.make_optimizer<Muon>();
  const auto options = [&muon](std::size_t group) {
    return static_cast<const MuonOptions&>(
        muon.param_groups()[group].options());
  };
  EXPECT_TRUE(options(0).use_muon());
  EXPECT_EQ(options(0).lr(), 0.02);
  EXPECT_FALSE(options(1).use_muon());
  EXPECT_EQ(options(1).lr(), 3e-4);
}

TEST(MuonGroups, LeaveOutWhatThePatternsMatch) {
  MuonNetImpl net;
  const auto groups = Muon::groups(
      net,
      MuonOptions(1e-3).adjust_lr(AdjustLR::kMatchRMSAdamW),
      {"body.0", "*.2.weight"});
  EXPECT_THAT(groups.infos()[0].parameters, ElementsAre("body.4.weight"));
  EXPECT_EQ(groups.infos()[1].lr, 1e-3);
  EXPECT_THAT(
      message_of(
          [&] { Muon::groups(net, MuonOptions(), MuonOptions(), {"bdoy"}); }),
      HasSubstr("Muon: the pattern 'bdoy' of no_muon matches no parameter; did "
                "you mean 'body'?"));
  EXPECT_THAT(
      message_of(
          [&] { Muon::groups(net, MuonOptions(), MuonOptions(), {"body"}); }),
      HasSubstr("Muon: the module must have a hidden matrix"));
}

TEST(MuonGroups, WantOneRateToBeMatched) {
  MuonNetImpl net;
  EXPECT_THAT(
      message_of([&] { Muon::groups(net, MuonOptions()); }),
      HasSubstr("Muon: adjust_lr must be kMatchRMSAdamW"));
}

TEST(MuonGroups, DoNotOrthogonalizeAHeadThatIsTied) {
  MuonNetImpl net;
  torch::nn::Module outer;
  outer.register_module("first", torch::nn::Linear(4, 4));
  const auto tied = outer.register_module("tied", torch::nn::Linear(4, 4));
  outer.register_module("last", torch::nn::Linear(4, 4));
  const auto embedding =
      outer.register_module("words", torch::nn::Embedding(4, 4));
  embedding->weight = embedding->register_parameter("twin", tied->weight);
  const auto infos =
      Muon::groups(outer, MuonOptions(), MuonOptions(3e-4)).infos();
  EXPECT_THAT(infos[0].parameters, ElementsAre("first.weight"));
}

// Its means begin then, and so does their bias: the first step is as long as
// the rate in every coordinate.
TEST(Muon, AMatrixThatBecomesAdamWsBeginsItsCountAnew) {
  auto w = torch::eye(3, torch::kFloat64).requires_grad_(true);
  Muon muon({w}, MuonOptions(0.01));
  for (int step = 0; step < 30; ++step) {
    w.mutable_grad() = w.detach().cos();
    muon.step();
  }
  static_cast<MuonOptions&>(muon.param_groups()[0].options())
      .use_muon(false)
      .lr(0.125);
  const auto before = w.detach().clone();
  w.mutable_grad() = torch::full_like(w, 0.5);
  muon.step();
  EXPECT_LT((before - w - 0.125).abs().max().item<double>(), 1e-8);
}

// Its last panel has one row, for which LibTorch before 2.1 has a kernel that
// keeps what the memory held.
TEST(Muon, SizesBeyondAPanelByOneAreFinite) {
  torch::manual_seed(3);
  auto w = torch::randn({257, 300}).requires_grad_(true);
  Muon muon({w}, MuonOptions(0.01));
  w.mutable_grad() = torch::randn({257, 300});
  // Memory that the allocator gives out again: it keeps what is freed from the
  // second time on, below something that stays.
  std::vector<torch::Tensor> held;
  for (int round = 0; round < 2; ++round) {
    held.clear();
    for (int i = 0; i < 16; ++i) {
      held.push_back(torch::full({1, 257, 257}, kNaN, torch::kFloat32));
    }
  }
  const auto above = torch::ones({257, 257});
  held.clear();
  muon.step();
  EXPECT_TRUE(w.isfinite().all().item<bool>());
}

// Own products, where the processor has them, on either side of their panels
// (32), of what they pack at once (512) and of what counts as square.
const std::vector<std::pair<int64_t, int64_t>> kTiledShapes = {
    {1, 1},
    {1, 40},
    {5, 3},
    {32, 32},
    {33, 31},
    {31, 97},
    {64, 147},
    {130, 128},
    {96, 513},
    {1100, 70},
    {513, 520},
    {530, 700}};

double distance(const torch::Tensor& got, const torch::Tensor& expected) {
  return ((got.to(torch::kFloat64) - expected).norm() / expected.norm())
      .item<double>();
}

TEST(MuonTiles, ComeToWhatFloat64Comes) {
  torch::manual_seed(14);
  for (const auto& [rows, columns] : kTiledShapes) {
    // A direction that is long beside the others, as gradients have them.
    const auto gradient = muon_matrix(rows, columns, torch::kFloat32) +
                          muon_matrix(rows, 1, torch::kFloat32) *
                              muon_matrix(1, columns, torch::kFloat32);
    const auto exact = first_update(gradient.to(torch::kFloat64));
    EXPECT_LT(distance(first_update(gradient), exact), 3e-3)
        << rows << " x " << columns;
    const auto narrow = first_update(
        gradient, MuonOptions().ns_precision(MuonPrecision::kBFloat16));
    EXPECT_LT(distance(narrow, exact), 0.12) << rows << " x " << columns;
  }
}

// In one go over the five iterations what a Gram matrix is rounded by would
// grow beyond the values themselves.
TEST(MuonTiles, KeepSmallSingularValuesInBFloat16) {
  torch::manual_seed(15);
  const auto values =
      1 / torch::arange(1, 129, torch::kFloat64);  // as of real gradients
  for (const int64_t columns : {128, 400}) {
    const auto gradient = muon_matrix_of(values, 128, columns);
    const auto exact = first_update(gradient);
    const auto narrow = first_update(
        gradient.to(torch::kFloat32),
        MuonOptions().ns_precision(MuonPrecision::kBFloat16));
    EXPECT_LT(distance(narrow, exact), 0.06) << columns;
    EXPECT_LT(
        singular_values(narrow).max().item<double>(),
        1.25 * singular_values(exact).max().item<double>());
  }
}

// One long direction beside many that are alike: what a Gram matrix is rounded
// by must not lift those over the 1.27 from which the iteration diverges.
TEST(MuonTiles, StayBoundedInBFloat16) {
  torch::manual_seed(19);
  for (const int64_t rows : {96, 128, 200}) {
    for (const double length : {0.7, 0.8, 0.9, 0.95}) {
      auto values = torch::full(
          {rows},
          std::sqrt((1 - length * length) / static_cast<double>(rows - 1)),
          torch::kFloat64);
      values[0] = length;
      const auto gradient = muon_matrix_of(values, rows, 2 * rows);
      const auto narrow = first_update(
          gradient.to(torch::kFloat32),
          MuonOptions(1).ns_precision(MuonPrecision::kBFloat16));
      EXPECT_LT(distance(narrow, first_update(gradient, MuonOptions(1))), 0.12)
          << rows << ", " << length;
    }
  }
}

// ns_steps may be up to 99.
TEST(MuonTiles, StayBoundedOverManySteps) {
  torch::manual_seed(20);
  const auto gradient = muon_matrix(100, 2, torch::kFloat32)
                            .matmul(muon_matrix(2, 300, torch::kFloat32)) +
                        0.01 * muon_matrix(100, 300, torch::kFloat32);
  for (const auto precision :
       {MuonPrecision::kFull, MuonPrecision::kBFloat16}) {
    for (const auto type : {torch::kFloat32, torch::kFloat64}) {
      for (const int64_t steps : {6, 10, 12, 30, 99}) {
        const auto update = first_update(
            gradient.to(type),
            MuonOptions(1).ns_steps(steps).ns_precision(precision));
        ASSERT_TRUE(update.isfinite().all().item<bool>()) << steps;
        EXPECT_LT(singular_values(update).max().item<double>(), 1.3) << steps;
      }
    }
  }
}

// A negated view is contiguous, and a constant zero has no memory.
TEST(MuonTiles, TakeGradientsThatMemoryDoesNotHold) {
  torch::manual_seed(21);
  const auto gradient = muon_matrix(8, 12, torch::kFloat32);
  const auto step = [](const torch::Tensor& own) {
    const auto x = torch::ones({8, 12}).requires_grad_();
    Muon muon(Tensors{x}, MuonOptions(0.1));
    x.mutable_grad() = own;
    muon.step();
    return x.detach();
  };
  EXPECT_LT(largest(step(at::_neg_view(gradient)) - step(-gradient)), 1e-5);
  const auto zero = at::_efficientzerotensor({8, 12}, torch::kFloat32);
  EXPECT_TRUE(torch::equal(step(zero), torch::ones({8, 12})));
}

TEST(MuonTiles, AnyNumberOfThreadsGivesTheSameBits) {
  if (!detail::has_tiled_newton_schulz(torch::kBFloat16)) {
    GTEST_SKIP() << "products are the library's only with AVX512-BF16";
  }
  const int threads = at::get_num_threads();
  for (const auto precision :
       {MuonPrecision::kFull, MuonPrecision::kBFloat16}) {
    std::vector<Tensors> got;
    // All at once, so that each thread has its own, and one by one.
    for (const auto& [number, apart] :
         {std::make_pair(1, false),
          std::make_pair(2, false),
          std::make_pair(2, true)}) {
      at::set_num_threads(number);
      torch::manual_seed(16);
      auto& parameters = got.emplace_back();
      for (int i = 0; i < 5; ++i) {
        auto& own = parameters.emplace_back(
            muon_matrix(70, 600, torch::kFloat32).requires_grad_());
        own.mutable_grad() = muon_matrix(70, 600, torch::kFloat32);
      }
      const auto options = MuonOptions(0.1).ns_precision(precision);
      if (apart) {
        for (const auto& own : parameters) Muon({own}, options).step();
      } else {
        Muon(parameters, options).step();
      }
    }
    at::set_num_threads(threads);
    for (std::size_t i = 0; i < got[0].size(); ++i) {
      EXPECT_TRUE(torch::equal(got[0][i], got[1][i]));
      EXPECT_TRUE(torch::equal(got[0][i], got[2][i]));
    }
  }
}

// Squares of such numbers leave the range of float32.
TEST(MuonTiles, TakeGradientsOfAnySize) {
  torch::manual_seed(17);
  const auto gradient = muon_matrix(40, 90, torch::kFloat32);
  for (const auto precision :
       {MuonPrecision::kFull, MuonPrecision::kBFloat16}) {
    const auto options = MuonOptions(1).ns_eps(0).ns_precision(precision);
    const auto expected = first_update(gradient, options);
    for (const int exponent : {-90, -40, 40, 110}) {
      const auto scaled = gradient * std::ldexp(1.0, exponent);
      EXPECT_LT(largest(first_update(scaled, options) - expected), 1e-5)
          << exponent;
    }
  }
}

// What lies in memory otherwise goes by copies.
TEST(MuonTiles, TakeMatricesThatAreTurnedInMemory) {
  torch::manual_seed(18);
  const auto start = muon_matrix(40, 90, torch::kFloat32);
  const auto gradient = muon_matrix(40, 90, torch::kFloat32);
  Tensors got;
  for (const bool turned : {false, true}) {
    const auto laid = [turned](const torch::Tensor& own) {
      return turned ? own.t().contiguous().t() : own.clone();
    };
    const auto x = laid(start).requires_grad_();
    Muon muon(Tensors{x}, MuonOptions(0.1).weight_decay(0.5));
    for (int step = 0; step < 3; ++step) {
      x.mutable_grad() = laid(gradient + step);
      muon.step();
    }
    got.push_back(x.detach());
  }
  EXPECT_LT(largest(got[0] - got[1]), 1e-5);
}

// A large matrix is stepped by all threads, small ones beside it each by one.
TEST(Muon, StepsLargeMatricesAsIfTheyWereAlone) {
  torch::manual_seed(3);
  std::vector<torch::Tensor> together;
  std::vector<torch::Tensor> gradients;
  for (const auto& [rows, columns] :
       {std::pair(32, 48),
        std::pair(1030, 1026),
        std::pair(48, 32),
        std::pair(16, 16),
        std::pair(8, 80)}) {
    together.push_back(torch::randn({rows, columns}));
    gradients.push_back(torch::randn({rows, columns}));
  }
  std::vector<torch::Tensor> alone;
  for (std::size_t i = 0; i < together.size(); ++i) {
    alone.push_back(together[i].clone());
    alone[i].mutable_grad() = gradients[i].clone();
    together[i].mutable_grad() = gradients[i].clone();
    Muon({alone[i]}, MuonOptions(0.1).ns_steps(2)).step();
  }
  Muon(together, MuonOptions(0.1).ns_steps(2)).step();
  for (std::size_t i = 0; i < together.size(); ++i) {
    EXPECT_LT(largest(together[i] - alone[i]), 1e-6) << i;
  }
}

}  // namespace
}  // namespace stepsize::test
