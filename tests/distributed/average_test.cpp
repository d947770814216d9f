#include <gmock/gmock.h>
#include <stepsize/distributed/average.h>
#include <torch/torch.h>

#include <stdexcept>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"
#include "tests/support/ranks.h"

namespace stepsize {
namespace {

using test::kNaN;
using test::leaf;
using test::message_of;
using test::on_ranks;
using test::run_ranks;
using testing::ElementsAre;
using testing::HasSubstr;

using Ranks = std::shared_ptr<Reduction>;
using Tensors = std::vector<torch::Tensor>;

torch::Tensor row(const std::vector<double>& values) {
  return torch::tensor(values, torch::kFloat64);
}

// Parameters of several types and layouts, whose gradients are filled with the
// rank's number plus one.
Tensors varied_parameters(double value) {
  Tensors parameters{
      torch::zeros({3, 2}),
      torch::zeros({5}, torch::kFloat64),
      torch::zeros({2, 3, 4, 4}).contiguous(at::MemoryFormat::ChannelsLast),
      torch::zeros({}, torch::kFloat64),
      torch::zeros({7}, torch::kBFloat16),
      torch::zeros({0})};
  for (auto& parameter : parameters) {
    parameter.set_requires_grad(true);
    parameter.mutable_grad() = torch::full_like(parameter, value);
  }
  return parameters;
}

TEST(AverageGradients, PutsTheMeanIntoEachGradientWhateverTheBuckets) {
  for (const int64_t bytes : {int64_t{1}, int64_t{64}, int64_t{1} << 20}) {
    run_ranks(2, [&](const Ranks& ranks) {
      const auto parameters =
          varied_parameters(static_cast<double>(ranks->rank()) + 1);
      std::vector<const void*> before;
      for (const auto& parameter : parameters) {
        before.push_back(parameter.grad().unsafeGetTensorImpl());
      }
      average_gradients(
          parameters, *ranks, AverageOptions().bucket_bytes(bytes));
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        const auto& gradient = parameters[i].grad();
        EXPECT_EQ(gradient.unsafeGetTensorImpl(), before[i]) << i;
        EXPECT_TRUE(gradient.equal(torch::full_like(parameters[i], 1.5))) << i;
      }
    });
  }
}

TEST(AverageGradients, OfHalvesIsTheGradientOfTheWhole) {
  torch::manual_seed(3);
  const auto inputs = torch::randn({8, 4}, torch::kFloat64);
  const auto weight = torch::randn({4}, torch::kFloat64);
  const auto gradient_of = [&](const torch::Tensor& rows, auto&& after) {
    Tensors parameters{weight.clone().set_requires_grad(true)};
    torch::tanh(rows.mv(parameters[0])).mean().backward();
    after(parameters);
    return parameters[0].grad();
  };
  const auto whole = gradient_of(inputs, [](const Tensors&) {});
  const auto halves = on_ranks<torch::Tensor>(2, [&](const Ranks& ranks) {
    return gradient_of(
        inputs.narrow(0, 4 * ranks->rank(), 4),
        [&](const Tensors& own) { average_gradients(own, *ranks); });
  });
  EXPECT_TRUE(halves[0].equal(halves[1]));
  EXPECT_TRUE(torch::allclose(halves[0], whole, 0, 1e-15));
  // Twice does no harm.
  const auto twice = on_ranks<torch::Tensor>(2, [&](const Ranks& ranks) {
    return gradient_of(
        inputs.narrow(0, 4 * ranks->rank(), 4), [&](const Tensors& own) {
          average_gradients(own, *ranks);
          average_gradients(own, *ranks);
        });
  });
  EXPECT_TRUE(twice[1].equal(halves[0]));
}

TEST(AverageGradients, CountsOneThatIsMissingOnARankAsZeros) {
  run_ranks(3, [](const Ranks& ranks) {
    Tensors parameters{leaf({1, 2}), leaf({3}), leaf({4})};
    if (ranks->rank() != 1) parameters[0].mutable_grad() = row({3, 6});
    parameters[2].mutable_grad() = row({9});
    average_gradients(parameters, *ranks);
    EXPECT_TRUE(parameters[0].grad().equal(row({2, 4})));
    EXPECT_FALSE(parameters[1].grad().defined());
    EXPECT_TRUE(parameters[2].grad().equal(row({9})));
  });
}

TEST(AverageGradients, RefusesOnAllRanksAndChangesNothing) {
  run_ranks(2, [](const Ranks& ranks) {
    Tensors parameters{leaf({1, 2}), leaf({3})};
    parameters[1].mutable_grad() = row({5});
    if (ranks->rank() == 0) {
      parameters[0].mutable_grad() = torch::sparse_coo_tensor(
          torch::zeros({1, 1}, torch::kLong),
          torch::ones({1}, torch::kFloat64),
          {2});
    }
    const std::string text = "average: tensor 0 is sparse";
    EXPECT_THAT(
        message_of([&] { average_gradients(parameters, *ranks); }),
        HasSubstr(ranks->rank() == 0 ? text : "rank 0 failed: " + text));
    EXPECT_TRUE(parameters[1].grad().equal(row({5})));
  });
}

// What every rank hears of an average of its parameters, whose gradients are
// filled with ones; they are as they were then.
std::vector<std::string> said_of_gradients(
    int64_t count, const std::function<Tensors(int64_t)>& parameters_of) {
  return on_ranks<std::string>(count, [&](const Ranks& ranks) {
    auto parameters = parameters_of(ranks->rank());
    for (auto& parameter : parameters) {
      parameter.mutable_grad() = torch::ones_like(parameter);
    }
    auto text = message_of([&] { average_gradients(parameters, *ranks); });
    for (const auto& parameter : parameters) {
      EXPECT_TRUE(parameter.grad().equal(torch::ones_like(parameter)));
    }
    EXPECT_EQ(ranks->mean(2), 2);
    return text;
  });
}

TEST(AverageGradients, RefusesOtherShapesOnAllRanks) {
  EXPECT_THAT(
      said_of_gradients(
          3,
          [](int64_t rank) {
            return Tensors{
                torch::zeros({4}), torch::zeros({rank == 2 ? 3 : 2, 2})};
          }),
      testing::Each(
          "average: rank 2: tensor 1 is Float [3, 2], rank 0 has Float [2, "
          "2]"));
}

TEST(AverageGradients, RefusesOtherOrderOfAsManyElements) {
  // The sums would be of one length, and of what does not belong together.
  EXPECT_THAT(
      said_of_gradients(
          2,
          [](int64_t rank) {
            return rank == 0 ? Tensors{torch::zeros({6}), torch::zeros({2})}
                             : Tensors{torch::zeros({2}), torch::zeros({6})};
          }),
      testing::Each(HasSubstr("rank 1: tensor 0 is Float [2], rank 0 has")));
}

TEST(AverageGradients, RefusesAnotherNumberOrTypeOfTensors) {
  EXPECT_THAT(
      said_of_gradients(
          2,
          [](int64_t rank) {
            return Tensors(rank == 0 ? 2 : 3, torch::zeros({4}));
          }),
      testing::Each(
          "average: rank 1: number of tensors is 3, rank 0 has 2; tensor 2 is "
          "Float [4], rank 0 has none"));
  EXPECT_THAT(
      said_of_gradients(
          2,
          [](int64_t rank) {
            return Tensors{torch::zeros(
                {4}, rank == 0 ? torch::kFloat32 : torch::kFloat64)};
          }),
      testing::Each(
          "average: rank 1: tensor 0 is Double [4], rank 0 has Float [4]"));
}

TEST(AverageGradients, FindsAChangeOfOneRankInTheMiddleOfARun) {
  run_ranks(2, [](const Ranks& ranks) {
    Tensors parameters{leaf({1, 2}), leaf({3})};
    for (int step = 0; step < 4; ++step) {
      for (auto& parameter : parameters) {
        parameter.mutable_grad() =
            torch::full_like(parameter, static_cast<double>(ranks->rank()));
      }
      if (step == 2 && ranks->rank() == 1) parameters.pop_back();
      if (step == 3 && ranks->rank() == 0) parameters.pop_back();
      const auto text =
          message_of([&] { average_gradients(parameters, *ranks); });
      EXPECT_EQ(
          text,
          step == 2 ? "average: rank 1: number of tensors is 1, rank 0 has 2; "
                      "tensor 1 is not there, rank 0 has Double [1]"
                    : "nothing was thrown");
      const double wanted =
          step == 2 ? static_cast<double>(ranks->rank()) : 0.5;
      EXPECT_EQ(parameters[0].grad()[0].item<double>(), wanted) << step;
    }
  });
}

TEST(AverageGradients, RefusesOtherBuckets) {
  run_ranks(2, [](const Ranks& ranks) {
    Tensors parameters{leaf({1, 2})};
    parameters[0].mutable_grad() = row({1, 1});
    const auto own = AverageOptions().bucket_bytes(8 + 8 * ranks->rank());
    EXPECT_EQ(
        message_of([&] { average_gradients(parameters, *ranks, own); }),
        "average: rank 1: bucket_bytes is 16, rank 0 has 8");
  });
}

TEST(AverageGradients, GivesAnExpandedGradientMemoryOfItsOwn) {
  run_ranks(2, [](const Ranks& ranks) {
    const double own = ranks->rank() == 0 ? 1 : 3;
    Tensors parameters{leaf({7}), leaf({1, 2, 3}), leaf({4, 5})};
    parameters[0].mutable_grad() = row({own});
    parameters[1].mutable_grad() = row({own}).expand({3});
    ASSERT_EQ(parameters[1].grad().stride(0), 0);
    // Windows over one row, of which copy_() does not see that they overlap.
    parameters[2] = torch::zeros({2, 2}, torch::kFloat64);
    parameters[2].mutable_grad() =
        row({own, 10 * own, 100 * own}).as_strided({2, 2}, {1, 1});
    average_gradients(parameters, *ranks);
    EXPECT_TRUE(parameters[0].grad().equal(row({2})));
    EXPECT_TRUE(parameters[1].grad().equal(row({2, 2, 2})));
    EXPECT_TRUE(parameters[2].grad().equal(row({2, 20, 20, 200}).view({2, 2})));
  });
}

TEST(AverageGradients, TakesTheGradientThatAutogradGives) {
  run_ranks(2, [](const Ranks& ranks) {
    const double own = ranks->rank() == 0 ? 1 : 3;
    Tensors parameters{leaf({1, 2, 3}), leaf({4})};
    const auto loss = own * parameters[0].sum() + own * parameters[1].sum();
    const auto gradients = torch::autograd::grad({loss}, parameters);
    ASSERT_EQ(gradients[0].stride(0), 0);
    for (std::size_t i = 0; i < 2; ++i) {
      parameters[i].mutable_grad() = gradients[i];
    }
    average_gradients(parameters, *ranks);
    EXPECT_TRUE(parameters[0].grad().equal(row({2, 2, 2})));
    EXPECT_TRUE(parameters[1].grad().equal(row({2})));
  });
}

TEST(Average, RefusesOtherNumbersInCommon) {
  run_ranks(2, [](const Ranks& ranks) {
    const auto text = [&](double lr) {
      return message_of([&] {
        RankShare share;
        share.common = {{"momentum", 0.9}, {"lr", lr}};
        share.numbers = {1, 2};
        average({}, share, *ranks);
      });
    };
    EXPECT_EQ(text(0.1), "nothing was thrown");
    EXPECT_EQ(
        text(ranks->rank() == 0 ? 0.1 : 0.2),
        "average: rank 1: lr is 0.2, rank 0 has 0.1");
    EXPECT_EQ(text(kNaN), "nothing was thrown");
    // What another machine may have in the last bit, and another NaN.
    const bool first = ranks->rank() == 0;
    const double next = std::nextafter(0.1, 1.0);
    EXPECT_EQ(text(first ? 0.1 : next), "nothing was thrown");
    EXPECT_EQ(text(first ? kNaN : -kNaN), "nothing was thrown");
    EXPECT_EQ(text(first ? 0.0 : -0.0), "nothing was thrown");
    EXPECT_THAT(
        text(first ? 0.1 : 0.1 * (1 + 1e-11)),
        testing::StartsWith("average: rank 1: lr is 0.10000000000"));
    EXPECT_EQ(
        text(first ? 0.1 : kNaN), "average: rank 1: lr is nan, rank 0 has 0.1");
    EXPECT_EQ(text(0.1), "nothing was thrown");
  });
}

TEST(Average, TakesAsManyNumbersAsThereAre) {
  run_ranks(3, [](const Ranks& ranks) {
    const auto own = static_cast<double>(ranks->rank());
    RankShare share;
    for (int i = 0; i < 100; ++i) share.numbers.push_back(i * own);
    const auto means = average({}, share, *ranks).numbers;
    ASSERT_EQ(means.size(), 100);
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ(means[static_cast<std::size_t>(i)], i);
    }
    share.numbers.resize(ranks->rank() == 1 ? 99 : 100);
    EXPECT_EQ(
        message_of([&] { average({}, share, *ranks); }),
        "average: rank 1: number of numbers is 99, rank 0 has 100");
  });
}

TEST(Average, RefusesWhatDoesNotFit) {
  run_ranks(1, [](const Ranks& ranks) {
    const auto refusal = [&](const Tensors& tensors, int64_t bytes) {
      RankShare share;
      share.tensors = tensors;
      return message_of([&] {
        average(
            {row({0, 0})}, share, *ranks, AverageOptions().bucket_bytes(bytes));
      });
    };
    EXPECT_THAT(refusal({}, 1), HasSubstr("one tensor for each of the 1"));
    EXPECT_THAT(refusal({row({1})}, 1), HasSubstr("of the shape, type"));
    EXPECT_THAT(
        refusal({row({1, 2}).to(torch::kFloat)}, 1),
        HasSubstr("of the shape, type"));
    EXPECT_THAT(
        refusal({row({1, 2})}, 0), HasSubstr("bucket_bytes must be >= 1"));
  });
}

TEST(Average, GivesNumbersAndLeavesTheTensorsOfTheShareAlone) {
  run_ranks(2, [](const Ranks& ranks) {
    const double own = ranks->rank() == 0 ? 1 : 4;
    const Tensors like{row({0, 0})};
    RankShare share;
    share.tensors = {row({own, kNaN})};
    share.numbers = {own, -own};
    const RankMeans means = average(like, share, *ranks);
    EXPECT_THAT(means.numbers, ElementsAre(2.5, -2.5));
    EXPECT_EQ(means.tensors[0][0].item<double>(), 2.5);
    EXPECT_TRUE(std::isnan(means.tensors[0][1].item<double>()));
    EXPECT_EQ(share.tensors[0][0].item<double>(), own);
  });
}

TEST(EvaluateOnRanks, GivesTheMeanLossAndItsGradient) {
  run_ranks(2, [](const Ranks& ranks) {
    Tensors parameters{leaf({2})};
    const double factor = ranks->rank() == 0 ? 1 : 3;
    const auto loss = evaluate_on_ranks(
        [&] {
          auto own = (parameters[0] * factor).sum();
          own.backward();
          return own;
        },
        parameters,
        *ranks);
    EXPECT_EQ(loss.item<double>(), 4);
    EXPECT_FALSE(loss.requires_grad());
    EXPECT_EQ(parameters[0].grad().item<double>(), 2);
  });
}

TEST(EvaluateOnRanks, TellsAllOfALossThatIsNotFinite) {
  run_ranks(2, [](const Ranks& ranks) {
    Tensors parameters{leaf({2})};
    parameters[0].mutable_grad() = row({1});
    const auto loss = evaluate_on_ranks(
        [&] { return row({ranks->rank() == 1 ? kNaN : 1.0}); },
        parameters,
        *ranks);
    EXPECT_TRUE(std::isnan(loss.item<double>()));
    EXPECT_EQ(parameters[0].grad().item<double>(), 1);
  });
}

TEST(EvaluateOnRanks, ThrowsOnAllRanksWhereOneClosureThrows) {
  run_ranks(2, [](const Ranks& ranks) {
    Tensors parameters{leaf({2})};
    const auto evaluate = [&] {
      evaluate_on_ranks(
          [&]() -> torch::Tensor {
            if (ranks->rank() == 0) throw std::runtime_error("out of data");
            auto loss = parameters[0].sum();
            loss.backward();
            return loss;
          },
          parameters,
          *ranks);
    };
    if (ranks->rank() == 0) {
      EXPECT_THROW(evaluate(), std::runtime_error);
    } else {
      EXPECT_EQ(message_of(evaluate), "rank 0 failed: out of data");
    }
    EXPECT_EQ(ranks->mean(1), 1);
  });
}

TEST(EvaluateOnRanks, EndsTheRunWhereAClosureThrowsBetweenExchanges) {
  run_ranks(2, [](const Ranks& ranks) {
    Tensors parameters{leaf({2})};
    const auto evaluate = [&] {
      evaluate_on_ranks(
          [&]() -> torch::Tensor {
            ranks->mean(1);
            if (ranks->rank() == 0) throw std::runtime_error("out of data");
            // Of another size than what rank 0 would bring next.
            auto long_row = torch::ones({1000}, torch::kFloat64);
            ranks->sum(long_row);
            return parameters[0].sum();
          },
          parameters,
          *ranks);
    };
    if (ranks->rank() == 0) {
      EXPECT_THROW(evaluate(), std::runtime_error);
      EXPECT_THAT(
          message_of([&] { ranks->mean(1); }),
          HasSubstr("rank 0 of 2 has left the others after an exception"));
    } else {
      EXPECT_THROW(evaluate(), RankLostError);
    }
  });
}

TEST(EvaluateOnRanks, RefusesALossThatOnlySomeHave) {
  run_ranks(3, [](const Ranks& ranks) {
    Tensors parameters{leaf({2})};
    parameters[0].mutable_grad() = row({static_cast<double>(ranks->rank())});
    const auto evaluate = [&](int64_t without) {
      return evaluate_on_ranks(
          [&] { return ranks->rank() == without ? torch::Tensor() : row({1}); },
          parameters,
          *ranks);
    };
    EXPECT_THAT(
        message_of([&] { evaluate(2); }),
        HasSubstr("one number on all ranks or on none, got none on rank 2"));
    EXPECT_EQ(parameters[0].grad().item<double>(), ranks->rank());
    EXPECT_EQ(evaluate(-1).item<double>(), 1);
    EXPECT_EQ(parameters[0].grad().item<double>(), 1);
  });
}

TEST(ShareWeight, LeavesARankWithoutExamplesOutOfAllMeans) {
  run_ranks(2, [](const Ranks& ranks) {
    Tensors parameters{leaf({2})};
    const auto share = row({1, 3}).narrow(0, 0, ranks->rank() == 0 ? 2 : 0);
    const double weight = share_weight(share.size(0), *ranks);
    const auto loss = evaluate_on_ranks(
        [&] {
          auto own = share.size(0) > 0 ? (parameters[0] * share).mean() * weight
                                       : torch::zeros({}, torch::kFloat64);
          if (own.requires_grad()) own.backward();
          return own;
        },
        parameters,
        *ranks);
    EXPECT_EQ(loss.item<double>(), 4);
    EXPECT_EQ(parameters[0].grad().item<double>(), 2);
  });
}

TEST(ShareWeight, MakesTheMeanOverRanksThatOverExamples) {
  run_ranks(3, [](const Ranks& ranks) {
    const std::vector<int64_t> examples{5, 0, 3};
    const std::vector<double> losses{2, 100, 4};
    const auto rank = static_cast<std::size_t>(ranks->rank());
    const double weight = share_weight(examples[rank], *ranks);
    EXPECT_DOUBLE_EQ(ranks->mean(weight * losses[rank]), (5 * 2 + 3 * 4) / 8.0);
    EXPECT_THAT(
        message_of([&] { share_weight(rank == 2 ? -1 : 4, *ranks); }),
        HasSubstr("examples must be >= 0, got -1 on rank 2"));
    EXPECT_THAT(
        message_of([&] { share_weight(0, *ranks); }),
        HasSubstr("an example on some rank"));
  });
}

}  // namespace
}  // namespace stepsize
