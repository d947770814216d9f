#include <stepsize/optim/optimizer_snapshot.h>

#include <gtest/gtest.h>
#include <stepsize/optim/clipped_sgd.h>
#include <torch/torch.h>

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/own_optimizers.h"

namespace stepsize {
namespace {

using test::leaf;
using test::message_of;
using torch::optim::Optimizer;

class ForeignAdam : public torch::optim::Adam {
 public:
  using torch::optim::Adam::Adam;
};

struct SnapshotRow {
  std::string name;
  std::function<std::unique_ptr<Optimizer>(std::vector<torch::Tensor>)> make;
  bool matrices = false;  ///< whether it steps matrices alone
};

template <typename Class, typename Options>
SnapshotRow snapshot_row(const std::string& name, const Options& options) {
  return {name, [options](std::vector<torch::Tensor> parameters) {
            return std::make_unique<Class>(std::move(parameters), options);
          }};
}

std::vector<SnapshotRow> snapshot_table() {
  namespace optim = torch::optim;
  std::vector<SnapshotRow> rows = {
      snapshot_row<optim::SGD>("SGD", optim::SGDOptions(0.01).momentum(0.9)),
      snapshot_row<optim::Adam>("Adam", optim::AdamOptions(0.01).amsgrad(true)),
      snapshot_row<optim::AdamW>("AdamW", optim::AdamWOptions(0.01)),
      snapshot_row<optim::RMSprop>(
          "RMSprop", optim::RMSpropOptions(0.01).momentum(0.5).centered(true)),
      snapshot_row<optim::Adagrad>("Adagrad", optim::AdagradOptions(0.1)),
      snapshot_row<optim::LBFGS>(
          "LBFGS", optim::LBFGSOptions(0.1).max_iter(2).history_size(3)),
      snapshot_row<ForeignAdam>("ForeignAdam", optim::AdamOptions(0.01)),
      snapshot_row<ClippedSGD>(
          "ClippedSGD", ClippedSGDOptions(0.01).momentum(0.9).max_norm(0.5)),
  };
  // Every class of this library, those of a new room too.
  test::for_each_own_optimizer([&rows](const auto& own) {
    using Own = std::decay_t<decltype(own)>;
    SnapshotRow& row = rows.emplace_back(
        snapshot_row<typename Own::Optimizer>(own.name, own.options));
    row.matrices = own.matrices;
  });
  return rows;
}

// A bowl that bends differently everywhere.
struct SnapshotRun {
  explicit SnapshotRun(const SnapshotRow& of)
      : parameters(starts(of)), optimizer(of.make(parameters)) {}

  static std::vector<torch::Tensor> starts(const SnapshotRow& of) {
    std::vector<torch::Tensor> starts = {leaf({1, -2, 0.5}), leaf({0.25})};
    for (auto& start : starts) {
      if (of.matrices) {
        start = start.detach().reshape({-1, 1}).requires_grad_();
      }
    }
    return starts;
  }

  void train(int steps) {
    const auto* const traits = find_traits(*optimizer);
    const bool graph = traits != nullptr && traits->wants_graph();
    for (int i = 0; i < steps; ++i) {
      optimizer->step([&] {
        if (!graph) optimizer->zero_grad();
        auto loss = parameters[0].pow(4).sum() +
                    (parameters[0] * parameters[1]).square().sum() +
                    parameters[1].cosh().sum();
        if (!graph) loss.backward();
        return loss;
      });
    }
  }

  std::vector<torch::Tensor> parameters;
  std::unique_ptr<Optimizer> optimizer;
};

void expect_same(const SnapshotRun& a, const SnapshotRun& b, const char* name) {
  for (std::size_t i = 0; i < a.parameters.size(); ++i) {
    EXPECT_TRUE(torch::equal(a.parameters[i], b.parameters[i])) << name;
  }
}

TEST(OptimizerSnapshot, StepsAfterItHaveNeverBeen) {
  for (const auto& of : snapshot_table()) {
    SnapshotRun plain(of);
    plain.train(11);
    SnapshotRun run(of);
    run.train(6);
    OptimizerSnapshot snapshot(*run.optimizer);
    for (int round = 0; round < 2; ++round) {
      for (auto& group : run.optimizer->param_groups()) {
        group.options().set_lr(0.03);
      }
      run.train(round == 0 ? 1 : 9);
      snapshot.restore();
    }
    run.train(5);
    expect_same(plain, run, of.name.c_str());
  }
}

TEST(OptimizerSnapshot, BeforeTheFirstStepThereIsOnlyTheFirstState) {
  for (const auto& of : snapshot_table()) {
    SnapshotRun plain(of);
    plain.train(5);
    SnapshotRun run(of);
    // Adagrad has some from the first.
    const auto& state = std::as_const(*run.optimizer).state();
    const auto entries = state.size();
    EXPECT_EQ(entries, of.name == "Adagrad" ? 2u : 0u) << of.name;
    OptimizerSnapshot snapshot(*run.optimizer);
    run.train(3);
    snapshot.restore();
    EXPECT_EQ(state.size(), entries) << of.name;
    run.train(5);
    expect_same(plain, run, of.name.c_str());
  }
}

TEST(OptimizerSnapshot, UpdateTakesItAnew) {
  for (const auto& of : snapshot_table()) {
    SnapshotRun plain(of);
    plain.train(6);
    SnapshotRun run(of);
    OptimizerSnapshot snapshot(*run.optimizer);
    run.train(4);
    snapshot.update();
    run.train(3);
    snapshot.restore();
    run.train(2);
    expect_same(plain, run, of.name.c_str());
  }
}

TEST(OptimizerSnapshot, CountersComeBack) {
  auto w = leaf({3, 4});
  ClippedSGD optimizer({w}, ClippedSGDOptions(0.1));
  const auto step = [&] {
    optimizer.zero_grad();
    w.square().sum().backward();
    optimizer.step();
  };
  step();
  OptimizerSnapshot snapshot(optimizer);
  step();
  step();
  EXPECT_EQ(optimizer.clipped_steps(), 3);
  snapshot.restore();
  EXPECT_EQ(optimizer.clipped_steps(), 1);
  EXPECT_EQ(optimizer.last_grad_norm(), 10);
}

TEST(OptimizerSnapshot, WritesOptionsAndParametersWhereTheyLie) {
  for (const auto& of : snapshot_table()) {
    SnapshotRun run(of);
    auto& group = run.optimizer->param_groups()[0];
    const auto* options = &group.options();
    const void* memory = run.parameters[0].data_ptr();
    const double lr = options->get_lr();
    OptimizerSnapshot snapshot(*run.optimizer);
    const auto version = run.parameters[0]._version();
    group.options().set_lr(0.75);
    run.parameters[0].set_data(torch::full_like(run.parameters[0], 9));
    snapshot.restore();
    EXPECT_EQ(group.options().get_lr(), lr) << of.name;
    if (of.name != "ForeignAdam") {
      EXPECT_EQ(&group.options(), options) << of.name;
    }
    EXPECT_EQ(run.parameters[0].data_ptr(), memory) << of.name;
    EXPECT_TRUE(torch::equal(run.parameters[0], SnapshotRun::starts(of)[0]))
        << of.name;
    EXPECT_EQ(run.parameters[0]._version(), version) << of.name;
  }
}

TEST(OptimizerSnapshot, RefusesOtherParameters) {
  auto a = leaf({1});
  auto b = leaf({2});
  torch::optim::SGD optimizer({a}, torch::optim::SGDOptions(0.5));
  OptimizerSnapshot snapshot(optimizer);
  optimizer.param_groups()[0].options().set_lr(0.25);
  optimizer.add_param_group({{b}});
  EXPECT_EQ(
      message_of([&] { snapshot.restore(); }),
      "OptimizerSnapshot: the optimizer has 2 parameter groups, the snapshot "
      "1");
  optimizer.param_groups().pop_back();
  optimizer.param_groups()[0].params()[0] = b;
  EXPECT_EQ(
      message_of([&] { snapshot.restore(); }),
      "OptimizerSnapshot: the parameters of group 0 are others than when the "
      "snapshot was made");
  EXPECT_EQ(optimizer.param_groups()[0].options().get_lr(), 0.25);
}

// Counts its steps, and says nothing of that to save().
class CountingSGD : public torch::optim::SGD {
 public:
  using torch::optim::SGD::SGD;
  torch::Tensor step(LossClosure closure = nullptr) override {
    ++steps;
    return SGD::step(closure);
  }
  int64_t steps = 0;
};

TEST(OptimizerSnapshot, WarnsOnceOfAClassThatMayKeepMore) {
  const auto said = [](Optimizer& optimizer) {
    testing::internal::CaptureStderr();
    OptimizerSnapshot snapshot(optimizer);
    return testing::internal::GetCapturedStderr();
  };
  CountingSGD counting({leaf({1})}, torch::optim::SGDOptions(0.1));
  const auto first = said(counting);
  EXPECT_NE(first.find("CountingSGD only what its save()"), std::string::npos)
      << first;
  EXPECT_EQ(said(counting), "");
  torch::optim::SGD known({leaf({1})}, torch::optim::SGDOptions(0.1));
  EXPECT_EQ(said(known), "");
}

class SavesNothing : public Optimizer {
 public:
  explicit SavesNothing(std::vector<torch::Tensor> parameters)
      : Optimizer(
            std::move(parameters),
            std::make_unique<torch::optim::SGDOptions>(0.1)) {}
  torch::Tensor step(LossClosure) override { return {}; }
};

class TallerLBFGS : public torch::optim::LBFGS {
 public:
  using torch::optim::LBFGS::LBFGS;
};

TEST(OptimizerSnapshot, RefusesWhatItCannotPutBack) {
  SavesNothing saves_nothing({leaf({1})});
  const auto text =
      message_of([&] { OptimizerSnapshot snapshot(saves_nothing); });
  EXPECT_EQ(text.rfind("OptimizerSnapshot: cannot put back", 0), 0u) << text;
  EXPECT_NE(text.find("override save() and load()"), std::string::npos) << text;
  TallerLBFGS taller({leaf({1})});
  EXPECT_NE(
      message_of([&] {
        OptimizerSnapshot snapshot(taller);
      }).find("a subclass of LBFGS that may keep more"),
      std::string::npos);
  ClippedSGD sgd({leaf({1})}, ClippedSGDOptions(0.1));
  sgd.param_groups()[0].options().set_lr(-1);
  EXPECT_NE(
      message_of([&] { OptimizerSnapshot snapshot(sgd); }).find("ClippedSGD"),
      std::string::npos);
}

}  // namespace
}  // namespace stepsize
