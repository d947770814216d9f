#include <stepsize/adaptive/snapshot_ensemble.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"

namespace stepsize::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct SnapshotNetImpl : torch::nn::Module {
  SnapshotNetImpl() {
    weight = register_parameter("weight", vector_of({1, 2, 3}));
    shift = register_buffer("shift", vector_of({0}));
  }
  torch::Tensor forward() { return (weight + shift).unsqueeze(0); }
  void set(double value, double offset) {
    const torch::NoGradGuard no_grad;
    weight.copy_(vector_of({value, 2, 3}));
    shift.fill_(offset);
  }
  torch::Tensor weight;
  torch::Tensor shift;
};
TORCH_MODULE(SnapshotNet);

class SnapshotEnsembleTest : public testing::Test {
 protected:
  double first_of(std::size_t number) {
    const SnapshotWeights guard(ensemble, number);
    return net->weight[0].item<double>();
  }
  void expect_own(double value, double offset) {
    EXPECT_TRUE(torch::equal(net->weight, vector_of({value, 2, 3})));
    EXPECT_EQ(net->shift.item<double>(), offset);
  }

  SnapshotNet net;
  SnapshotEnsemble ensemble{net, SnapshotEnsembleOptions().max_snapshots(3)};
};

TEST_F(SnapshotEnsembleTest, KeepsTheLastSnapshots) {
  for (int i = 1; i <= 5; ++i) {
    net->set(i, 0);
    ensemble.add();
  }
  net->set(9, 4);
  EXPECT_EQ(ensemble.size(), 3U);
  EXPECT_EQ(ensemble.added(), 5);
  EXPECT_EQ(first_of(0), 3);
  EXPECT_EQ(first_of(2), 5);
  expect_own(9, 4);
  EXPECT_THAT(
      message_of([&] { first_of(3); }), HasSubstr("there is no snapshot 3"));
}

TEST_F(SnapshotEnsembleTest, AveragesTheProbabilities) {
  auto expected = torch::zeros({1, 3}, torch::kFloat64);
  auto mean = torch::zeros({1, 3}, torch::kFloat64);
  for (const double value : {-1.0, 4.0, 2.5}) {
    net->set(value, value / 2);
    ensemble.add();
    expected += torch::softmax(net->forward().detach(), 1) / 3;
    mean += net->forward().detach() / 3;
  }
  net->set(7, 1);
  const auto forward = [&] {
    EXPECT_FALSE(torch::GradMode::is_enabled());
    return net->forward();
  };
  const auto p = ensemble.predict(forward);
  EXPECT_TRUE(torch::allclose(p, expected, 1e-14, 1e-15));
  EXPECT_NEAR(p.sum().item<double>(), 1, 1e-14);
  // Not the probabilities of the mean.
  EXPECT_FALSE(torch::allclose(p, torch::softmax(mean, 1), 1e-2, 1e-3));
  EXPECT_TRUE(
      torch::allclose(ensemble.mean_output(forward), mean, 1e-14, 1e-15));
  // The output may be a weight.
  EXPECT_TRUE(torch::allclose(
      ensemble.mean_output([&] { return net->shift; }),
      vector_of({(-1.0 + 4.0 + 2.5) / 6})));
  expect_own(7, 1);
  EXPECT_THROW(
      ensemble.predict(
          []() -> torch::Tensor { throw std::runtime_error("no data"); }),
      std::runtime_error);
  expect_own(7, 1);
  EXPECT_TRUE(torch::GradMode::is_enabled());
}

TEST_F(SnapshotEnsembleTest, FindsTheEndsOfCycles) {
  // A warm-up, three cosine cycles of 5, 10 and 20 updates, and the next.
  std::vector<double> rates = {0.2, 0.6};
  for (const int length : {5, 10, 20, 5}) {
    for (int i = 0; i < length; ++i) {
      rates.push_back(0.5 * (1 + std::cos(M_PI * i / length)));
    }
  }
  std::vector<std::size_t> ends;
  for (std::size_t i = 0; i < rates.size(); ++i) {
    net->set(static_cast<double>(i), 0);
    if (ensemble.step(rates[i])) ends.push_back(i);
  }
  EXPECT_THAT(ends, ElementsAre(7, 17, 37));
  EXPECT_EQ(first_of(0), 7);
  EXPECT_EQ(first_of(2), 37);
}

TEST_F(SnapshotEnsembleTest, ARateThatStaysEndsNoCycle) {
  std::vector<bool> ends;
  for (const double rate : {1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 1.0, 1.0, 2.0}) {
    ends.push_back(ensemble.step(rate));
  }
  EXPECT_THAT(
      ends,
      ElementsAre(
          false, false, false, false, false, false, true, false, false));
  EXPECT_THAT(
      message_of(
          [&] { ensemble.step(std::numeric_limits<double>::quiet_NaN()); }),
      HasSubstr("SnapshotEnsemble: lr must be finite and >= 0, got nan"));
}

TEST_F(SnapshotEnsembleTest, FollowsAScheduler) {
  auto weight = net->weight;
  torch::optim::SGD optimizer({weight}, 0.1);
  ScheduleLR scheduler(optimizer, "cosine_restarts 8");
  std::vector<double> kept;
  for (int i = 0; i < 32; ++i) {
    weight.mutable_grad() = (weight.detach() - 10).clone();
    optimizer.step();
    scheduler.step();
    if (ensemble.step(optimizer.param_groups()[0].options().get_lr())) {
      kept.push_back(weight[0].item<double>());
      EXPECT_EQ(i % 8, 7);
    }
  }
  ASSERT_EQ(kept.size(), 4U);
  EXPECT_EQ(first_of(0), kept[1]);
}

TEST_F(SnapshotEnsembleTest, GoesThroughAnArchive) {
  for (int i = 1; i <= 3; ++i) {
    net->set(i, i);
    ensemble.add();
  }
  ensemble.step(1);
  ensemble.step(0.5);
  std::stringstream file;
  torch::save(ensemble, file);
  SnapshotNet other_net;
  SnapshotEnsemble other(other_net, SnapshotEnsembleOptions().max_snapshots(2));
  torch::load(other, file);
  EXPECT_EQ(other.size(), 2U);
  EXPECT_EQ(other.added(), 3);
  {
    const SnapshotWeights guard(other, 0);
    EXPECT_EQ(other_net->weight[0].item<double>(), 2);
    EXPECT_EQ(other_net->shift.item<double>(), 2);
  }
  EXPECT_EQ(other_net->weight[0].item<double>(), 1);
  // It has seen the rate fall.
  EXPECT_TRUE(other.step(1));
  torch::nn::Linear linear(2, 2);
  SnapshotEnsemble wrong(linear);
  wrong.add();
  std::stringstream again;
  torch::save(ensemble, again);
  EXPECT_THAT(
      message_of([&] { torch::load(wrong, again); }),
      HasSubstr("does not fit the weights"));
  EXPECT_EQ(wrong.size(), 1U);
}

TEST_F(SnapshotEnsembleTest, RefusesWhatItCannotDo) {
  EXPECT_THAT(
      message_of([&] { ensemble.predict([&] { return net->forward(); }); }),
      HasSubstr("SnapshotEnsemble: there is no snapshot yet"));
  ensemble.add();
  {
    const SnapshotWeights guard(ensemble, 0);
    EXPECT_THAT(
        message_of([&] { ensemble.add(); }), HasSubstr("holds a snapshot"));
  }
  EXPECT_THAT(
      message_of([&] { ensemble.predict([] { return torch::Tensor(); }); }),
      HasSubstr("must be of floating point"));
  {
    const torch::NoGradGuard no_grad;
    net->weight.set_data(torch::zeros({4}, torch::kFloat64));
  }
  EXPECT_THAT(
      message_of([&] { ensemble.add(); }),
      HasSubstr("SnapshotEnsemble: weight 0 must keep shape"));
  EXPECT_EQ(ensemble.size(), 1U);
}

}  // namespace
}  // namespace stepsize::test
