// What the other optimizers show in their table, of those whose closure returns
// the loss with its graph and that estimate the Hessian's diagonal.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/adaptive/ada_hessian.h>
#include <stepsize/adaptive/sophia_h.h>
#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/archive_bytes.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;
using torch::optim::OptimizerParamGroup;

struct AdaHessianCase {
  using Optimizer = AdaHessian;
  using Options = AdaHessianOptions;
  static Options options() { return Options(0.02); }
  static constexpr char kName[] = "AdaHessian";
  // In the valley, where the curvature of the start is long remembered.
  static constexpr double kValleyRate = 0.5;
};
struct SophiaCase {
  using Optimizer = SophiaH;
  using Options = SophiaHOptions;
  static Options options() { return Options(0.02).weight_decay(0); }
  static constexpr char kName[] = "SophiaH";
  static constexpr double kValleyRate = 0.02;
};

template <typename Case>
class DiagonalHessian : public testing::Test {
 protected:
  using Optimizer = typename Case::Optimizer;
  using Options = typename Case::Options;

  static std::unique_ptr<Optimizer> make(
      const std::vector<torch::Tensor>& parameters, const Options& options) {
    return std::make_unique<Optimizer>(parameters, options);
  }
};

using DiagonalCases = testing::Types<AdaHessianCase, SophiaCase>;
TYPED_TEST_SUITE(DiagonalHessian, DiagonalCases);

TYPED_TEST(DiagonalHessian, FindsTheMinimumOfAQuadratic) {
  auto x = leaf({3, -2, 1});
  const auto curvature = torch::tensor({1.0, 10.0, 40.0}, torch::kFloat64);
  const auto optimizer = this->make({x}, TypeParam::options());
  for (int step = 0; step < 4000; ++step) {
    optimizer->step([&] { return (curvature * (x - 1).square()).sum() / 2; });
  }
  EXPECT_LE((x - 1).abs().max().template item<double>(), 1e-5);
}

TYPED_TEST(DiagonalHessian, DescendsRosenbrocksValley) {
  auto x = leaf({-1.2, 1});
  const auto optimizer = this->make({x}, TypeParam::options().interval(2));
  torch::Tensor loss;
  for (int step = 0; step < 4000; ++step) {
    optimizer->param_groups()[0].options().set_lr(
        TypeParam::kValleyRate * (1 - step / 4000.0));
    loss = optimizer->step([&] {
      return 100 * (x[1] - x[0].square()).square() + (1 - x[0]).square();
    });
  }
  // From 24.2; the valley's floor is below 5.
  EXPECT_LT(loss.template item<double>(), 1);
}

// Two groups, one parameter without a gradient, one laid out otherwise.
template <typename Case>
struct DiagonalRun {
  explicit DiagonalRun(const typename Case::Options& options) {
    torch::manual_seed(5);
    parameters = {
        torch::randn({4, 3}, torch::requires_grad()),
        torch::randn({2}, torch::requires_grad()),
        torch::randn({3, 5}).t().requires_grad_(true)};
    std::vector<OptimizerParamGroup> groups;
    groups.emplace_back(
        std::vector<torch::Tensor>{parameters[0], parameters[1]});
    auto second = options;
    groups.emplace_back(
        std::vector<torch::Tensor>{parameters[2]},
        std::make_unique<typename Case::Options>(second.lr(0.003)));
    optimizer = std::make_unique<typename Case::Optimizer>(groups, options);
  }
  void train(int count) {
    for (int i = 0; i < count; ++i) {
      optimizer->step([&] {
        return torch::mm(parameters[2], parameters[0].t()).sin().sum() +
               parameters[0].square().sum() + parameters[2].square().sum();
      });
    }
  }
  void copy_parameters(const DiagonalRun& other) {
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      parameters[i].copy_(other.parameters[i]);
    }
  }
  bool operator==(const DiagonalRun& other) const {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (!torch::equal(parameters[i], other.parameters[i])) return false;
    }
    return true;
  }
  std::vector<torch::Tensor> parameters;
  std::unique_ptr<typename Case::Optimizer> optimizer;
};

TYPED_TEST(DiagonalHessian, GoesOnBitForBitAfterALoad) {
  for (const int64_t interval : {1, 4}) {
    const auto options = TypeParam::options().interval(interval);
    DiagonalRun<TypeParam> whole(options);
    whole.train(18);
    std::stringstream file;
    torch::save(*whole.optimizer, file);
    DiagonalRun<TypeParam> resumed(options);
    resumed.copy_parameters(whole);
    torch::load(*resumed.optimizer, file);
    EXPECT_EQ(resumed.optimizer->products(), whole.optimizer->products());
    DiagonalRun<TypeParam> forgetful(options);
    forgetful.copy_parameters(whole);
    whole.train(20);
    resumed.train(20);
    forgetful.train(20);
    EXPECT_TRUE(whole == resumed);
    EXPECT_FALSE(whole == forgetful);
  }
}

TYPED_TEST(DiagonalHessian, GoesByItsSeed) {
  DiagonalRun<TypeParam> first(TypeParam::options());
  DiagonalRun<TypeParam> same(TypeParam::options());
  DiagonalRun<TypeParam> other(TypeParam::options().seed(7));
  first.train(5);
  torch::rand({3});
  same.train(5);
  other.train(5);
  EXPECT_TRUE(first == same);
  EXPECT_FALSE(first == other);
}

TYPED_TEST(DiagonalHessian, DrawsNothingFromTheDefaultGenerator) {
  DiagonalRun<TypeParam> run(TypeParam::options());
  torch::manual_seed(11);
  const auto expected = torch::rand({3});
  torch::manual_seed(11);
  run.train(3);
  EXPECT_TRUE(torch::equal(torch::rand({3}), expected));
}

TYPED_TEST(DiagonalHessian, LeavesAParameterWithoutAGradientAlone) {
  DiagonalRun<TypeParam> run(TypeParam::options());
  const auto before = run.parameters[1].detach().clone();
  run.train(12);
  EXPECT_TRUE(torch::equal(run.parameters[1], before));
}

TYPED_TEST(DiagonalHessian, StepsEachGroupAtItsOwnRate) {
  auto x = leaf({0});
  auto y = leaf({0});
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{x});
  groups.emplace_back(
      std::vector<torch::Tensor>{y},
      std::make_unique<typename TypeParam::Options>(
          TypeParam::options().lr(0.002)));
  typename TypeParam::Optimizer optimizer(groups, TypeParam::options());
  optimizer.step(
      [&] { return (x + 2).square().sum() + (y + 2).square().sum(); });
  EXPECT_LT(x.template item<double>(), 0);
  EXPECT_NEAR(
      y.template item<double>() / x.template item<double>(), 0.1, 1e-12);
}

TYPED_TEST(DiagonalHessian, StopsAtARateOfZero) {
  auto x = leaf({1, 1});
  const auto optimizer = this->make({x}, TypeParam::options());
  const auto loss = [&] { return 20 * x.square().sum(); };
  optimizer->step(loss);
  const auto before = x.detach().clone();
  EXPECT_LT(x[0].template item<double>(), 1);
  optimizer->param_groups()[0].options().set_lr(0);
  optimizer->step(loss);
  EXPECT_TRUE(torch::equal(x, before));
}

TYPED_TEST(DiagonalHessian, CallsTheClosureOnceAndMultipliesOnceAnInterval) {
  torch::manual_seed(3);
  torch::nn::BatchNorm1d norm(3);
  const auto inputs = torch::randn({8, 3});
  const auto optimizer =
      this->make(norm->parameters(), TypeParam::options().interval(3));
  std::vector<int64_t> products;
  for (int step = 0; step < 7; ++step) {
    optimizer->step([&] { return norm->forward(inputs).pow(4).sum(); });
    products.push_back(optimizer->products());
  }
  EXPECT_EQ(norm->num_batches_tracked.template item<int64_t>(), 7);
  EXPECT_EQ(products, (std::vector<int64_t>{1, 1, 1, 2, 2, 2, 3}));
  EXPECT_FALSE(norm->weight.grad().defined());
}

TYPED_TEST(DiagonalHessian, BeginsANewParameterWithTheNextProduct) {
  auto x = leaf({1});
  auto y = leaf({1});
  const auto optimizer = this->make({x}, TypeParam::options().interval(3));
  const auto step = [&] {
    optimizer->step([&] { return x.square().sum() + 2 * y.square().sum(); });
  };
  step();
  optimizer->add_parameters({y});
  step();
  step();
  EXPECT_EQ(y.template item<double>(), 1);
  step();
  EXPECT_LT(y.template item<double>(), 1);
  EXPECT_EQ(optimizer->products(), 2);
}

TYPED_TEST(DiagonalHessian, LeavesOutAndCountsWhatIsNotFinite) {
  auto x = leaf({1, 2});
  const auto optimizer = this->make({x}, TypeParam::options().interval(1));
  const auto good = [](const torch::Tensor& w) { return w.pow(4).sum(); };
  optimizer->step([&] { return good(x); });
  const auto before = x.detach().clone();
  // The loss, the gradient, and the curvature alone: of |w - 1|^1.5 at 1.
  optimizer->step([&] { return good(x) * kNaN; });
  optimizer->step([&] { return (x - before).abs().sqrt().sum(); });
  optimizer->step(
      [&] { return x.square().sum() + (x - before).pow(1.5).sum(); });
  EXPECT_EQ(optimizer->products(), 2);
  EXPECT_TRUE(torch::equal(x, before));
  EXPECT_EQ(optimizer->skipped_steps(), 3);
  EXPECT_EQ(find_traits(*optimizer)->skipped_steps()(*optimizer), 3);
  std::stringstream file;
  torch::save(*optimizer, file);
  auto other = leaf({1, 2});
  const auto loaded = this->make({other}, TypeParam::options());
  torch::load(*loaded, file);
  EXPECT_EQ(loaded->skipped_steps(), 3);
}

TYPED_TEST(DiagonalHessian, RefusesAClosureThatCallsBackwardOrIsNone) {
  auto x = leaf({1, 2});
  const auto optimizer = this->make({x}, TypeParam::options());
  EXPECT_THAT(
      message_of([&] { optimizer->step(); }),
      HasSubstr("wants a closure that returns the loss with its graph"));
  EXPECT_THAT(
      message_of([&] {
        optimizer->step([&] {
          auto loss = x.square().sum();
          loss.backward();
          return loss;
        });
      }),
      HasSubstr("must not call backward()"));
  EXPECT_THAT(
      message_of(
          [&] { optimizer->step([&] { return x.detach().square().sum(); }); }),
      HasSubstr("a scalar with its graph"));
  EXPECT_TRUE(torch::equal(x, leaf({1, 2})));
  EXPECT_EQ(optimizer->products(), 0);
}

TYPED_TEST(DiagonalHessian, RefusesSparseGradientsAndMovesNothing) {
  auto x = leaf({1, 2});
  auto table = torch::ones({3, 2}, torch::kFloat64).requires_grad_(true);
  const auto optimizer = this->make({x, table}, TypeParam::options());
  const auto chosen = torch::tensor({1});
  EXPECT_EQ(
      message_of([&] {
        optimizer->step([&] {
          return torch::embedding(
                     table, chosen, /*padding_idx=*/-1, false, /*sparse=*/true)
                     .square()
                     .sum() +
                 x.square().sum();
        });
      }),
      std::string(TypeParam::kName) +
          ": gradients must be dense; parameter 1 of group 0 has one of layout "
          "Sparse");
  EXPECT_TRUE(torch::equal(x, leaf({1, 2})));
}

TYPED_TEST(DiagonalHessian, RefusesIntervalsThatDifferAmongGroups) {
  typename TypeParam::Optimizer optimizer({leaf({1})}, TypeParam::options());
  EXPECT_THAT(
      message_of([&] {
        optimizer.add_param_group(OptimizerParamGroup(
            {leaf({2})},
            std::make_unique<typename TypeParam::Options>(
                TypeParam::options().interval(3))));
      }),
      HasSubstr("interval"));
}

TYPED_TEST(DiagonalHessian, DescendsInHalfPrecision) {
  for (const auto type : {torch::kBFloat16, torch::kHalf}) {
    auto x = torch::tensor({2.0, -1.5}, type).requires_grad_(true);
    const auto optimizer = this->make({x}, TypeParam::options());
    for (int i = 0; i < 400; ++i) {
      optimizer->param_groups()[0].options().set_lr(0.05 * (1 - i / 400.0));
      optimizer->step([&] { return (x * x).sum() * 2; });
    }
    EXPECT_LT(x.to(torch::kFloat32).abs().max().template item<float>(), 0.2F);
    ParameterState state;
    optimizer->state_access()->read(0, 0, state);
    EXPECT_EQ(state.tensors.at(1).scalar_type(), torch::kFloat32);
    std::stringstream file;
    torch::save(*optimizer, file);
    torch::load(*optimizer, file);
  }
}

}  // namespace
}  // namespace stepsize::test
