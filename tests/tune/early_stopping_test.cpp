#include <gtest/gtest.h>
#include <stepsize/tune/early_stopping.h>
#include <torch/torch.h>

#include <sstream>
#include <string>
#include <vector>

#include "tests/support/archive_bytes.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize {
namespace {

using test::kInfinity;
using test::kNaN;
using test::leaf;
using test::load;
using test::message_of;
using test::saved;

// Where it stops, or -1.
int64_t stop_step(
    const EarlyStoppingOptions& options, const std::vector<double>& metrics) {
  EarlyStopping stopping(options);
  for (const double metric : metrics) {
    if (stopping.step(metric)) return stopping.steps() - 1;
  }
  return -1;
}

bool same_weights(const torch::Tensor& left, const torch::Tensor& right) {
  return left.scalar_type() == right.scalar_type() &&
         saved(left.detach().contiguous()) ==
             saved(right.detach().contiguous());
}

TEST(EarlyStopping, SitsThroughPatienceBadStepsAndStopsAtTheNext) {
  const auto options = EarlyStoppingOptions().patience(2);
  EXPECT_EQ(stop_step(options, {3, 2, 4, 4, 1, 4, 4, 4, 0}), 7);
  EXPECT_EQ(stop_step(options, {3, 2, 4, 4, 1, 4, 4}), -1);
  EXPECT_EQ(stop_step(EarlyStoppingOptions().patience(0), {3, 2, 2}), 2);
}

TEST(EarlyStopping, EqualMetricIsNoImprovement) {
  EXPECT_EQ(stop_step(EarlyStoppingOptions().patience(1), {1, 1, 1}), 2);
}

TEST(EarlyStopping, AbsoluteDeltaIsMeasuredFromTheLastImprovement) {
  const auto options = EarlyStoppingOptions().patience(2).min_delta(0.1);
  // Falls of 0.06: each second one beats the best by more than 0.1.
  EXPECT_EQ(stop_step(options, {1, 0.94, 0.88, 0.82, 0.76, 0.7}), -1);
  EXPECT_EQ(stop_step(options, {1, 0.98, 0.96, 0.94}), 3);
}

TEST(EarlyStopping, RelativeDeltaFollowsTheSizeOfTheBest) {
  const auto options =
      EarlyStoppingOptions().patience(0).min_delta(0.125).min_delta_mode(
          MinDeltaMode::kRel);
  EXPECT_EQ(stop_step(options, {8, 6.99}), -1);
  EXPECT_EQ(stop_step(options, {8, 7}), 1);
  // A negative metric improves by falling further.
  EXPECT_EQ(stop_step(options, {-8, -9.01}), -1);
  EXPECT_EQ(stop_step(options, {-8, -9}), 1);
}

TEST(EarlyStopping, MaxModeFollowsARisingMetric) {
  const auto options =
      EarlyStoppingOptions().mode(MetricMode::kMax).patience(0);
  EXPECT_EQ(stop_step(options, {-3, -2, -1, 0, 0.5, 0.4}), 5);
  EarlyStopping stopping(options);
  EXPECT_EQ(stopping.best(), -kInfinity);
  stopping.step(-3);
  EXPECT_EQ(stopping.best(), -3);
}

TEST(EarlyStopping, NonFiniteMetricIsABadStepAndNeverTheBest) {
  EarlyStopping stopping(EarlyStoppingOptions().patience(3));
  EXPECT_EQ(stopping.best_step(), -1);
  EXPECT_FALSE(stopping.step(kNaN));
  EXPECT_FALSE(stopping.step(-kInfinity));
  EXPECT_EQ(stopping.best_step(), -1);
  EXPECT_FALSE(stopping.step(5));
  EXPECT_EQ(stopping.best_step(), 2);
  EXPECT_EQ(stopping.num_bad_steps(), 0);
  EXPECT_FALSE(stopping.step(kNaN));
  EXPECT_FALSE(stopping.step(kInfinity));
  EXPECT_FALSE(stopping.step(kNaN));
  EXPECT_TRUE(stopping.step(kNaN));
  EXPECT_TRUE(stopping.stopped());
  EXPECT_EQ(stopping.best(), 5);
  EXPECT_EQ(stopping.non_finite_steps(), 6);
  // A better metric after all takes the stop back.
  EXPECT_FALSE(stopping.step(4));
}

TEST(EarlyStopping, RestoresParametersAndBuffersOfAModuleBitForBit) {
  torch::manual_seed(3);
  torch::nn::Sequential net(
      torch::nn::Linear(4, 8),
      torch::nn::BatchNorm1d(8),
      torch::nn::ReLU(),
      torch::nn::Linear(8, 1));
  torch::optim::Adam adam(net->parameters(), 0.05);
  EarlyStopping stopping(*net);
  const auto data = torch::randn({32, 4});
  std::vector<std::vector<torch::Tensor>> history;
  const std::vector<double> metrics = {3, 2, 1, 4, 5};
  for (const double metric : metrics) {
    adam.zero_grad();
    net->forward(data).square().mean().backward();
    adam.step();
    stopping.step(metric);
    history.emplace_back();
    for (const auto& list : {net->parameters(), net->buffers()}) {
      for (const auto& tensor : list) {
        history.back().push_back(tensor.detach().clone());
      }
    }
  }
  EXPECT_EQ(stopping.best_step(), 2);
  const auto first = net->parameters()[0];
  stopping.restore_best();
  std::size_t i = 0;
  for (const auto& list : {net->parameters(), net->buffers()}) {
    for (const auto& tensor : list) {
      EXPECT_TRUE(same_weights(tensor, history[2][i])) << i;
      ++i;
    }
  }
  // 6 parameters, 3 buffers of BatchNorm; it did move after the best step.
  EXPECT_EQ(i, 9U);
  EXPECT_FALSE(same_weights(history[2][0], history[4][0]));
  EXPECT_FALSE(same_weights(history[2][8], history[4][8]));
  // The optimizer goes on with the very same tensors.
  EXPECT_TRUE(net->parameters()[0].is_same(first));
  EXPECT_TRUE(first.requires_grad());
}

TEST(EarlyStopping, RestoresListsOfTensorsOfAllTypes) {
  const auto nan = torch::full({2}, kNaN, torch::kDouble);
  std::vector<torch::Tensor> tensors = {
      leaf({1, -0.0}),
      torch::tensor({1.5F}).to(torch::kHalf),
      torch::tensor({7}, torch::kLong),
      nan.clone(),
      torch::empty({0})};
  EarlyStopping stopping(tensors);
  stopping.step(1);
  for (const auto& tensor : tensors) tensor.detach().zero_();
  stopping.restore_best();
  EXPECT_TRUE(same_weights(tensors[0], leaf({1, -0.0})));
  EXPECT_EQ(tensors[1].item<float>(), 1.5F);
  EXPECT_EQ(tensors[2].item<int64_t>(), 7);
  EXPECT_TRUE(same_weights(tensors[3], nan));
}

TEST(EarlyStopping, FailedCopyLeavesTheBestStepWhole) {
  auto first = leaf({1});
  auto second = leaf({2});
  EarlyStopping stopping({first, second});
  stopping.step(5);
  const std::string before = saved(stopping);
  {
    const torch::NoGradGuard no_grad;
    first.fill_(10);
  }
  // A view of one number, whose copy would have 2^61.
  const auto small = second.detach();
  second.set_data(torch::zeros({1}, torch::kDouble).expand({int64_t{1} << 61}));
  EXPECT_ANY_THROW(stopping.step(4));
  second.set_data(small);
  EXPECT_EQ(saved(stopping), before);
  stopping.restore_best();
  EXPECT_EQ(first.item<double>(), 1);
  EXPECT_EQ(second.item<double>(), 2);
}

TEST(EarlyStopping, GoesOnBitForBitAfterLoading) {
  const auto options = EarlyStoppingOptions().patience(3).min_delta(1e-3);
  auto weights = leaf({1, 2});
  auto there = leaf({0, 0});
  EarlyStopping stopping({weights}, options);
  EarlyStopping resumed({there}, options);
  stopping.step(2);
  {
    torch::NoGradGuard no_grad;
    weights.mul_(3);
  }
  stopping.step(kNaN);
  stopping.step(2.5);
  load(resumed, saved(stopping));
  EXPECT_EQ(saved(resumed), saved(stopping));
  EXPECT_EQ(resumed.best(), 2);
  EXPECT_EQ(resumed.best_step(), 0);
  EXPECT_EQ(resumed.num_bad_steps(), 2);
  EXPECT_EQ(resumed.steps(), 3);
  EXPECT_EQ(resumed.non_finite_steps(), 1);
  for (const double metric : {3.0, 3.0}) {
    EXPECT_EQ(resumed.step(metric), stopping.step(metric));
  }
  EXPECT_TRUE(resumed.stopped());
  resumed.restore_best();
  EXPECT_TRUE(same_weights(there, leaf({1, 2})));
  // The best weights are its own: a new best does not write to the archive's.
  EXPECT_FALSE(resumed.step(1));
  resumed.restore_best();
  EXPECT_TRUE(same_weights(there, leaf({1, 2})));
}

TEST(EarlyStopping, LoadingWhatDoesNotFitChangesNothing) {
  const auto options = EarlyStoppingOptions().patience(3);
  EarlyStopping writer({leaf({1, 2})}, options);
  writer.step(1);
  const std::string bytes = saved(writer);
  const auto refuses = [&](EarlyStopping&& reader, const std::string& why) {
    reader.step(7);
    const std::string before = saved(reader);
    EXPECT_NE(
        message_of([&] { load(reader, bytes); }).find(why), std::string::npos)
        << message_of([&] { load(reader, bytes); });
    EXPECT_EQ(saved(reader), before);
  };
  refuses(
      EarlyStopping({leaf({1, 2, 3})}, options), "does not fit the weights");
  refuses(
      EarlyStopping({torch::zeros({2})}, options), "does not fit the weights");
  refuses(EarlyStopping({leaf({1, 2}), leaf({1})}, options), "does not fit");
  refuses(EarlyStopping(options), "does not fit the weights");
  refuses(
      EarlyStopping({leaf({1, 2})}, EarlyStoppingOptions().patience(4)),
      "EarlyStopping: patience is 3 in the file, 4 here");
  EarlyStopping reader(options);
  const std::string foreign = saved(torch::ones({1}));
  EXPECT_ANY_THROW(load(reader, foreign));
}

TEST(EarlyStopping, OptionsOfEitherSideMayHold) {
  EarlyStopping writer(EarlyStoppingOptions().patience(3).min_delta(0.5));
  for (const double metric : {1.0, 2.0, 2.0, 2.0}) writer.step(metric);
  const std::string bytes = saved(writer);
  const auto load_with = [&](EarlyStopping& reader, OptionsFrom from) {
    std::istringstream stream(bytes);
    torch::serialize::InputArchive archive;
    archive.load_from(stream);
    return reader.load(archive, from);
  };
  EarlyStopping patient(EarlyStoppingOptions().patience(5));
  EXPECT_EQ(
      load_with(patient, OptionsFrom::kProgram),
      std::vector<std::string>(
          {"patience is 3 in the file, 5 here",
           "min_delta is 0.5 in the file, 0 here"}));
  EXPECT_EQ(patient.num_bad_steps(), 3);
  EXPECT_EQ(patient.options().patience(), 5);
  EXPECT_FALSE(patient.step(2));
  const auto put_back = patient.keep_options();
  load_with(patient, OptionsFrom::kFile);
  EXPECT_EQ(saved(patient), bytes);
  EXPECT_TRUE(patient.step(2));
  put_back();
  EXPECT_EQ(patient.options().patience(), 5);
  EarlyStopping rising(EarlyStoppingOptions().mode(MetricMode::kMax));
  EXPECT_NE(
      message_of([&] {
        load_with(rising, OptionsFrom::kProgram);
      }).find("mode is another in the file"),
      std::string::npos);
  EXPECT_EQ(rising.steps(), 0);
}

TEST(EarlyStopping, RefusesToRestoreWhatItDoesNotHave) {
  EarlyStopping bare;
  bare.step(1);
  EXPECT_NE(
      message_of([&] { bare.restore_best(); }).find("no weights to restore"),
      std::string::npos);
  auto weights = leaf({1});
  EarlyStopping stopping({weights});
  stopping.step(kNaN);
  EXPECT_NE(
      message_of([&] { stopping.restore_best(); }).find("none of 1 metrics"),
      std::string::npos);
  stopping.step(1);
  weights.set_data(torch::zeros({3}, torch::kDouble));
  EXPECT_NE(
      message_of([&] {
        stopping.restore_best();
      }).find("tensor 0 has changed its shape or type"),
      std::string::npos);
  // The next best step takes it as it is now.
  stopping.step(0);
  EXPECT_NO_THROW(stopping.restore_best());
}

TEST(EarlyStopping, RefusesWhatIsOutOfRange) {
  const auto message = [](const EarlyStoppingOptions& options) {
    return message_of([&] { EarlyStopping stopping(options); });
  };
  EXPECT_EQ(
      message(EarlyStoppingOptions().patience(-1)),
      "EarlyStopping: patience must be >= 0, got -1");
  EXPECT_EQ(
      message(EarlyStoppingOptions().min_delta(-0.5)),
      "EarlyStopping: min_delta must be finite and >= 0, got -0.5");
  EXPECT_EQ(
      message(EarlyStoppingOptions().min_delta(kInfinity)),
      "EarlyStopping: min_delta must be finite and >= 0, got inf");
  EXPECT_EQ(
      message(EarlyStoppingOptions().min_delta(1).min_delta_mode(
          MinDeltaMode::kRel)),
      "EarlyStopping: min_delta must be below 1 where it is relative, got 1");
  EXPECT_EQ(
      message_of([] {
        EarlyStopping({leaf({1}), torch::Tensor()});
      }),
      "EarlyStopping: tensors must be defined; number 1 is not");
  EXPECT_EQ(
      message_of([] { EarlyStopping(std::vector<torch::Tensor>()); }),
      "EarlyStopping: the list of tensors is empty");
  EXPECT_EQ(
      message_of([] { EarlyStopping stopping(*torch::nn::ReLU()); }),
      "EarlyStopping: the module has no parameters or buffers");
}

TEST(EarlyStopping, TakesAModuleThatIsHeld) {
  torch::nn::Linear holder(3, 2);
  const std::shared_ptr<torch::nn::LinearImpl> pointer = holder.ptr();
  EarlyStopping by_holder(holder);
  EarlyStopping by_pointer(pointer, EarlyStoppingOptions().patience(1));
  by_holder.step(1);
  by_pointer.step(1);
  const auto best = holder->weight.detach().clone();
  for (EarlyStopping* stopping : {&by_holder, &by_pointer}) {
    {
      const torch::NoGradGuard no_grad;
      holder->weight.add_(1);
    }
    stopping->restore_best();
    EXPECT_TRUE(same_weights(holder->weight, best));
  }
  EXPECT_EQ(
      message_of([] {
        EarlyStopping stopping(std::shared_ptr<torch::nn::LinearImpl>{});
      }),
      "EarlyStopping: the module is null");
}

}  // namespace
}  // namespace stepsize
