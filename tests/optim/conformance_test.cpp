#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/support/leaf.h"
#include "tests/support/own_optimizers.h"
#include "tests/support/signum.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;
using torch::optim::OptimizerParamGroup;

// What every optimizer of the room must do, one row each.
struct Row {
  std::string name;
  // Of a group with rate `second_lr` besides the one of the defaults.
  std::function<std::unique_ptr<IndexedOptimizer>(
      const std::vector<OptimizerParamGroup>& groups)>
      make;
  std::function<std::unique_ptr<torch::optim::OptimizerOptions>(double lr)>
      options;
  // Updates that suffice on the problems below.
  int quadratic_steps = 0;
  int rosenbrock_steps = 0;
  double rosenbrock_lr = 0.02;
};

// What calls backward itself has a test of its own.
std::vector<Row> rows() {
  std::vector<Row> all;
  const auto add = [&all](const auto& own) {
    using Own = std::decay_t<decltype(own)>;
    using Optimizer = typename Own::Optimizer;
    using Options = typename Own::Options;
    if (own.options.traits().wants_graph()) return;
    all.push_back(
        {own.name,
         [options =
              own.options](const std::vector<OptimizerParamGroup>& groups) {
           return std::make_unique<Optimizer>(groups, options);
         },
         [options = own.options](double lr) {
           auto other = std::make_unique<Options>(options);
           other->set_lr(lr);
           return other;
         },
         own.quadratic_steps,
         own.rosenbrock_steps,
         own.rosenbrock_lr});
  };
  for_each_own_optimizer(add);
  // A user's, as docs/your_own_optimizer.md has it.
  add(OwnOptimizer<Signum, SignumOptions>{
      "Signum", SignumOptions(0.02), 4000, 5000});
  return all;
}

class Conformance : public testing::TestWithParam<Row> {
 protected:
  std::unique_ptr<IndexedOptimizer> make(
      const std::vector<torch::Tensor>& parameters) {
    return GetParam().make({OptimizerParamGroup(parameters)});
  }
};

TEST_P(Conformance, FindsTheMinimumOfAQuadratic) {
  auto x = leaf({3, -2, 1});
  const auto curvature = torch::tensor({1.0, 10.0, 40.0}, torch::kFloat64);
  const auto optimizer = make({x});
  auto& options = optimizer->param_groups()[0].options();
  // A step along signs is as long as its rate: it comes to rest with that, here
  // at 2e-9.
  const bool rate_falls =
      find_traits(*optimizer)->gradient() == GradientUse::kTakesSigns;
  const int steps = GetParam().quadratic_steps;
  for (int step = 0; step < steps; ++step) {
    if (rate_falls) {
      options.set_lr(0.02 * std::pow(1e-7, static_cast<double>(step) / steps));
    }
    optimizer->step([&] {
      optimizer->zero_grad();
      const auto loss = (curvature * (x - 1).square()).sum() / 2;
      loss.backward();
      return loss;
    });
  }
  EXPECT_LE((x - 1).abs().max().item<double>(), 1e-5);
}

TEST_P(Conformance, DescendsRosenbrocksValley) {
  auto x = leaf({-1.2, 1});
  const auto optimizer = make({x});
  torch::Tensor loss;
  for (int step = 0; step < GetParam().rosenbrock_steps; ++step) {
    // The curvature at the minimum is 1001.6, beyond this rate unless it falls.
    const double left =
        1 - static_cast<double>(step) / GetParam().rosenbrock_steps;
    optimizer->param_groups()[0].options().set_lr(
        GetParam().rosenbrock_lr * left);
    loss = optimizer->step([&] {
      optimizer->zero_grad();
      const auto value =
          100 * (x[1] - x[0].square()).square() + (1 - x[0]).square();
      value.backward();
      return value;
    });
  }
  // From 24.2; the valley's floor is below 5.
  EXPECT_LT(loss.item<double>(), 1);
}

// A run of two groups in float32 with a parameter that has no gradient and one
// that lies in memory otherwise.
class TwoGroupRun {
 public:
  explicit TwoGroupRun(const Row& row) {
    torch::manual_seed(5);
    parameters_ = {
        torch::randn({4, 3}, torch::requires_grad()),
        torch::randn({2}, torch::requires_grad()),
        torch::randn({3, 5}).t().requires_grad_(true)};
    std::vector<OptimizerParamGroup> groups;
    groups.emplace_back(
        std::vector<torch::Tensor>{parameters_[0], parameters_[1]});
    groups.emplace_back(
        std::vector<torch::Tensor>{parameters_[2]}, row.options(0.003));
    optimizer_ = row.make(groups);
  }

  void step(int count) {
    for (int i = 0; i < count; ++i) {
      const double phase = 0.1 * static_cast<double>(clock_++);
      for (std::size_t p : {std::size_t{0}, std::size_t{2}}) {
        parameters_[p].mutable_grad() =
            (parameters_[p].detach() * 2 + phase).sin();
      }
      optimizer_->step();
      // The second group's rate moves; the first one's stays.
      optimizer_->param_groups()[1].options().set_lr(0.003 + 0.001 * phase);
    }
  }

  bool operator==(const TwoGroupRun& other) const {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      if (!torch::equal(parameters_[i], other.parameters_[i])) return false;
    }
    return true;
  }

  void copy_parameters(const TwoGroupRun& other) {
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      parameters_[i].copy_(other.parameters_[i]);
    }
    clock_ = other.clock_;
  }

  std::vector<torch::Tensor>& parameters() { return parameters_; }
  IndexedOptimizer& optimizer() { return *optimizer_; }

 private:
  std::vector<torch::Tensor> parameters_;
  std::unique_ptr<IndexedOptimizer> optimizer_;
  int clock_ = 0;
};

TEST_P(Conformance, GoesOnBitForBitAfterALoad) {
  TwoGroupRun whole(GetParam());
  whole.step(37);
  std::stringstream file;
  torch::save(whole.optimizer(), file);
  TwoGroupRun resumed(GetParam());
  resumed.copy_parameters(whole);
  torch::load(resumed.optimizer(), file);
  EXPECT_EQ(
      resumed.optimizer().param_groups()[1].options().get_lr(),
      whole.optimizer().param_groups()[1].options().get_lr());
  whole.step(50);
  resumed.step(50);
  EXPECT_TRUE(whole == resumed);
  // A run that did not load goes another way: the state matters.
  if (GetParam().name != "ClippedSGD") {
    TwoGroupRun forgetful(GetParam());
    forgetful.copy_parameters(whole);
    forgetful.step(5);
    whole.step(5);
    EXPECT_FALSE(whole == forgetful);
  }
}

TEST_P(Conformance, ARefusedLoadChangesNothing) {
  TwoGroupRun run(GetParam());
  run.step(5);
  TwoGroupRun twin(GetParam());
  twin.step(5);
  const auto expect_refused = [&](std::stringstream& file,
                                  const std::string& text) {
    try {
      torch::load(run.optimizer(), file);
      ADD_FAILURE() << "loaded: " << text;
    } catch (const c10::Error& error) {
      EXPECT_THAT(error.what_without_backtrace(), HasSubstr(text));
    }
  };
  {
    std::stringstream file;
    torch::optim::SGD sgd(run.parameters(), 0.1);
    torch::save(sgd, file);
    expect_refused(file, "holds no optimizer of stepsize");
  }
  {
    std::stringstream file;
    auto x = leaf({1});
    torch::save(*make({x}), file);
    expect_refused(file, "1 parameter groups, the optimizer 2");
  }
  {
    std::stringstream file;
    std::vector<OptimizerParamGroup> groups;
    groups.emplace_back(std::vector<torch::Tensor>{leaf({1})});
    groups.emplace_back(std::vector<torch::Tensor>{leaf({1})});
    torch::save(*GetParam().make(groups), file);
    expect_refused(file, "1 parameters in group 0, the optimizer 2");
  }
  if (GetParam().name != "ClippedSGD") {
    std::stringstream file;
    TwoGroupRun other(GetParam());
    const torch::NoGradGuard no_grad;
    other.parameters()[2].set_data(torch::randn({7}));
    other.step(2);
    torch::save(other.optimizer(), file);
    expect_refused(
        file, "of parameter 0 of group 1 of the archive is of shape");
  }
  run.step(20);
  twin.step(20);
  EXPECT_TRUE(run == twin);
}

TEST_P(Conformance, LeavesAParameterWithoutAGradientAlone) {
  TwoGroupRun run(GetParam());
  const auto before = run.parameters()[1].detach().clone();
  run.step(3);
  EXPECT_TRUE(torch::equal(run.parameters()[1], before));
}

TEST_P(Conformance, StepsEachGroupAtItsOwnRate) {
  auto x = leaf({0});
  auto y = leaf({0});
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{x});
  groups.emplace_back(std::vector<torch::Tensor>{y}, GetParam().options(0.002));
  const auto optimizer = GetParam().make(groups);
  x.mutable_grad() = torch::full({1}, 0.25, torch::kFloat64);
  y.mutable_grad() = torch::full({1}, 0.25, torch::kFloat64);
  optimizer->step();
  EXPECT_LT(x.item<double>(), 0);
  EXPECT_NEAR(y.item<double>() / x.item<double>(), 0.1, 1e-12);
}

TEST_P(Conformance, TakesInParametersThatComeLater) {
  auto x = leaf({1});
  auto y = leaf({1});
  auto z = leaf({1});
  const auto optimizer = make({x});
  const auto step = [&] {
    for (auto* parameter : {&x, &y, &z}) {
      parameter->mutable_grad() = torch::full({1}, 0.1, torch::kFloat64);
    }
    optimizer->step();
  };
  step();
  optimizer->add_parameters({y});
  step();
  optimizer->add_param_group(OptimizerParamGroup({z}, GetParam().options(0.2)));
  const double z_before = z.item<double>();
  step();
  EXPECT_LT(y.item<double>(), 1);
  EXPECT_LT(z.item<double>(), z_before);
  EXPECT_EQ(optimizer->param_groups()[1].options().get_lr(), 0.2);
  EXPECT_EQ(optimizer->param_groups()[0].options().get_lr(), 0.02);
}

// In bfloat16, whose numbers lie 1/128 apart at 1: with float32 state the path
// is that of a float32 parameter but for the rounding of each update.
TEST_P(Conformance, StepsAHalfPrecisionParameterAsOneOfFloat32) {
  for (const auto type : {torch::kBFloat16, torch::kHalf}) {
    auto x = torch::tensor({2.0, -1.5, 1.0}, type).requires_grad_(true);
    auto wide = x.detach().to(torch::kFloat32).requires_grad_(true);
    const auto optimizer = make({x});
    const auto reference = make({wide});
    for (int i = 0; i < 40; ++i) {
      x.mutable_grad() = x.detach() * 0.5;
      wide.mutable_grad() = wide.detach() * 0.5;
      optimizer->step();
      reference->step();
    }
    const auto moved = (wide - torch::tensor({2.0, -1.5, 1.0})).abs();
    // Moved far, and within 40 halves of a spacing of 1/128.
    EXPECT_GT(moved.min().item<float>(), 0.2F);
    const auto error = (x.to(torch::kFloat32) - wide).abs().max();
    EXPECT_LT(error.item<float>(), 40.0F / 256);
    std::stringstream file;
    torch::save(*optimizer, file);
    torch::load(*optimizer, file);
  }
}

TEST_P(Conformance, RefusesSparseGradientsAndMovesNothing) {
  auto x = leaf({1, 2});
  auto y = leaf({1, 2});
  const auto optimizer = make({x, y});
  x.mutable_grad() = torch::ones_like(x);
  y.mutable_grad() = torch::ones_like(y).to_sparse();
  EXPECT_THROW(optimizer->step(), c10::Error);
  EXPECT_TRUE(torch::equal(x, leaf({1, 2})));
}

TEST_P(Conformance, SaysWhatItIs) {
  auto x = leaf({1, 2});
  const auto optimizer = make({x});
  const OptimizerTraits* const traits = find_traits(*optimizer);
  ASSERT_NE(traits, nullptr);
  EXPECT_EQ(traits->name(), optimizer->kind());
  EXPECT_NE(traits->gradient(), GradientUse::kUnknown);
  const auto& options = optimizer->param_groups()[0].options();
  EXPECT_EQ(traits->options().get(options, OptionRole::kRate), 0.02);
  x.mutable_grad() = torch::ones_like(x);
  optimizer->step();
  ParameterState state;
  optimizer->state_access()->read(0, 0, state);
  EXPECT_EQ(state.tensors.size(), traits->state().size());
}

// An option that the list forgets is neither saved nor put back.
TEST_P(Conformance, ItsOptionsGoThroughAnArchive) {
  const auto written = GetParam().options(0.25);
  const OptimizerTraits* const traits = find_traits(*written);
  ASSERT_NE(traits, nullptr);
  torch::serialize::OutputArchive output;
  written->serialize(output);
  std::stringstream file;
  output.save_to(file);
  torch::serialize::InputArchive input;
  input.load_from(file);
  const auto read = GetParam().options(0.5);
  read->serialize(input);
  EXPECT_EQ(
      traits->options().describe(*read), traits->options().describe(*written));
}

TEST_P(Conformance, FollowsAScheduler) {
  auto x = leaf({0});
  const auto optimizer = make({x});
  torch::optim::StepLR scheduler(*optimizer, 2, 0.5);
  const double rate = optimizer->param_groups()[0].options().get_lr();
  for (int i = 0; i < 6; ++i) {
    x.mutable_grad() = torch::full({1}, 0.25, torch::kFloat64);
    optimizer->step();
    scheduler.step();
  }
  // LibTorch's own runs a step late.
  EXPECT_EQ(optimizer->param_groups()[0].options().get_lr(), rate / 4);
  const double before = x.item<double>();
  optimizer->param_groups()[0].options().set_lr(0);
  x.mutable_grad() = torch::full({1}, 0.25, torch::kFloat64);
  optimizer->step();
  EXPECT_EQ(x.item<double>(), before);
}

INSTANTIATE_TEST_SUITE_P(
    All, Conformance, testing::ValuesIn(rows()), [](const auto& tested) {
      return tested.param.name;
    });

}  // namespace
}  // namespace stepsize::test
