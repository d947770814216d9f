#include <gtest/gtest.h>
#include <stepsize/curvature/curvature_monitor.h>
#include <stepsize/curvature/gauss_newton_operator.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/curvature/support/problems.h"
#include "tests/curvature/support/two_parts.h"
#include "tests/support/error_text.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using MonitorOptions = CurvatureMonitorOptions;

std::vector<int64_t> updates_of(const CurvatureMonitor& monitor) {
  std::vector<int64_t> updates;
  for (const auto& row : monitor.measurements()) updates.push_back(row.update);
  return updates;
}

template <typename Part>
std::string archive_of(const Part& part) {
  std::ostringstream stream;
  torch::serialize::OutputArchive archive;
  part.save(archive);
  archive.save_to(stream);
  return stream.str();
}

void load_archive(CurvatureMonitor& monitor, const std::string& bytes) {
  std::istringstream stream(bytes);
  torch::serialize::InputArchive archive;
  archive.load_from(stream);
  monitor.load(archive);
}

TEST(CurvatureMonitor, MeasuresAKnownSpectrum) {
  const TwoParts problem(diagonal_matrix({8, -3, 1, 2}));
  CurvatureMonitor monitor(
      {problem.x, problem.y}, MonitorOptions().momentum(0.9).trace_samples(4));
  const auto* row = monitor.step(0.1, problem.closure());
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(row->update, 1);
  EXPECT_EQ(row->lr, 0.1);
  EXPECT_NEAR(row->sharpness, 8, 1e-6);
  EXPECT_EQ(row->effective_sharpness, row->sharpness);
  EXPECT_NEAR(*row->lr_sharpness, 0.8, 1e-7);
  EXPECT_NEAR(*row->limit, 3.8, 1e-12);
  // Of a diagonal matrix every sample has the trace.
  EXPECT_NEAR(*row->trace, 8, 1e-12);
  EXPECT_NEAR(*row->trace_error, 0, 1e-12);
}

TEST(CurvatureMonitor, TakesTheLimitOfMaxStableLr) {
  const TwoParts problem(diagonal_matrix({1, 1, 1}));
  const auto limit = [&](const MonitorOptions& options) {
    CurvatureMonitor monitor({problem.x, problem.y}, options);
    return monitor.measure({1}, problem.closure()).limit;
  };
  EXPECT_NEAR(*limit(MonitorOptions()), 2, 1e-12);
  EXPECT_NEAR(
      *limit(MonitorOptions().momentum(0.5).nesterov(true)), 1.5, 1e-12);
  EXPECT_NEAR(
      *limit(MonitorOptions().momentum(0.5).momentum_limit(
          MomentumLimit::kEffectiveRate)),
      1,
      1e-12);
  EXPECT_FALSE(limit(MonitorOptions().has_limit(false)).has_value());
  CurvatureMonitor without(
      {problem.x, problem.y}, MonitorOptions().has_limit(false));
  const auto& row = without.measure({1}, problem.closure());
  EXPECT_FALSE(row.lr_sharpness.has_value());
  EXPECT_FALSE(row.trace.has_value());
  EXPECT_NEAR(row.sharpness, 1, 1e-9);
}

// Below the limit LibTorch's SGD comes to rest, beyond it the loss grows.
TEST(CurvatureMonitor, SaysWhatIsStable) {
  for (const bool nesterov : {false, true}) {
    for (const double lr : {0.9, 1.1}) {
      const TwoParts problem(diagonal_matrix({4, 1, 0.5}));
      constexpr double kMomentum = 0.6;
      const double unit =
          (nesterov ? 3.2 / 2.2 : 3.2) / 4;  // (2 + 2 m) / (1 + 2 m) / lambda
      torch::optim::SGD sgd(
          {problem.x, problem.y},
          torch::optim::SGDOptions(lr * unit).momentum(kMomentum).nesterov(
              nesterov));
      CurvatureMonitor monitor(
          sgd.param_groups(),
          MonitorOptions().momentum(kMomentum).nesterov(nesterov));
      for (int i = 0; i < 300; ++i) {
        sgd.zero_grad();
        problem.loss().backward();
        sgd.step();
        monitor.step(lr * unit, problem.closure());
      }
      const auto& row = monitor.measurements().back();
      EXPECT_NEAR(*row.lr_sharpness / *row.limit, lr, 1e-6);
      const double loss = problem.loss().item<double>();
      EXPECT_TRUE(lr < 1 ? loss < 1e-3 : loss > 1e3) << loss;
    }
  }
}

TEST(CurvatureMonitor, ScalesByTheRatesOfTheGroups) {
  const at::Tensor a = matrix_with({7, 3, 1, -2, 0.5}, 4);
  const TwoParts problem(a);
  CurvatureMonitor monitor(
      problem.groups(),
      MonitorOptions().meter(CurvatureMeterOptions().start_products(200)));
  const auto* row = monitor.step({0.1, 0.4}, problem.closure());
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(row->lr, 0.4);
  EXPECT_NEAR(row->sharpness, 7, 1e-6);
  // Root of a quarter for the first two.
  const double expected = dense_sharpness(a, {0.5, 0.5, 1, 1, 1});
  EXPECT_NEAR(row->effective_sharpness, expected, 1e-6);
  EXPECT_NEAR(*row->lr_sharpness, 0.4 * expected, 1e-6);
  // The rates themselves, one a group, make the matrix of the update.
  EXPECT_NEAR(
      *row->lr_sharpness,
      dense_sharpness(
          a,
          {std::sqrt(0.1),
           std::sqrt(0.1),
           std::sqrt(0.4),
           std::sqrt(0.4),
           std::sqrt(0.4)}),
      1e-6);
  const auto& equal = monitor.measure({0.4, 0.4}, problem.closure());
  EXPECT_EQ(equal.effective_sharpness, equal.sharpness);
  const auto& zero = monitor.measure({0, 0}, problem.closure());
  EXPECT_EQ(*zero.lr_sharpness, 0);
}

TEST(CurvatureMonitor, GoesByAPreconditionerBesideTheHessian) {
  const at::Tensor a = matrix_with({9, 4, 1, 0.3}, 6);
  const std::vector<double> p{4, 0.25, 9, 1};
  // As Adam's: P^-1 g is the direction.
  const TensorVector roots{
      torch::tensor({0.5, 2.0}, torch::kDouble),
      torch::tensor({1.0 / 3, 1.0}, torch::kDouble)};
  const auto precondition = [roots](const LinearOperator& hessian) {
    return function_operator(
        hessian.like(), [hessian, roots](const TensorVector& v) {
          TensorVector product =
              hessian.apply({v[0] * roots[0], v[1] * roots[1]});
          return TensorVector{product[0] * roots[0], product[1] * roots[1]};
        });
  };
  const TwoParts problem(a);
  CurvatureMonitor monitor(
      problem.groups(),
      MonitorOptions()
          .preconditioner(precondition)
          .meter(CurvatureMeterOptions().start_products(300)));
  const auto one = monitor.measure({0.5}, problem.closure());
  EXPECT_NEAR(one.sharpness, 9, 1e-6);
  EXPECT_NEAR(
      one.effective_sharpness, dense_sharpness(a, {0.5, 2, 1.0 / 3, 1}), 1e-6);
  // With rates of 1 and 4 besides.
  const auto both = monitor.measure({1, 4}, problem.closure());
  EXPECT_NEAR(
      *both.lr_sharpness, dense_sharpness(a, {0.5, 2, 2.0 / 3, 2}), 1e-5);
}

TEST(CurvatureMonitor, EstimatesTheTraceWithItsError) {
  const at::Tensor a = torch::tensor(
      {{4.0, 1.0, -0.5}, {1.0, 3.0, 2.0}, {-0.5, 2.0, -1.0}}, torch::kDouble);
  const TwoParts problem(a);
  constexpr int64_t kSamples = 2000;
  CurvatureMonitor monitor(
      {problem.x, problem.y}, MonitorOptions().trace_samples(kSamples));
  const auto& row = monitor.measure({1}, problem.closure());
  // The variance of a sample is 2 * 2 (1 + 4 + 1/4).
  const double error = std::sqrt(21.0 / kSamples);
  EXPECT_NEAR(*row.trace_error, error, 0.1 * error);
  EXPECT_NEAR(*row.trace, 6, 4 * error);
  // Other vectors at another update.
  CurvatureMonitor later(
      {problem.x, problem.y}, MonitorOptions().trace_samples(3));
  const double first = *later.step(1, problem.closure())->trace;
  for (int i = 0; i < 9; ++i) later.step(1, problem.closure());
  ASSERT_EQ(later.measurements().size(), 2U);
  EXPECT_NE(*later.measurements()[1].trace, first);
}

TEST(CurvatureMonitor, IsACounterWhereNothingIsDue) {
  const TwoParts problem(diagonal_matrix({2, 1, 1}));
  int64_t looks = 0;
  CurvatureMonitor monitor(
      {problem.x, problem.y}, MonitorOptions().every(10).clock([&] {
        ++looks;
        return 0.0;
      }));
  // A copy of this would count.
  struct Closure {
    explicit Closure(const TwoParts& p) : problem(p) {}
    Closure(const Closure& other)
        : problem(other.problem), copies(other.copies) {
      ++*copies;
    }
    at::Tensor operator()() const { return problem.loss(); }
    const TwoParts& problem;
    std::shared_ptr<int64_t> copies = std::make_shared<int64_t>(0);
  } const closure(problem);
  for (int64_t update = 1; update <= 35; ++update) {
    const auto before = *closure.copies;
    const auto* row = monitor.step(0.1, closure);
    const bool due = update == 1 || update % 10 == 0;
    EXPECT_EQ(row != nullptr, due) << update;
    EXPECT_EQ(*closure.copies > before, due) << update;
  }
  EXPECT_EQ(updates_of(monitor), (std::vector<int64_t>{1, 10, 20, 30}));
  EXPECT_EQ(monitor.updates(), 35);
  EXPECT_EQ(monitor.next_update(), 40);
  // And without a budget the time is nobody's matter.
  EXPECT_EQ(looks, 0);
  EXPECT_TRUE(std::isnan(monitor.overhead()));
}

// A second an update, on a clock that the test turns.
struct TimedRun {
  explicit TimedRun(const MonitorOptions& options)
      : problem(diagonal_matrix({2, 1, 1})),
        monitor({problem.x, problem.y}, MonitorOptions(options).clock([this] {
          ++looks;
          return time;
        })) {}
  TimedRun(const TimedRun&) = delete;

  void train(int64_t updates) {
    for (int64_t i = 0; i < updates; ++i) {
      time += update_seconds;
      monitor.step(0.1, [this] {
        time += seconds;
        return problem.loss();
      });
    }
  }

  double time = 100;
  double update_seconds = 1;
  double seconds = 20;  // of a measurement
  int64_t looks = 0;
  TwoParts problem;
  CurvatureMonitor monitor;
};

TEST(CurvatureMonitor, StaysWithinItsShareOfTheTime) {
  TimedRun run(MonitorOptions().every(10).budget(10));
  run.train(1000);
  // At 10 % two measurements of 20 s take 400 s of training, each one more
  // another 200; the clock starts at update 1.
  EXPECT_EQ(updates_of(run.monitor), (std::vector<int64_t>{1, 410, 610, 810}));
  EXPECT_NEAR(run.monitor.overhead(), 100 * 80 / 809.0, 1e-9);
  EXPECT_LE(run.monitor.overhead(), 10);
  // The first planned after it had learned what an update takes.
  EXPECT_LE(run.looks, 14);
}

TEST(CurvatureMonitor, FollowsWhatUpdatesAndMeasurementsTake) {
  TimedRun run(MonitorOptions().every(10).budget(10));
  run.seconds = 0.01;
  run.train(100);
  EXPECT_EQ(run.monitor.measurements().size(), 11U);
  // Updates that are a hundred times as long bring it back to every tenth,
  // measurements that are a thousand times as long widen it again.
  run.seconds = 10;
  run.train(1000);
  const auto slow = run.monitor.measurements().size();
  EXPECT_LE(run.monitor.overhead(), 10);
  EXPECT_GE(run.monitor.overhead(), 8);
  run.update_seconds = 100;
  run.train(1000);
  EXPECT_GE(run.monitor.measurements().size(), slow + 80);
  EXPECT_LE(run.monitor.overhead(), 10);
}

TEST(CurvatureMonitor, BearsAClockThatStandsOrGoesBack) {
  TimedRun run(MonitorOptions().every(5).budget(10));
  run.update_seconds = 0;
  run.seconds = 0;
  run.train(20);
  EXPECT_EQ(run.monitor.measurements().size(), 5U);
  run.update_seconds = -1;
  run.seconds = 1;
  run.train(20);
  EXPECT_GE(run.monitor.updates(), 40);
  EXPECT_GE(run.monitor.overhead(), 0);
}

// Training with dropout and BatchNorm.
struct Network {
  Network() {
    torch::manual_seed(5);
    model = torch::nn::Sequential(
        torch::nn::Linear(4, 6),
        torch::nn::BatchNorm1d(6),
        torch::nn::Tanh(),
        torch::nn::Dropout(0.3),
        torch::nn::Linear(6, 3));
    model->to(torch::kDouble);
    inputs = torch::randn({12, 4}, torch::kDouble);
    classes = torch::randint(3, {12}, torch::kLong);
    sgd = std::make_unique<torch::optim::SGD>(
        model->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  }

  at::Tensor loss() {
    return torch::nn::functional::cross_entropy(
        model->forward(inputs), classes);
  }
  MonitorOptions options() {
    return MonitorOptions().every(3).trace_samples(2).meter(
        CurvatureMeterOptions().buffers(model->buffers()));
  }
  void update() {
    sgd->zero_grad();
    loss().backward();
    sgd->step();
  }
  std::vector<at::Tensor> state() const {
    std::vector<at::Tensor> tensors;
    for (const auto& part : model->parameters()) {
      tensors.push_back(part.detach().clone());
      tensors.push_back(part.grad().clone());
    }
    for (const auto& part : model->buffers()) tensors.push_back(part.clone());
    tensors.push_back(torch::rand({2}));  // and the random numbers to come
    return tensors;
  }

  torch::nn::Sequential model{nullptr};
  at::Tensor inputs;
  at::Tensor classes;
  std::unique_ptr<torch::optim::SGD> sgd;
};

TEST(CurvatureMonitor, ChangesNothingOfARun) {
  for (const auto method :
       {HessianMethod::kExact, HessianMethod::kCentralDifference}) {
    std::vector<std::vector<at::Tensor>> ends;
    for (const bool watched : {false, true}) {
      Network net;
      auto options = net.options();
      options.meter().method(method);
      CurvatureMonitor monitor(net.model->parameters(), options);
      torch::manual_seed(6);
      for (int i = 0; i < 10; ++i) {
        net.update();
        if (watched) monitor.step(0.1, [&] { return net.loss(); });
      }
      ends.push_back(net.state());
      EXPECT_EQ(monitor.measurements().size(), watched ? 4U : 0U);
    }
    for (std::size_t i = 0; i < ends[0].size(); ++i) {
      EXPECT_TRUE(ends[0][i].equal(ends[1][i])) << i;
    }
  }
}

TEST(CurvatureMonitor, GoesOnBitForBitFromASave) {
  const auto precondition = [](const LinearOperator& hessian) {
    return sum_operator({{hessian, 0.5}});
  };
  const auto run = [&](int64_t stop) {
    Network net;
    auto options = net.options();
    options.preconditioner(precondition);
    CurvatureMonitor monitor(net.model->parameters(), options);
    torch::manual_seed(6);
    for (int64_t i = 0; i < 30; ++i) {
      if (i == stop) {
        CurvatureMonitor resumed(net.model->parameters(), options);
        load_archive(resumed, archive_of(monitor));
        monitor = resumed;
      }
      net.update();
      monitor.step(0.1, [&] { return net.loss(); });
    }
    return monitor;
  };
  const auto whole = run(-1);
  ASSERT_EQ(whole.measurements().size(), 11U);
  for (const int64_t stop : {0, 1, 7, 12, 29}) {
    const auto resumed = run(stop);
    EXPECT_EQ(archive_of(resumed), archive_of(whole)) << stop;
    EXPECT_EQ(updates_of(resumed), updates_of(whole));
    EXPECT_EQ(
        resumed.measurements().back().trace, whole.measurements().back().trace);
  }
}

TEST(CurvatureMonitor, KeepsItsAccountOfTheTimeOverASave) {
  const auto options = MonitorOptions().every(10).budget(10);
  TimedRun first(options);
  first.train(300);
  EXPECT_EQ(updates_of(first.monitor), (std::vector<int64_t>{1}));
  TimedRun second(options);
  second.time = 7e6;
  load_archive(second.monitor, archive_of(first.monitor));
  // A long start of the program counts for nothing.
  second.time += 5000;
  second.train(520);
  EXPECT_EQ(
      updates_of(second.monitor), (std::vector<int64_t>{1, 410, 610, 810}));
  EXPECT_LE(second.monitor.overhead(), 10);
  // However often it is saved.
  TimedRun often(options);
  std::string bytes = archive_of(first.monitor);
  for (int i = 0; i < 60; ++i) {
    load_archive(often.monitor, bytes);
    often.train(10);
    bytes = archive_of(often.monitor);
  }
  EXPECT_GE(often.monitor.measurements().size(), 3U);
}

TEST(CurvatureMonitor, LoadsNothingFromAnotherArchive) {
  const TwoParts problem(diagonal_matrix({2, 1, 1}));
  CurvatureMonitor monitor({problem.x, problem.y});
  monitor.step(1, problem.closure());
  const std::string before = archive_of(monitor);
  CurvatureMeter other;
  other.measure(diagonal({2, 1}));
  EXPECT_EQ(
      message_of([&] {
        load_archive(monitor, archive_of(other));
      }).rfind("CurvatureMonitor: the archive has no", 0),
      0U);
  EXPECT_EQ(archive_of(monitor), before);
}

TEST(CurvatureMonitor, TellsANumberThatIsNoneAndGoesOn) {
  const TwoParts problem(diagonal_matrix({2, 1, 1}));
  CurvatureMonitor monitor(
      {problem.x, problem.y}, MonitorOptions().every(1).trace_samples(2));
  bool broken = false;
  const auto loss = [&] {
    return broken ? problem.loss() * kNaN : problem.loss();
  };
  monitor.step(1, loss);
  broken = true;
  const auto* row = monitor.step(1, loss);
  ASSERT_NE(row, nullptr);
  EXPECT_TRUE(std::isnan(row->sharpness));
  EXPECT_TRUE(std::isnan(*row->lr_sharpness));
  EXPECT_TRUE(std::isnan(*row->trace));
  EXPECT_EQ(monitor.meter().failed_measurements(), 1);
  broken = false;
  EXPECT_NEAR(monitor.step(1, loss)->sharpness, 2, 1e-9);
}

// |w|^3, whose second derivative is computed as 0 * infinity at 0.
TEST(CurvatureMonitor, TakesADifferenceWhereTheExactProductIsNotFinite) {
  const auto w = torch::tensor({0.0, 1.0}, torch::kDouble).requires_grad_(true);
  CurvatureMonitor monitor({w});
  const auto& row =
      monitor.measure({1}, [&] { return w.square().pow(1.5).sum(); });
  EXPECT_NEAR(row.sharpness, 6, 1e-3);
  EXPECT_EQ(monitor.meter().failed_measurements(), 0);
}

TEST(CurvatureMonitor, TakesAnOperatorInPlaceOfALoss) {
  const SmallNet net;
  CurvatureMonitor monitor(net.parameters);
  const auto* row = monitor.step(0.1, [&] {
    return gauss_newton_operator(
        [&] { return net.outputs(); },
        [&](const at::Tensor& outputs) {
          return torch::cross_entropy_loss(outputs, net.classes);
        },
        net.parameters);
  });
  ASSERT_NE(row, nullptr);
  const auto expected =
      at::linalg_eigvalsh(dense(gauss_newton_operator(
                              [&] { return net.outputs(); },
                              [&](const at::Tensor& outputs) {
                                return torch::cross_entropy_loss(
                                    outputs, net.classes);
                              },
                              net.parameters)))
          .max()
          .item<double>();
  EXPECT_NEAR(row->sharpness, expected, 0.03 * expected);
  // And a HessianOperator, which is one.
  EXPECT_GT(
      monitor
          .measure(
              {0.1},
              [&] {
                return hessian_operator(net.cross_entropy(), net.parameters);
              })
          .sharpness,
      0);
}

TEST(CurvatureMonitor, LeavesFrozenParametersOut) {
  const TwoParts problem(diagonal_matrix({1, 2, 9}));
  CurvatureMonitor monitor(problem.groups(), MonitorOptions().every(1));
  problem.y.set_requires_grad(false);
  EXPECT_NEAR(monitor.step({1, 3}, problem.closure())->sharpness, 2, 1e-9);
  problem.y.set_requires_grad(true);
  const auto* row = monitor.step({1, 3}, problem.closure());
  EXPECT_NEAR(row->sharpness, 9, 1e-9);
  EXPECT_NEAR(*row->lr_sharpness, 27, 1e-6);
}

TEST(CurvatureMonitor, TriesAgainAfterAnError) {
  const TwoParts problem(diagonal_matrix({2, 1, 1}));
  CurvatureMonitor monitor({problem.x, problem.y});
  const GraphClosure failing = []() -> at::Tensor {
    throw std::runtime_error("no batch");
  };
  EXPECT_THROW(monitor.step(1, failing), std::runtime_error);
  EXPECT_EQ(monitor.updates(), 1);
  EXPECT_TRUE(monitor.measurements().empty());
  ASSERT_NE(monitor.step(1, problem.closure()), nullptr);
  EXPECT_EQ(updates_of(monitor), (std::vector<int64_t>{2}));
  EXPECT_EQ(monitor.next_update(), 10);
}

TEST(CurvatureMonitor, RefusesWhatItCannotWatch) {
  const TwoParts problem(diagonal_matrix({2, 1, 1}));
  const auto make = [&](const MonitorOptions& options) {
    return message_of([&] { CurvatureMonitor({problem.x}, options); });
  };
  EXPECT_EQ(
      make(MonitorOptions().every(0)),
      "CurvatureMonitor: every must be >= 1, got 0");
  EXPECT_EQ(
      make(MonitorOptions().budget(-1)),
      "CurvatureMonitor: budget must be finite and >= 0, got -1");
  EXPECT_EQ(
      make(MonitorOptions().trace_samples(1)),
      "CurvatureMonitor: trace_samples must be 0 or >= 2, got 1");
  EXPECT_EQ(
      make(MonitorOptions().meter(CurvatureMeterOptions().products(0))),
      "CurvatureMonitor: products must be >= 1, got 0");
  EXPECT_EQ(
      message_of([] { CurvatureMonitor(TensorVector{}); }),
      "CurvatureMonitor: there must be a parameter");
  CurvatureMonitor monitor(problem.groups());
  const auto measure = [&](const std::vector<double>& lrs) {
    return message_of([&] { monitor.measure(lrs, problem.closure()); });
  };
  EXPECT_EQ(
      measure({1, 1, 1}),
      "CurvatureMonitor: there must be one rate, or one for each of 2 groups, "
      "got 3");
  EXPECT_EQ(
      measure({kNaN}), "CurvatureMonitor: lr must be finite and >= 0, got nan");
  EXPECT_TRUE(monitor.measurements().empty());
}

}  // namespace
}  // namespace stepsize::test
