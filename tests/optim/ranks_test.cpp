// What the optimizers do where several ranks train one model.

#include <gmock/gmock.h>
#include <stepsize/curvature/averaged_vector_policy.h>
#include <stepsize/curvature/edge_policy.h>
#include <stepsize/curvature/polyak_policy.h>
#include <stepsize/curvature/secant_policy.h>
#include <stepsize/curvature/sharpness_policy.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/gradient_norm_rollback.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <cmath>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/support/archive_bytes.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"
#include "tests/support/rank_problem.h"
#include "tests/support/ranks.h"

namespace stepsize {
namespace {

using test::kNaN;
using test::leaf;
using test::message_of;
using test::on_ranks;
using test::RankProblem;
using test::run_ranks;
using testing::HasSubstr;

using Ranks = std::shared_ptr<Reduction>;
using Closure = torch::optim::Optimizer::LossClosure;

// Losses of a run, and where it ended.
struct RankRun {
  std::vector<double> losses;
  torch::Tensor point;
  int64_t events = 0;  // clipped steps, rollbacks or products
};

// Makes one run on this rank's share of the examples; no ranks: on all.
using RankTraining = std::function<RankRun(const Ranks& ranks)>;

void expect_ranks_like_one(const RankTraining& training) {
  const RankRun one = training(nullptr);
  const auto two = on_ranks<RankRun>(2, training);
  EXPECT_GT(one.events, 0);
  for (const RankRun& run : two) {
    EXPECT_EQ(run.events, one.events);
    ASSERT_EQ(run.losses.size(), one.losses.size());
    for (std::size_t i = 0; i < run.losses.size(); ++i) {
      EXPECT_NEAR(run.losses[i], one.losses[i], 1e-9) << i;
    }
    EXPECT_LT((run.point - one.point).abs().max().item<double>(), 1e-9);
  }
  EXPECT_TRUE(two[0].point.equal(two[1].point));
  EXPECT_EQ(two[0].losses, two[1].losses);
}

// The loss of this rank's half of the examples.
torch::Tensor own_loss(
    const RankProblem& problem, const Ranks& ranks, int64_t count = 8) {
  if (ranks == nullptr) return problem.loss(0, count);
  const int64_t share = count / ranks->world_size();
  return problem.loss(share * ranks->rank(), share);
}

torch::Tensor with_backward(
    RankProblem& problem, const Ranks& ranks, int64_t count = 8) {
  problem.clear_gradients();
  auto loss = own_loss(problem, ranks, count);
  loss.backward();
  return loss;
}

TEST(OptimizerRanks, ClipTheMeanOfTheGradients) {
  expect_ranks_like_one([](const Ranks& ranks) {
    RankProblem problem;
    ClippedSGD optimizer(
        problem.parameters(),
        ClippedSGDOptions(0.5).momentum(0.9).max_norm(0.2));
    optimizer.set_reduction(ranks);
    RankRun run;
    for (int i = 0; i < 30; ++i) {
      const auto loss =
          optimizer.step([&] { return with_backward(problem, ranks); });
      run.losses.push_back(loss.item<double>());
    }
    run.events = optimizer.clipped_steps();
    run.point = problem.point();
    return run;
  });
}

TEST(OptimizerRanks, AverageGradientsThatAreThereWithoutAClosure) {
  expect_ranks_like_one([](const Ranks& ranks) {
    RankProblem problem;
    ClippedAdamW optimizer(
        problem.parameters(), ClippedAdamWOptions(0.02).max_norm(0.1));
    optimizer.set_reduction(ranks);
    RankRun run;
    for (int i = 0; i < 30; ++i) {
      with_backward(problem, ranks);
      EXPECT_FALSE(optimizer.step().defined());
      run.losses.push_back(optimizer.last_grad_norm());
    }
    run.events = optimizer.clipped_steps();
    run.point = problem.point();
    return run;
  });
}

// What step() says where the second rank has other options than the first.
template <typename Optimizer, typename Options>
std::vector<std::string> refusals(const Options& first, const Options& second) {
  return on_ranks<std::string>(2, [&](const Ranks& ranks) {
    RankProblem problem;
    const auto before = problem.point();
    Optimizer optimizer(
        problem.parameters(), ranks->rank() == 0 ? first : second);
    optimizer.set_reduction(ranks);
    const std::string message = message_of([&] {
      optimizer.step([&] {
        problem.clear_gradients();
        auto loss = own_loss(problem, ranks);
        if (!find_traits(optimizer)->wants_graph()) loss.backward();
        return loss;
      });
    });
    EXPECT_TRUE(problem.point().equal(before));
    return message;
  });
}

void expect_both(
    const std::vector<std::string>& messages, const std::string& text) {
  ASSERT_EQ(messages.size(), 2U);
  for (const std::string& message : messages) {
    EXPECT_THAT(message, HasSubstr("rank 1: " + text));
  }
}

TEST(OptimizerRanks, MustHaveTheSameOptionsOfEveryKind) {
  using SGD = ClippedSGDOptions;
  expect_both(
      refusals<ClippedSGD>(SGD(0.1).momentum(0.9), SGD(0.1).momentum(0.8)),
      "momentum of group 0 is 0.8, rank 0 has 0.9");
  expect_both(
      refusals<ClippedSGD>(SGD(0.1), SGD(0.1).maximize(true)),
      "maximize of group 0 is 1, rank 0 has 0");
  expect_both(
      refusals<ClippedSGD>(
          SGD(0.1), SGD(0.1).norm_type(NormType::kInfinity).max_norm(2)),
      "max_norm of group 0 is 2, rank 0 has 1; norm_type of group 0 is 1");
  expect_both(
      refusals<ClippedAdamW>(
          ClippedAdamWOptions(), ClippedAdamWOptions().betas({0.9, 0.99})),
      "beta2 of group 0 is 0.99, rank 0 has 0.999");
  expect_both(
      refusals<RollbackSGD>(
          RollbackSGDOptions(0.1),
          RollbackSGDOptions(0.1).rollback(RollbackOptions().window(5))),
      "window of group 0 is 5, rank 0 has 10");
  expect_both(
      refusals<PowerMethodSGD>(
          PowerMethodSGDOptions(),
          PowerMethodSGDOptions().tracker(
              SharpnessTrackerOptions().safety(0.25))),
      "safety of group 0 is 0.25, rank 0 has 0.5");
}

// Each policy, so that every kind of measurement is averaged.
std::vector<std::unique_ptr<StepSizePolicy>> policies() {
  std::vector<std::unique_ptr<StepSizePolicy>> all;
  all.push_back(std::make_unique<EdgePolicy>());
  all.push_back(std::make_unique<SecantPolicy>());
  all.push_back(std::make_unique<PolyakPolicy>());
  all.push_back(std::make_unique<AveragedVectorPolicy>());
  all.push_back(std::make_unique<SharpnessPolicy>());
  return all;
}

TEST(OptimizerRanks, MeasureTheMeanLossForAPolicy) {
  for (const auto& policy : policies()) {
    SCOPED_TRACE(policy->name());
    expect_ranks_like_one([&](const Ranks& ranks) {
      RankProblem problem;
      AutoSGD optimizer(
          problem.parameters(), AutoSGDOptions().weight_decay(0.01), *policy);
      optimizer.set_reduction(ranks);
      RankRun run;
      for (int i = 0; i < 30; ++i) {
        run.losses.push_back(
            optimizer.step([&] { return own_loss(problem, ranks); })
                .item<double>());
        run.losses.push_back(optimizer.current_lr());
      }
      run.events = 1 + optimizer.extra_losses() + optimizer.extra_gradients();
      run.point = problem.point();
      return run;
    });
  }
}

TEST(OptimizerRanks, MustHaveTheSamePolicy) {
  const auto messages = on_ranks<std::string>(2, [](const Ranks& ranks) {
    RankProblem problem;
    AutoSGD optimizer(
        problem.parameters(),
        AutoSGDOptions(),
        EdgePolicy(EdgePolicyOptions().safety(ranks->rank() == 0 ? 0.9 : 0.5)));
    optimizer.set_reduction(ranks);
    return message_of(
        [&] { optimizer.step([&] { return own_loss(problem, ranks); }); });
  });
  expect_both(messages, "EdgePolicy's safety is 0.5, rank 0 has 0.9");
}

// Curvatures that rounding hides on one rank would show on the other.
TEST(OptimizerRanks, MustHaveALossOfTheSameType) {
  const auto messages_of = [](auto make) {
    return on_ranks<std::string>(2, [&](const Ranks& ranks) {
      RankProblem problem;
      const auto before = problem.point();
      auto optimizer = make(problem);
      optimizer.set_reduction(ranks);
      const auto step = [&](at::ScalarType other) {
        return message_of([&] {
          optimizer.step([&] {
            const auto loss = own_loss(problem, ranks);
            return ranks->rank() == 0 ? loss : loss.to(other);
          });
        });
      };
      const std::string message = step(at::kFloat);
      EXPECT_TRUE(problem.point().equal(before));
      EXPECT_EQ(step(at::kDouble), "nothing was thrown");
      return message;
    });
  };
  const std::string text = "the loss' width in bits is 32, rank 0 has 64";
  expect_both(
      messages_of([](const RankProblem& problem) {
        return AutoSGD(problem.parameters());
      }),
      text);
  expect_both(
      messages_of([](const RankProblem& problem) {
        return PowerMethodSGD(problem.parameters());
      }),
      text);
}

// In a measurement: the first call of the closure is the update's own.
TEST(OptimizerRanks, AllThrowWhereAProbeOfOneDoes) {
  const auto messages = on_ranks<std::string>(2, [](const Ranks& ranks) {
    RankProblem problem;
    const auto before = problem.point();
    AutoSGD optimizer(problem.parameters());
    optimizer.set_reduction(ranks);
    int calls = 0;
    const std::string message = message_of([&] {
      optimizer.step([&] {
        TORCH_CHECK(ranks->rank() == 0 || ++calls < 2, "no second loss");
        return own_loss(problem, ranks);
      });
    });
    EXPECT_TRUE(problem.point().equal(before));
    return message;
  });
  EXPECT_THAT(messages[0], HasSubstr("rank 1"));
  EXPECT_THAT(messages[1], HasSubstr("no second loss"));
}

// A scheduler that is another one on this rank, say.
TEST(OptimizerRanks, FindOptionsThatChangeLater) {
  const auto messages = on_ranks<std::string>(2, [](const Ranks& ranks) {
    RankProblem problem;
    ClippedSGD optimizer(
        problem.parameters(), ClippedSGDOptions(0.1).momentum(0.9));
    optimizer.set_reduction(ranks);
    const auto step = [&] {
      optimizer.step([&] { return with_backward(problem, ranks); });
    };
    step();
    step();
    auto& options =
        static_cast<ClippedSGDOptions&>(optimizer.param_groups()[0].options());
    // Alike on all ranks, it may change.
    options.momentum(0.85);
    step();
    if (ranks->rank() == 1) options.weight_decay(0.5);
    return message_of(step);
  });
  expect_both(messages, "weight_decay of group 0 is 0.5, rank 0 has 0");
}

// Twenty steps, of which one is far too long.
template <typename Step>
RankRun with_a_bad_step(const Step& step, torch::optim::Optimizer& optimizer) {
  RankRun run;
  for (int i = 0; i < 20; ++i) {
    optimizer.param_groups()[0].options().set_lr(i == 14 ? 30 : 0.1);
    run.losses.push_back(step().template item<double>());
  }
  return run;
}

TEST(OptimizerRanks, GoBackTogether) {
  expect_ranks_like_one([](const Ranks& ranks) {
    RankProblem problem;
    RollbackSGD optimizer(
        problem.parameters(), RollbackSGDOptions(0.1).momentum(0.5));
    optimizer.set_reduction(ranks);
    RankRun run = with_a_bad_step(
        [&] {
          return optimizer.step([&] { return with_backward(problem, ranks); });
        },
        optimizer);
    run.events = optimizer.rollbacks();
    run.point = problem.point();
    return run;
  });
}

TEST(OptimizerRanks, GuardAnotherOptimizerTogether) {
  expect_ranks_like_one([](const Ranks& ranks) {
    RankProblem problem;
    torch::optim::SGD optimizer(
        problem.parameters(), torch::optim::SGDOptions(0.1).momentum(0.5));
    GradientNormRollback guard(optimizer);
    guard.set_reduction(ranks);
    RankRun run = with_a_bad_step(
        [&] {
          return guard.step([&] { return with_backward(problem, ranks); });
        },
        optimizer);
    run.events = guard.rollbacks();
    run.point = problem.point();
    return run;
  });
}

TEST(OptimizerRanks, AreGuardedByTheReductionOfTheOptimizer) {
  expect_ranks_like_one([](const Ranks& ranks) {
    RankProblem problem;
    ClippedSGD optimizer(
        problem.parameters(),
        ClippedSGDOptions(0.1).momentum(0.5).max_norm(1e6));
    optimizer.set_reduction(ranks);
    GradientNormRollback guard(optimizer);
    RankRun run = with_a_bad_step(
        [&] {
          return guard.step([&] { return with_backward(problem, ranks); });
        },
        optimizer);
    run.events = guard.rollbacks();
    run.point = problem.point();
    return run;
  });
}

RankTraining power_training(HessianMethod method) {
  return [method](const Ranks& ranks) {
    RankProblem problem;
    PowerMethodSGD optimizer(
        problem.parameters(),
        PowerMethodSGDOptions().momentum(0.5).method(method));
    optimizer.set_reduction(ranks);
    RankRun run;
    for (int i = 0; i < 15; ++i) {
      const auto loss =
          optimizer.step([&] { return own_loss(problem, ranks); });
      run.losses.push_back(loss.item<double>());
      run.losses.push_back(optimizer.sharpness());
    }
    run.events = optimizer.products();
    run.point = problem.point();
    return run;
  };
}

TEST(OptimizerRanks, MeasureTheSharpnessOfTheMeanLoss) {
  expect_ranks_like_one(power_training(HessianMethod::kExact));
}

TEST(OptimizerRanks, FindTheLargestEigenvalueOfTheMeanLoss) {
  const double expected =
      at::linalg_eigvalsh(RankProblem().hessian()).abs().max().item<double>();
  for (const auto method :
       {HessianMethod::kExact, HessianMethod::kCentralDifference}) {
    const auto found = on_ranks<double>(2, [&](const Ranks& ranks) {
      RankProblem problem;
      PowerMethodSGD optimizer(
          problem.parameters(),
          PowerMethodSGDOptions().method(method).start_products(100));
      optimizer.set_reduction(ranks);
      optimizer.step([&] { return own_loss(problem, ranks); });
      return optimizer.sharpness();
    });
    EXPECT_EQ(found[0], found[1]);
    // The second eigenvalue is so far below that the start is forgotten.
    EXPECT_NEAR(found[0], expected, 1e-6 * expected);
  }
}

TEST(OptimizerRanks, MeasureItByCentralDifferences) {
  const auto training = power_training(HessianMethod::kCentralDifference);
  const RankRun one = training(nullptr);
  const auto two = on_ranks<RankRun>(2, training);
  EXPECT_TRUE(two[0].point.equal(two[1].point));
  EXPECT_EQ(two[0].losses, two[1].losses);
  // A difference has an error of its own, some 1e-8 of the curvature.
  EXPECT_LT((two[0].point - one.point).abs().max().item<double>(), 1e-5);
}

// The identity, with a backward pass that leaves the graph.
struct WithoutGraph : torch::autograd::Function<WithoutGraph> {
  static torch::Tensor forward(
      torch::autograd::AutogradContext* /*context*/,
      const torch::Tensor& input) {
    return input.clone();
  }
  static torch::autograd::variable_list backward(
      torch::autograd::AutogradContext* /*context*/,
      const torch::autograd::variable_list& gradients) {
    return {gradients[0].detach()};
  }
};

TEST(OptimizerRanks, UseDifferencesWhereOneOfThemMust) {
  run_ranks(2, [](const Ranks& ranks) {
    // (w - 1)^2 on one rank and 4 w on the other: the mean has curvature 1.
    const auto weight = leaf({3});
    PowerMethodSGD optimizer(
        std::vector<at::Tensor>{weight}, PowerMethodSGDOptions());
    optimizer.set_reduction(ranks);
    optimizer.step([&] {
      return ranks->rank() == 0 ? (weight - 1).square().sum()
                                : WithoutGraph::apply(weight.mul(4.0)).sum();
    });
    EXPECT_EQ(optimizer.method(), HessianMethod::kFiniteDifference);
    EXPECT_THAT(optimizer.fallback_reason(), HasSubstr("no graph"));
    EXPECT_NEAR(optimizer.sharpness(), 1, 1e-5);
  });
}

TEST(OptimizerRanks, StartThePowerMethodFromTheFirstOnesVector) {
  const auto rates = on_ranks<double>(2, [](const Ranks& ranks) {
    RankProblem problem;
    PowerMethodSGD optimizer(
        problem.parameters(),
        PowerMethodSGDOptions().seed(ranks->rank()).start_products(1));
    optimizer.set_reduction(ranks);
    optimizer.step([&] { return own_loss(problem, ranks); });
    return optimizer.current_lr();
  });
  EXPECT_EQ(rates[0], rates[1]);
  EXPECT_GT(rates[0], 0);
}

TEST(OptimizerRanks, RollAllBackWhereOneSeesANaN) {
  const auto points = on_ranks<torch::Tensor>(2, [](const Ranks& ranks) {
    const auto weight = leaf({1});
    RollbackSGD optimizer(
        std::vector<at::Tensor>{weight}, RollbackSGDOptions(0.1));
    optimizer.set_reduction(ranks);
    // Rank 1 overflows where the weight is large, rank 0 never does.
    const Closure closure = [&] {
      weight.mutable_grad().reset();
      auto loss = weight.square().sum();
      loss.backward();
      const bool overflows = ranks->rank() == 1 && weight.item<double>() > 10;
      return overflows ? loss * kNaN : loss;
    };
    for (int i = 0; i < 5; ++i) optimizer.step(closure);
    EXPECT_EQ(optimizer.rollbacks(), 0);
    const double before = weight.item<double>();
    {
      const torch::NoGradGuard no_grad;
      weight.fill_(100);
    }
    optimizer.step(closure);
    EXPECT_EQ(optimizer.rollbacks(), 1) << ranks->rank();
    EXPECT_EQ(optimizer.last_status(), RollbackStatus::kRolledBack);
    // From the last point, half as far as the last update went.
    EXPECT_NEAR(weight.item<double>(), before / 0.8 * 0.9, 1e-12);
    return weight.detach().clone();
  });
  EXPECT_TRUE(points[0].equal(points[1]));
}

TEST(OptimizerRanks, LeaveAStepOutWhereOneGradientIsNotFinite) {
  run_ranks(2, [](const Ranks& ranks) {
    const auto weight = leaf({2});
    const auto bad = [&](int64_t rank) {
      return ranks->rank() == rank ? kNaN : 1.0;
    };
    ClippedSGD clipped(std::vector<at::Tensor>{weight}, ClippedSGDOptions(0.1));
    clipped.set_reduction(ranks);
    weight.mutable_grad() = torch::full({1}, bad(1), torch::kFloat64);
    clipped.step();
    EXPECT_EQ(clipped.skipped_steps(), 1);
    weight.mutable_grad().reset();

    PowerMethodSGD power(
        std::vector<at::Tensor>{weight}, PowerMethodSGDOptions());
    power.set_reduction(ranks);
    const auto loss =
        power.step([&] { return (weight * bad(0)).square().sum(); });
    EXPECT_TRUE(std::isnan(loss.item<double>()));
    EXPECT_EQ(power.skipped_steps(), 1);
    EXPECT_EQ(weight.item<double>(), 2);
  });
}

TEST(OptimizerRanks, ThrowTogetherAndChangeNothing) {
  run_ranks(2, [](const Ranks& ranks) {
    RankProblem problem;
    bool breaks = true;
    const auto check = [&](auto& optimizer, const Closure& loss) {
      optimizer.set_reduction(ranks);
      const auto before = problem.point();
      const auto step = [&] {
        optimizer.step([&] {
          if (breaks && ranks->rank() == 1) {
            throw std::runtime_error("no such file");
          }
          return loss();
        });
      };
      breaks = true;
      if (ranks->rank() == 1) {
        EXPECT_THROW(step(), std::runtime_error);
      } else {
        EXPECT_EQ(message_of(step), "rank 1 failed: no such file");
      }
      EXPECT_TRUE(problem.point().equal(before));
      breaks = false;
      step();
      EXPECT_FALSE(problem.point().equal(before));
    };
    const Closure backward = [&] { return with_backward(problem, ranks); };
    RollbackSGD rollback(problem.parameters(), RollbackSGDOptions(0.1));
    check(rollback, backward);
    ClippedSGD clipped(problem.parameters(), ClippedSGDOptions(0.1));
    check(clipped, backward);
    problem.clear_gradients();
    PowerMethodSGD power(problem.parameters(), PowerMethodSGDOptions());
    check(power, [&] { return own_loss(problem, ranks); });
  });
}

TEST(OptimizerRanks, RefuseTogetherWhatOneWasGiven) {
  run_ranks(2, [](const Ranks& ranks) {
    RankProblem problem;
    const auto check = [&](auto& optimizer, const Closure& closure) {
      optimizer.set_reduction(ranks);
      auto& options = optimizer.param_groups()[0].options();
      const double lr = options.get_lr();
      if (ranks->rank() == 1) options.set_lr(-1);
      const auto before = problem.point();
      const std::string text = optimizer.kind() + ": lr must be";
      EXPECT_THAT(
          message_of([&] { optimizer.step(closure); }),
          HasSubstr(ranks->rank() == 1 ? text : "rank 1 failed: " + text));
      EXPECT_TRUE(problem.point().equal(before));
      options.set_lr(lr);
      optimizer.step(closure);
      EXPECT_FALSE(problem.point().equal(before));
    };
    const Closure backward = [&] { return with_backward(problem, ranks); };
    RollbackSGD rollback(problem.parameters(), RollbackSGDOptions(0.1));
    check(rollback, backward);
    ClippedSGD clipped(problem.parameters(), ClippedSGDOptions(0.1));
    check(clipped, backward);
    problem.clear_gradients();
    PowerMethodSGD power(problem.parameters(), PowerMethodSGDOptions());
    check(power, [&] { return own_loss(problem, ranks); });
    const auto without = [&] {
      power.step(ranks->rank() == 0 ? Closure() : Closure([&] {
        return own_loss(problem, ranks);
      }));
    };
    EXPECT_THAT(message_of(without), HasSubstr("step() wants a closure"));
  });
}

// Those of one rank are frozen.
TEST(OptimizerRanks, AllHearThatOneHasNothingToMove) {
  const auto messages = on_ranks<std::string>(2, [](const Ranks& ranks) {
    const auto weight = leaf({2});
    PowerMethodSGD power({weight}, PowerMethodSGDOptions());
    power.set_reduction(ranks);
    weight.set_requires_grad(ranks->rank() == 0);
    return message_of([&] { power.step([&] { return weight.sum(); }); });
  });
  for (const std::string& message : messages) {
    EXPECT_THAT(
        message, HasSubstr("PowerMethodSGD: no parameter requires a gradient"));
  }
}

TEST(OptimizerRanks, CountAGradientThatIsMissingAsZeros) {
  run_ranks(3, [](const Ranks& ranks) {
    const auto first = leaf({1});
    const auto other = leaf({1});
    ClippedSGD optimizer(
        std::vector<at::Tensor>{first, other}, ClippedSGDOptions(1));
    optimizer.set_reduction(ranks);
    optimizer.step([&] {
      auto loss = (ranks->rank() == 1 ? first : first + 0.6 * other).sum();
      loss.backward();
      return loss;
    });
    // Gradients 1 and 0.4, clipped to a norm of 1.
    const double norm = std::sqrt(1.16);
    EXPECT_NEAR(optimizer.last_grad_norm(), norm, 1e-15);
    EXPECT_NEAR(first.item<double>(), 1 - 1 / norm, 1e-15);
    EXPECT_NEAR(other.item<double>(), 1 - 0.4 / norm, 1e-15);
  });
}

TEST(OptimizerRanks, SaveNothingOfTheOthers) {
  run_ranks(1, [](const Ranks& ranks) {
    RankProblem problem;
    RollbackSGD alone(problem.parameters(), RollbackSGDOptions(0.1));
    RollbackSGD one(problem.parameters(), RollbackSGDOptions(0.1));
    one.set_reduction(ranks);
    EXPECT_EQ(test::saved(one), test::saved(alone));
    test::load(one, test::saved(alone));
    EXPECT_EQ(one.reduction(), ranks);
    one.set_reduction(nullptr);
    EXPECT_EQ(one.reduction(), nullptr);
  });
}

}  // namespace
}  // namespace stepsize
