#include <stepsize/adaptive/prodigy.h>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "csrc/core/archive.h"
#include "csrc/kernels/prodigy_loop.h"
#include "csrc/optim/rollback_point.h"
#include "tests/adaptive/fused_checks.h"
#include "tests/adaptive/optimizer_golden.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using torch::optim::OptimizerParamGroup;

// Its tensor operations, on a CPU.
class ProdigyByOperations : public Prodigy {
 public:
  using Prodigy::step_by_operations;
  using Prodigy::step_whole_by_operations;
};

void expect_prodigy_golden(
    const std::string& name, const ProdigyOptions& options, double slack = 1) {
  expect_follows_golden(
      name,
      [&](const std::vector<torch::Tensor>& parameters) {
        const auto prodigy = std::make_shared<Prodigy>(parameters, options);
        return GoldenRun{
            [prodigy](GoldenProblem& problem) {
              problem.set_gradients();
              prodigy->step();
            },
            [prodigy](const std::string&) { return prodigy->d(); }};
      },
      slack);
}

TEST(Prodigy, HasTheReferencesDefaults) {
  const ProdigyOptions options;
  EXPECT_EQ(options.lr(), 1);
  EXPECT_EQ(options.betas(), std::make_tuple(0.9, 0.999));
  EXPECT_EQ(options.beta3(), 0);
  EXPECT_EQ(options.eps(), 1e-8);
  EXPECT_EQ(options.weight_decay(), 0);
  EXPECT_TRUE(options.decouple());
  EXPECT_FALSE(options.use_bias_correction());
  EXPECT_FALSE(options.safeguard_warmup());
  EXPECT_EQ(options.d0(), 1e-6);
  EXPECT_EQ(options.d_coef(), 1);
  EXPECT_EQ(options.growth_rate(), kInfinity);
  EXPECT_EQ(options.slice_p(), 1);
}

TEST(Prodigy, FollowsTheReference) {
  // p0 - p is small at first, and d grows by what float32 has rounded there.
  expect_prodigy_golden("prodigy", ProdigyOptions().eps(1e-30).d0(1e-3), 5);
}

TEST(Prodigy, FollowsTheReferenceWithAllOptions) {
  expect_prodigy_golden(
      "prodigy_options",
      ProdigyOptions(0.5)
          .betas(std::make_tuple(0.8, 0.99))
          .beta3(0.97)
          .eps(1e-30)
          .weight_decay(0.1)
          .decouple(false)
          .use_bias_correction(true)
          .safeguard_warmup(true)
          .d0(1e-3)
          .d_coef(0.8)
          .growth_rate(1.05));
}

// The float32 numbers differ as without slices.
TEST(Prodigy, FollowsTheReferenceWithSlices) {
  expect_prodigy_golden(
      "prodigy_slices",
      ProdigyOptions().eps(1e-30).d0(1e-3).weight_decay(0.1).slice_p(3),
      5);
}

// Where the elements in between say what their neighbours say, a slice knows
// all there is to know: two parameters whose every second element is alike.
TEST(Prodigy, ASliceOfTwinsEstimatesAsThemAll) {
  auto x = leaf({0, 0, 3, 3, -1, -1, 2});
  auto y = leaf({0, 3, -1, 2});
  Prodigy sliced({x}, ProdigyOptions().slice_p(2).weight_decay(0.1));
  Prodigy whole({y}, ProdigyOptions().weight_decay(0.1));
  const auto twins = torch::tensor({0, 0, 1, 1, 2, 2, 3}, torch::kLong);
  for (int step = 0; step < 60; ++step) {
    y.mutable_grad() = y.detach() - vector_of({1, -2, 4, 2.5});
    x.mutable_grad() = y.grad().index_select(0, twins);
    sliced.step();
    whole.step();
    EXPECT_NEAR(sliced.d(), whole.d(), 1e-13 * whole.d());
    EXPECT_LT(
        fused_difference(
            fused_numbers(x), fused_numbers(y.index_select(0, twins))),
        1e-12);
  }
  EXPECT_GT(whole.d(), 0.1);
  const auto states = fused_states(sliced, 0, 0);
  EXPECT_FALSE(states[2].defined());
  EXPECT_FALSE(states[3].defined());
}

TEST(Prodigy, GivesOneResultWithSlices) {
  expect_fused_alike<Prodigy>(
      ProdigyOptions().d0(0.01).weight_decay(0.1).decouple(false).slice_p(3));
}

TEST(Prodigy, StepsAlikeByTensorOperationsWithSlices) {
  for (const bool decouple : {false, true}) {
    FusedDraws draw;
    auto x = leaf(draw(101));
    auto other = x.detach().clone();
    Prodigy prodigy(
        {x},
        ProdigyOptions().weight_decay(0.1).d0(0.1).slice_p(4).decouple(
            decouple));
    std::vector<torch::Tensor> state(2);
    for (auto& tensor : state) tensor = torch::zeros({101}, torch::kFloat64);
    for (int step = 0; step < 5; ++step) {
      const double d = prodigy.d();
      x.mutable_grad() = draw(101, torch::kFloat64);
      ProdigyByOperations::step_whole_by_operations(
          other,
          x.grad(),
          state,
          {0.9,
           0.999,
           std::sqrt(0.999),
           decouple ? 0 : 0.1,
           decouple ? 1 - 0.1 * d : 1,
           d,
           d * 1e-8,
           d * d / 0.1,
           d});
      prodigy.step();
    }
    EXPECT_LT(fused_difference(fused_numbers(x), fused_numbers(other)), 1e-13);
  }
}

// Every third and every fourth of five elements are two.
TEST(Prodigy, AnotherSliceOfTheSameSizeIsAnotherSlice) {
  auto x = leaf({1, 2, 3, 4, 5});
  Prodigy prodigy({x}, ProdigyOptions().slice_p(3));
  const auto step = [&x](Prodigy& optimizer) {
    x.mutable_grad() = x.detach() - 1;
    optimizer.step();
  };
  const auto set_p = [](Prodigy& optimizer, int64_t p) {
    static_cast<ProdigyOptions&>(optimizer.param_groups()[0].options())
        .slice_p(p);
  };
  const auto refused = [&](Prodigy& optimizer) {
    const auto before = fused_numbers(x);
    EXPECT_NE(
        message_of([&] {
          step(optimizer);
        }).find("slice_p must stay what it was in the first step, got 4"),
        std::string::npos);
    EXPECT_EQ(fused_numbers(x), before);
  };
  step(prodigy);
  set_p(prodigy, 4);
  refused(prodigy);
  std::stringstream file;
  torch::save(prodigy, file);
  Prodigy resumed({x}, ProdigyOptions().slice_p(4));
  torch::load(resumed, file);
  refused(resumed);
  set_p(resumed, 3);
  step(resumed);
}

// Writes as before there were slices, or another p than they were cut by.
class ProdigyOfAnotherFile : public Prodigy {
 public:
  using Prodigy::Prodigy;
  int64_t written_p = 0;  // 0: none

 protected:
  void save_counters(torch::serialize::OutputArchive& archive) const override {
    DistanceAdam::save_counters(archive);
    detail::write_double(archive, "d_max", d());
    if (written_p == 0) return;
    detail::write_int(archive, "slice_p", written_p);
    detail::write_tensors(archive, "slices", find_extra(0, 0)->tensors);
  }
};

TEST(Prodigy, ReadsArchivesFromBeforeThereWereSlices) {
  auto x = leaf({1, 2, 3, 4, 5});
  const auto step = [&x](Prodigy& optimizer) {
    x.mutable_grad() = x.detach() - 1;
    optimizer.step();
  };
  ProdigyOfAnotherFile old({x});
  step(old);
  const auto before = fused_numbers(x);
  std::stringstream file;
  torch::save(old, file);
  step(old);
  const auto after = fused_numbers(x);
  {
    const torch::NoGradGuard no_grad;
    x.copy_(vector_of(before));
  }
  Prodigy resumed({x});
  torch::load(resumed, file);
  step(resumed);
  EXPECT_EQ(fused_numbers(x), after);
  static_cast<ProdigyOptions&>(resumed.param_groups()[0].options()).slice_p(2);
  EXPECT_NE(
      message_of([&] { step(resumed); }).find("slice_p must stay"),
      std::string::npos);
}

// Of eight elements every third are three, every second four.
TEST(Prodigy, RefusesSlicesThatTheirPDoesNotCut) {
  auto x = leaf({1, 2, 3, 4, 5, 6, 7, 8});
  ProdigyOfAnotherFile other({x}, ProdigyOptions().slice_p(3));
  x.mutable_grad() = x.detach() - 1;
  other.step();
  Prodigy resumed({x}, ProdigyOptions().slice_p(3));
  for (const int64_t p : {3, 1, 2}) {
    other.written_p = p;
    std::stringstream file;
    torch::save(other, file);
    const std::string said = message_of([&] { torch::load(resumed, file); });
    EXPECT_EQ(
        said.find("'slices' of the archive do not fit") != std::string::npos,
        p != 3)
        << said;
  }
}

// It comes back with another size, and a file of it is one of that size.
TEST(Prodigy, SlicesOfAParameterThatHasLeftAreGone) {
  auto x = leaf({1, 2, 3, 4, 5, 6, 7, 8});
  auto y = leaf({1, 2});
  Prodigy prodigy({y, x}, ProdigyOptions().slice_p(2));
  for (auto* one : {&x, &y}) one->mutable_grad() = one->detach() - 3;
  prodigy.step();
  auto& parameters = prodigy.param_groups()[0].params();
  parameters.pop_back();
  y.mutable_grad() = torch::Tensor();
  prodigy.step();
  x.set_data(vector_of({1, 2, 3}));
  x.mutable_grad() = torch::Tensor();
  parameters.push_back(x);
  std::stringstream file;
  torch::save(prodigy, file);
  Prodigy resumed({y, x}, ProdigyOptions().slice_p(2));
  torch::load(resumed, file);
  for (auto* one : {&x, &y}) one->mutable_grad() = one->detach() - 3;
  resumed.step();
  EXPECT_GT(resumed.d(), 0);
}

TEST(Prodigy, SlicesStayAsTheyWereCut) {
  auto x = leaf({1, 2, 3, 4, 5});
  Prodigy prodigy({x}, ProdigyOptions().slice_p(2));
  const auto step = [&x](Prodigy& optimizer) {
    x.mutable_grad() = x.detach() - 1;
    optimizer.step();
  };
  step(prodigy);
  std::stringstream file;
  torch::save(prodigy, file);
  const auto before = fused_numbers(x);
  auto& options =
      static_cast<ProdigyOptions&>(prodigy.param_groups()[0].options());
  for (const int64_t p : {1, 3}) {
    options.slice_p(p);
    EXPECT_NE(
        message_of([&] { step(prodigy); })
            .find(
                "Prodigy: slice_p must stay what it was in the first step, "
                "got " +
                std::to_string(p)),
        std::string::npos);
    EXPECT_EQ(fused_numbers(x), before);
  }
  options.slice_p(2);
  step(prodigy);
  const auto after = fused_numbers(x);
  {
    const torch::NoGradGuard no_grad;
    x.copy_(vector_of(before));
  }
  Prodigy whole({x});
  step(whole);
  static_cast<ProdigyOptions&>(whole.param_groups()[0].options()).slice_p(2);
  EXPECT_NE(
      message_of([&] { step(whole); }).find("slice_p must stay"),
      std::string::npos);
  {
    const torch::NoGradGuard no_grad;
    x.copy_(vector_of(before));
  }
  torch::load(whole, file);
  step(whole);
  EXPECT_EQ(fused_numbers(x), after);
  EXPECT_EQ(whole.d(), prodigy.d());
}

// Algorithm 4 of the paper for one group, a coordinate at a time, with the
// factors 1 - beta3 that cancel out.
struct PaperProdigy {
  double lr;
  double beta1;
  double beta2;
  double eps;
  double decay;
  double d;
  std::vector<double> x;
  std::vector<double> start = x;
  std::vector<double> m = std::vector<double>(x.size(), 0.0);
  std::vector<double> v = m;
  std::vector<double> s = m;
  double r = 0;

  void step(const std::vector<double>& g) {
    const double beta3 = std::sqrt(beta2);
    double inner = 0;
    double norm = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      m[i] = beta1 * m[i] + (1 - beta1) * d * g[i];
      v[i] = beta2 * v[i] + (1 - beta2) * d * d * g[i] * g[i];
      inner += g[i] * (start[i] - x[i]);
      s[i] = beta3 * s[i] + (1 - beta3) * lr * d * d * g[i];
      norm += std::abs(s[i]);
      x[i] -= lr * d * (m[i] / (std::sqrt(v[i]) + d * eps) + decay * x[i]);
    }
    r = beta3 * r + (1 - beta3) * lr * d * d * inner;
    d = std::max(d, r / norm);
  }
};

// The paper's eps: large here, so that it counts.
TEST(Prodigy, TakesThePapersPath) {
  FusedDraws draw;
  PaperProdigy paper = {0.7, 0.8, 0.95, 0.1, 0.03, 0.01, draw(1037)};
  auto x = leaf(paper.x);
  Prodigy prodigy(
      {x},
      ProdigyOptions(0.7)
          .betas(std::make_tuple(0.8, 0.95))
          .eps(0.1)
          .weight_decay(0.03)
          .d0(0.01));
  const auto lowest = draw(1037);
  for (int step = 0; step < 30; ++step) {
    std::vector<double> g = draw(1037);
    for (std::size_t i = 0; i < g.size(); ++i) {
      g[i] = 0.1 * g[i] + paper.x[i] - lowest[i];
    }
    x.mutable_grad() = vector_of(g);
    prodigy.step();
    paper.step(g);
    EXPECT_NEAR(prodigy.d(), paper.d, 1e-12 * paper.d);
  }
  EXPECT_GT(paper.d, 0.1);
  EXPECT_LT(fused_difference(fused_numbers(x), paper.x), 1e-12);
}

TEST(Prodigy, StepsAlikeByTensorOperations) {
  const ProdigyOptions options = ProdigyOptions().weight_decay(0.1).d0(0.1);
  for (const bool decouple : {false, true}) {
    for (const auto type : {torch::kFloat64, torch::kBFloat16}) {
      FusedDraws draw;
      auto x = draw(101, type).set_requires_grad(true);
      auto other = x.detach().clone();
      Prodigy prodigy({x}, ProdigyOptions(options).decouple(decouple));
      const auto wide = type == torch::kFloat64 ? type : torch::kFloat32;
      std::vector<torch::Tensor> state(3);
      for (auto& tensor : state) tensor = torch::zeros({101}, wide);
      state.push_back(other.to(wide).clone());
      double r = 0;
      for (int step = 0; step < 5; ++step) {
        const double d = prodigy.d();
        x.mutable_grad() = draw(101, type);
        const detail::ProdigyNumbers numbers = {
            0.9,
            0.999,
            std::sqrt(0.999),
            decouple ? 0 : 0.1,
            decouple ? 1 - 0.1 * d : 1,
            d,
            d * 1e-8,
            d * d / 0.1,
            d};
        const auto sums = ProdigyByOperations::step_by_operations(
            other, x.grad(), state, numbers);
        prodigy.step();
        r = std::sqrt(0.999) * r + d * d / 0.1 * sums[0].item<double>();
        EXPECT_NEAR(
            prodigy.d(),
            std::max(d, r / sums[1].item<double>()),
            type == torch::kFloat64 ? 1e-13 : 1e-4)
            << type;
      }
      const double width = type == torch::kFloat64 ? 1e-13 : 0.02;
      EXPECT_LT(fused_difference(fused_numbers(x), fused_numbers(other)), width)
          << type;
      const auto own = fused_states(prodigy, 0, 0);
      for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_EQ(own[i].scalar_type(), wide);
        EXPECT_LT(
            fused_difference(fused_numbers(own[i]), fused_numbers(state[i])),
            type == torch::kFloat64 ? 1e-13 : 1e-2);
      }
    }
  }
}

TEST(Prodigy, GivesOneResult) {
  expect_fused_alike<Prodigy>(ProdigyOptions().d0(0.01).weight_decay(0.1));
}

// By convexity r is at most <s, p0 - p*>, and that |s|_1 times the largest
// distance of a coordinate.
TEST(Prodigy, EstimatesNoMoreThanTheDistanceOfTheFarthestCoordinate) {
  for (const double lr : {0.3, 1.0}) {
    FusedDraws draw;
    auto x = leaf(draw(40));
    const auto best = draw(40, torch::kFloat64) * 3;
    const auto curvature = 2.01 + 2 * draw(40, torch::kFloat64);
    const double distance = (x - best).abs().max().item<double>();
    Prodigy prodigy({x}, lr);
    EXPECT_EQ(prodigy.d(), 1e-6);
    EXPECT_TRUE(std::isnan(prodigy.last_d()));
    int grown = 0;
    for (int step = 0; step < 300; ++step) {
      const double before = prodigy.d();
      x.mutable_grad() = curvature * (x.detach() - best);
      prodigy.step();
      EXPECT_EQ(prodigy.last_d(), before);
      EXPECT_GE(prodigy.d(), before);
      EXPECT_EQ(prodigy.d_grew(), prodigy.d() > before);
      grown += prodigy.d_grew() ? 1 : 0;
      EXPECT_LE(prodigy.d(), distance * (1 + 1e-12));
    }
    EXPECT_GT(grown, 5);
    EXPECT_GT(prodigy.d(), distance / 20);
    EXPECT_LT((x - best).abs().max().item<double>(), 0.2);
  }
}

TEST(Prodigy, GrowsNoFasterThanItMay) {
  auto x = leaf({0});
  Prodigy prodigy({x}, ProdigyOptions().d0(1e-3).growth_rate(1.5));
  int limited = 0;
  bool first = true;
  for (int step = 0; step < 60; ++step) {
    x.mutable_grad() = x.detach() - 1;
    prodigy.step();
    if (!prodigy.d_grew()) continue;
    // The first growth is free.
    if (!first) {
      EXPECT_LE(prodigy.d(), 1.5 * prodigy.last_d() * (1 + 1e-15));
    }
    first = false;
    limited += prodigy.d() == 1.5 * prodigy.last_d() ? 1 : 0;
  }
  EXPECT_GT(limited, 2);
}

// Half the rate for a group is the same as twice its unit: there s counts half.
TEST(Prodigy, AGroupsRateIsAScaleOfItsParameters) {
  auto x = leaf({0, 0});
  auto y = leaf({0});
  auto scaled = leaf({0, 0, 0});
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{x});
  groups.emplace_back(
      std::vector<torch::Tensor>{y},
      std::make_unique<ProdigyOptions>(ProdigyOptions(0.25).eps(1e-30)));
  Prodigy prodigy(groups, ProdigyOptions(0.5).eps(1e-30));
  Prodigy one({scaled}, ProdigyOptions(0.5).eps(1e-30));
  const auto best = vector_of({1, -2, 3});
  for (int step = 0; step < 100; ++step) {
    x.mutable_grad() = x.detach() - best.slice(0, 0, 2);
    y.mutable_grad() = y.detach() - best.slice(0, 2, 3);
    // The third in units of one half.
    const auto unit = vector_of({1, 1, 0.5});
    scaled.mutable_grad() = unit * (unit * scaled.detach() - best);
    prodigy.step();
    one.step();
    EXPECT_NEAR(prodigy.d(), one.d(), 1e-12 * one.d());
  }
  EXPECT_GT(one.d(), 0.1);
  EXPECT_NEAR(y.item<double>(), 0.5 * scaled[2].item<double>(), 1e-10);
}

TEST(Prodigy, LeavesAGroupAtRateZeroAlone) {
  auto x = leaf({0});
  auto y = leaf({1});
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{x});
  groups.emplace_back(
      std::vector<torch::Tensor>{y},
      std::make_unique<ProdigyOptions>(ProdigyOptions(0).weight_decay(0.5)));
  Prodigy prodigy(groups);
  auto alone = leaf({0});
  Prodigy twin({alone});
  for (int step = 0; step < 20; ++step) {
    x.mutable_grad() = x.detach() - 1;
    y.mutable_grad() = y.detach() + 5;
    alone.mutable_grad() = alone.detach() - 1;
    prodigy.step();
    twin.step();
  }
  EXPECT_EQ(y.item<double>(), 1);
  EXPECT_FALSE(fused_states(prodigy, 1, 0).at(0).defined());
  EXPECT_EQ(prodigy.d(), twin.d());
  EXPECT_EQ(x.item<double>(), alone.item<double>());
}

TEST(Prodigy, AGradientOfZerosTellsNothing) {
  auto x = leaf({1, 2});
  Prodigy prodigy({x});
  x.mutable_grad() = torch::zeros_like(x);
  prodigy.step();
  EXPECT_EQ(prodigy.d(), 1e-6);
  EXPECT_EQ(fused_numbers(x), (std::vector<double>{1, 2}));
}

TEST(Prodigy, ShowsANaNAndKeepsItsEstimate) {
  auto x = leaf({1, 1});
  Prodigy prodigy({x}, ProdigyOptions().d0(0.1));
  x.mutable_grad() = vector_of({1, kNaN});
  prodigy.step();
  EXPECT_TRUE(std::isnan(x[1].item<double>()));
  EXPECT_FALSE(std::isnan(x[0].item<double>()));
  EXPECT_EQ(prodigy.d(), 0.1);
  std::stringstream file;
  torch::save(prodigy, file);
  torch::load(prodigy, file);
  EXPECT_EQ(prodigy.d(), 0.1);
}

TEST(Prodigy, ALoadBringsTheEstimateBack) {
  auto x = leaf({0, 0});
  const auto train = [&x](Prodigy& prodigy) {
    for (int step = 0; step < 30; ++step) {
      x.mutable_grad() = x.detach() - vector_of({1, -2});
      prodigy.step();
    }
  };
  Prodigy prodigy({x});
  train(prodigy);
  std::stringstream file;
  torch::save(prodigy, file);
  Prodigy other({x});
  torch::load(other, file);
  EXPECT_GT(other.d(), 1e-3);
  EXPECT_EQ(other.d(), prodigy.d());
  EXPECT_EQ(other.last_d(), prodigy.last_d());
  // One that has not stepped goes by d0, which may still be set.
  std::stringstream fresh;
  torch::save(Prodigy({x}), fresh);
  torch::load(other, fresh);
  EXPECT_EQ(other.d(), 1e-6);
  EXPECT_TRUE(std::isnan(other.last_d()));
}

// An estimate that stayed where a step that went wrong has put it would never
// come down again.
TEST(Prodigy, ARollbackTakesItsEstimateBack) {
  auto x = leaf({1, -2});
  Prodigy prodigy({x}, ProdigyOptions(1).d0(1e-3));
  const auto step = [&](double scale) {
    x.mutable_grad() = x.detach() * scale;
    prodigy.step();
  };
  for (int i = 0; i < 5; ++i) step(1);
  const double before = prodigy.d();
  const auto at = x.detach().clone();
  detail::RollbackPoint point(prodigy, prodigy.state_access());
  point.keep({}, /*with_gradients=*/false);
  for (int i = 0; i < 40; ++i) step(-1);
  EXPECT_GT(prodigy.d(), before);
  const torch::NoGradGuard no_grad;
  point.restore_parameters();
  point.restore_state();
  EXPECT_EQ(prodigy.d(), before);
  EXPECT_TRUE(torch::equal(x, at));
}

TEST(Prodigy, WantsOneFirstBetaInAllGroups) {
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{leaf({1})});
  groups.emplace_back(
      std::vector<torch::Tensor>{leaf({1})},
      std::make_unique<ProdigyOptions>(
          ProdigyOptions().betas(std::make_tuple(0.5, 0.999))));
  EXPECT_THROW(Prodigy(groups, ProdigyOptions()), c10::Error);
}

}  // namespace
}  // namespace stepsize::test
