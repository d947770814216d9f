#include <stepsize/adaptive/snapshot_ensemble.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/checkpoint/temporary_folder.h"
#include "tests/support/archive_bytes.h"
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
      message_of([&] { first_of(3); }),
      HasSubstr("there is no snapshot of index 3"));
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

// As where a run that has ended gets another cycle.
TEST_F(SnapshotEnsembleTest, ARiseAfterASnapshotByHandEndsNoOtherCycle) {
  for (const double lr : {1.0, 0.5, 0.1}) EXPECT_FALSE(ensemble.step(lr));
  ensemble.add();
  for (const double lr : {1.0, 0.5, 0.1}) EXPECT_FALSE(ensemble.step(lr));
  EXPECT_EQ(ensemble.size(), 1U);
  EXPECT_TRUE(ensemble.step(1));
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

class SnapshotFilesTest : public testing::Test {
 protected:
  SnapshotEnsembleOptions options(const std::string& name = "snapshots") {
    return SnapshotEnsembleOptions().max_snapshots(3).folder(folder.file(name));
  }
  static void add(SnapshotNet& to, SnapshotEnsemble& ensemble, double value) {
    to->set(value, value / 2);
    ensemble.add();
  }
  static double first_of(
      SnapshotNet& of, SnapshotEnsemble& ensemble, std::size_t number) {
    const SnapshotWeights guard(ensemble, number);
    return of->weight[0].item<double>();
  }
  void change(const std::string& path, std::size_t at) {
    std::string bytes = read_bytes(path);
    bytes.at(at) = static_cast<char>(bytes.at(at) ^ 1);
    write_bytes(path, bytes);
  }

  TemporaryFolder folder;
  SnapshotNet net;
};

TEST_F(SnapshotFilesTest, PredictAsThoseInMemoryDo) {
  SnapshotEnsemble files(net, options());
  SnapshotEnsemble memory(net, SnapshotEnsembleOptions().max_snapshots(3));
  for (const double value : {5.0, -1.0, 4.0, 2.5}) {
    add(net, files, value);
    memory.add();
  }
  net->set(7, 1);
  const auto forward = [&] { return net->forward(); };
  EXPECT_TRUE(torch::equal(files.predict(forward), memory.predict(forward)));
  EXPECT_TRUE(
      torch::equal(files.mean_output(forward), memory.mean_output(forward)));
  EXPECT_TRUE(torch::equal(net->weight, vector_of({7, 2, 3})));
  EXPECT_EQ(files.size(), 3U);
  EXPECT_THAT(
      files.path(0),
      testing::MatchesRegex(
          folder.file("snapshots") + "/snapshot-1-[0-9a-f]+\\.ckpt"));
  EXPECT_THAT(
      message_of([&] { memory.path(0); }), HasSubstr("no folder is set"));
}

TEST_F(SnapshotFilesTest, DroppedOnesStayUntilTheyAreRemoved) {
  SnapshotEnsemble ensemble(net, options());
  std::vector<std::string> paths;
  for (int i = 0; i < 5; ++i) {
    add(net, ensemble, i);
    paths.push_back(ensemble.path(ensemble.size() - 1));
  }
  // Of another run in the same folder.
  SnapshotEnsemble other(net, options());
  add(net, other, 77);
  const auto is_there = [&](int number) {
    return std::filesystem::exists(paths[static_cast<std::size_t>(number)]);
  };
  EXPECT_TRUE(is_there(0) && is_there(1) && is_there(4));
  ensemble.remove_dropped();
  EXPECT_FALSE(is_there(0) || is_there(1));
  EXPECT_TRUE(is_there(2) && is_there(3) && is_there(4));
  EXPECT_EQ(first_of(net, other, 0), 77);
  EXPECT_EQ(first_of(net, ensemble, 0), 2);
}

// A run that is ended after two more snapshots and goes on from its state.
TEST_F(SnapshotFilesTest, ARunGoesOnFromItsState) {
  SnapshotEnsemble ensemble(net, options());
  for (int i = 0; i < 4; ++i) add(net, ensemble, i);
  ensemble.step(1);
  ensemble.step(0.5);
  const std::string state = saved(ensemble);
  EXPECT_LT(state.size(), 3000U);
  for (int i = 4; i < 6; ++i) add(net, ensemble, i);
  SnapshotNet other;
  SnapshotEnsemble resumed(other, options());
  load(resumed, state);
  EXPECT_EQ(saved(resumed), state);
  EXPECT_EQ(resumed.added(), 4);
  EXPECT_EQ(first_of(other, resumed, 0), 1);
  EXPECT_EQ(first_of(other, resumed, 2), 3);
  EXPECT_EQ(other->weight[0].item<double>(), 1);  // its own
  EXPECT_TRUE(resumed.step(1));
  EXPECT_EQ(first_of(other, resumed, 2), 1);
  // Its fifth is another than that of the run before, which it leaves alone.
  EXPECT_EQ(first_of(net, ensemble, 1), 4);
  SnapshotEnsemble fewer(other, options().max_snapshots(1));
  load(fewer, state);
  EXPECT_EQ(first_of(other, fewer, 0), 3);
}

TEST_F(SnapshotFilesTest, AMissingOrDamagedFileChangesNothing) {
  SnapshotEnsemble ensemble(net, options());
  for (int i = 0; i < 3; ++i) add(net, ensemble, i);
  const std::string state = saved(ensemble);
  net->set(9, 4);
  SnapshotEnsemble resumed(net, options());
  const auto refused_everywhere = [&](const std::string& says) {
    EXPECT_THAT(
        message_of([&] { ensemble.predict([&] { return net->forward(); }); }),
        HasSubstr(says));
    EXPECT_THAT(
        message_of([&] { first_of(net, ensemble, 1); }), HasSubstr(says));
    EXPECT_THAT(message_of([&] { load(resumed, state); }), HasSubstr(says));
    EXPECT_EQ(resumed.size(), 0U);
    EXPECT_EQ(resumed.added(), 0);
    EXPECT_TRUE(torch::equal(net->weight, vector_of({9, 2, 3})));
    EXPECT_EQ(net->shift.item<double>(), 4);
  };
  const std::string path = ensemble.path(1);
  const std::string whole = read_bytes(path);
  change(path, whole.size() - 20);
  refused_everywhere("SnapshotEnsemble: load_checkpoint: " + path);
  write_bytes(path, whole.substr(0, whole.size() / 2));
  refused_everywhere("SnapshotEnsemble: load_checkpoint: " + path);
  std::filesystem::copy_file(
      ensemble.path(2),
      path,
      std::filesystem::copy_options::overwrite_existing);
  refused_everywhere(path + " has other contents");
  std::filesystem::remove(path);
  refused_everywhere(path);
  write_bytes(path, whole);
  load(resumed, state);
  EXPECT_EQ(first_of(net, resumed, 1), 1);
}

// Two signs at once, of which an unmixed product would see neither.
TEST_F(SnapshotFilesTest, ChangedSignsAreOtherContents) {
  SnapshotEnsemble ensemble(net, options());
  add(net, ensemble, 1);
  {
    const torch::NoGradGuard no_grad;
    net->weight.mul_(-1);
    net->shift.mul_(-1);
  }
  SnapshotEnsemble other(net, options());
  other.add();
  EXPECT_NE(other.path(0), ensemble.path(0));
}

struct RefusesOnce {
  bool refuses = false;
  void save(torch::serialize::OutputArchive& archive) const {
    archive.write("nothing", c10::IValue(int64_t{0}));
  }
  void load(torch::serialize::InputArchive& /*archive*/) {
    if (!std::exchange(refuses, false)) return;
    throw std::runtime_error("not this one");
  }
};

// A file that is lost meanwhile is no hindrance to the way back.
TEST_F(SnapshotFilesTest, ALoadThatIsRefusedLaterIsUndoneWithoutTheFiles) {
  SnapshotEnsemble ensemble(net, options());
  RefusesOnce last;
  Checkpoint run;
  run.state("ensemble", ensemble).state("last", last);
  add(net, ensemble, 1);
  ensemble.step(1);
  save_checkpoint(folder.file("run.ckpt"), run);
  add(net, ensemble, 2);
  add(net, ensemble, 3);
  ensemble.step(0.5);
  std::filesystem::remove(ensemble.path(2));
  last.refuses = true;
  EXPECT_THAT(
      message_of([&] { load_checkpoint(folder.file("run.ckpt"), run); }),
      HasSubstr("not this one"));
  EXPECT_EQ(ensemble.size(), 3U);
  EXPECT_EQ(ensemble.added(), 3);
  EXPECT_EQ(first_of(net, ensemble, 1), 2);
  EXPECT_TRUE(ensemble.step(1));  // it knows of the fall
}

TEST_F(SnapshotFilesTest, WhatCannotBeWrittenIsNotAdded) {
  write_bytes(folder.file("snapshots"), "a file");
  SnapshotEnsemble ensemble(net, options());
  EXPECT_THAT(
      message_of([&] { ensemble.add(); }), HasSubstr("save_checkpoint: "));
  EXPECT_EQ(ensemble.size(), 0U);
  EXPECT_EQ(ensemble.added(), 0);
}

TEST_F(SnapshotFilesTest, TheTwoKindsOfStateAreToldApart) {
  SnapshotEnsemble files(net, options());
  SnapshotEnsemble memory(net);
  add(net, files, 1);
  memory.add();
  EXPECT_THAT(
      message_of([&] { load(memory, saved(files)); }),
      HasSubstr("snapshots lie in files: name their folder"));
  EXPECT_THAT(
      message_of([&] { load(files, saved(memory)); }),
      HasSubstr("has its snapshots in it, and a folder is set"));
  torch::nn::Linear linear(2, 2);
  SnapshotEnsemble wrong(linear, options());
  EXPECT_THAT(
      message_of([&] { load(wrong, saved(files)); }),
      HasSubstr(files.path(0) + " does not fit the weights"));
}

}  // namespace
}  // namespace stepsize::test
