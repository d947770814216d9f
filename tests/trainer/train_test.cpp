#include "examples/trainer/loop/train.h"

#include <gtest/gtest.h>
#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/ramp.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "examples/trainer/loop/tested_ensemble.h"
#include "examples/trainer/run/progress.h"

namespace stepsize::trainer {
namespace {

// The pixels are the logits, times a weight; counts its calls and can go wrong.
class PixelModel : public ImageModel {
 public:
  PixelModel() { weight_ = register_parameter("weight", torch::ones({1})); }

  torch::Tensor forward(torch::Tensor images) override {
    ++calls;
    const double factor =
        calls == bad_call ? std::numeric_limits<double>::quiet_NaN() : 1.0;
    return images.flatten(1) * weight_ * factor;
  }

  int calls = 0;
  int bad_call = 0;

 private:
  torch::Tensor weight_;
};

// Images of three pixels, one a class.
ImageSet pixel_set() {
  const auto pixels = torch::tensor(
      {0, 0, 0, /**/ 5, 0, 0, /**/ 0, 0, 2, /**/ 0, 9, 0}, torch::kUInt8);
  return {
      pixels.view({4, 1, 1, 3}), torch::tensor({2, 0, 0, 1}, torch::kInt64)};
}

BatchSource pixel_source(std::int64_t batch_size) {
  BatchSourceOptions options;
  options.batch_size = batch_size;
  return {pixel_set(), {{1}, {0}}, options, torch::kCPU};
}

// The mean of log(sum(exp)) - right logit, written out.
double loss_by_hand() {
  return (std::log(3.0) + std::log(1 + 2 * std::exp(-5.0)) +
          (std::log(2 + std::exp(2.0)) - 0) +
          std::log(1 + 2 * std::exp(-9.0))) /
         4;
}

TEST(Evaluate, GivesMeanLossAndAccuracyOverUnevenBatches) {
  for (const std::int64_t batch_size : {1, 3, 4}) {
    PixelModel model;
    auto source = pixel_source(batch_size);
    const TestResult result = *evaluate(model, source);
    // Logits are single precision.
    EXPECT_NEAR(result.loss, loss_by_hand(), 1e-6);
    // The second and the last; of equal logits the first one counts.
    EXPECT_EQ(result.accuracy, 0.5);
  }
}

TEST(Evaluate, LeavesTheModelInItsMode) {
  PixelModel model;
  auto source = pixel_source(2);
  model.eval();
  evaluate(model, source);
  EXPECT_FALSE(model.is_training());
  model.train();
  evaluate(model, source);
  EXPECT_TRUE(model.is_training());
}

struct Pause {
  std::int64_t step;
  std::size_t heard;  // updates that the listener had heard of
  std::optional<double> test_loss;
};

struct Heard {
  std::vector<StepResult> steps;
  std::vector<EpochResult> epochs;
  std::vector<Pause> pauses;
  std::vector<CurvatureMeasurement> curvature;
  TrainingEnd end = TrainingEnd::kFinished;
  TrainingState state;
};

// What a run may be told besides.
struct Extras {
  std::int64_t batch_size = 3;
  std::int64_t epochs = 2;
  std::function<std::int64_t(std::int64_t)> micro_batches = nullptr;
  EarlyStopping* early_stopping = nullptr;
  std::int64_t pause_every = 0;
  std::size_t stop_after = 1000;  // updates
  std::size_t stop_in_test = 0;   // at this batch of the first test, from 1
  bool rolls_back = false;
  TrainingState state = {};  // to go on from
  CurvatureMonitor* monitor = nullptr;
  SnapshotEnsemble* ensemble = nullptr;
  std::int64_t updates = 0;
};

Heard train_pixels(
    PixelModel& model,
    double lr,
    const Schedule& schedule,
    const Extras& extras = {}) {
  Heard heard;
  const auto optimizer =
      extras.rolls_back
          ? by_rollback(
                model,
                std::make_unique<RollbackSGD>(
                    model.parameters(), RollbackSGDOptions(lr)))
          : by_gradients(
                model,
                std::make_unique<torch::optim::SGD>(model.parameters(), lr));
  ScheduleLR scheduler(optimizer->inner(), schedule);
  auto train_images = pixel_source(extras.batch_size);
  auto test_images = pixel_source(4);
  auto statistics = pixel_source(4);
  PhaseTimer timer;
  TrainingState state = extras.state;
  std::size_t asked_in_test = 0;
  TrainingListener listener;
  listener.on_step = [&](const StepResult& r) { heard.steps.push_back(r); };
  listener.on_epoch = [&](const EpochResult& r) { heard.epochs.push_back(r); };
  listener.on_pause = [&](std::optional<double> test_loss) {
    heard.pauses.push_back({state.step, heard.steps.size(), test_loss});
  };
  listener.on_curvature = [&](const CurvatureMeasurement& row) {
    heard.curvature.push_back(row);
  };
  listener.should_stop = [&] {
    if (extras.stop_in_test > 0 && !model.is_training()) {
      return ++asked_in_test == extras.stop_in_test;
    }
    return heard.steps.size() == extras.stop_after;
  };
  heard.end = train(
      {model,
       *optimizer,
       scheduler,
       train_images,
       test_images,
       &statistics,
       timer,
       /*classes=*/3,
       extras.epochs,
       extras.micro_batches,
       extras.early_stopping,
       extras.pause_every,
       /*ranks=*/nullptr,
       extras.monitor,
       extras.ensemble,
       extras.updates},
      state,
      listener);
  heard.state = state;
  return heard;
}

TEST(Train, StepsTheScheduleOnceAnUpdate) {
  PixelModel model;
  const auto heard = train_pixels(model, 0.5, linear(4));
  ASSERT_EQ(heard.steps.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(heard.steps[i].step, static_cast<std::int64_t>(i) + 1);
    EXPECT_EQ(heard.steps[i].epoch, static_cast<std::int64_t>(i) / 2 + 1);
    EXPECT_DOUBLE_EQ(heard.steps[i].lr, 0.5 * (1 - static_cast<double>(i) / 4));
  }
  ASSERT_EQ(heard.epochs.size(), 2U);
  EXPECT_EQ(heard.epochs[1].step, 4);
  EXPECT_DOUBLE_EQ(heard.epochs[1].lr, 0.125);
}

TEST(Train, ReportsMeanLossAndAccuracyOfTheEpoch) {
  PixelModel model;
  // So small a rate leaves the weight as it is.
  const auto heard = train_pixels(model, 1e-30, constant());
  ASSERT_EQ(heard.epochs.size(), 2U);
  for (const auto& epoch : heard.epochs) {
    EXPECT_NEAR(epoch.train_loss, loss_by_hand(), 1e-6);
    EXPECT_NEAR(epoch.test_loss, loss_by_hand(), 1e-6);
    EXPECT_EQ(epoch.train_accuracy, 0.5);
    EXPECT_EQ(epoch.test_accuracy, 0.5);
  }
}

// The variance of the pixels where softmax says how likely each is: the second
// derivative of an image's loss over the weight.
double curvature_of(const std::vector<double>& pixels) {
  double sum = 0;
  double first = 0;
  double second = 0;
  for (const double pixel : pixels) {
    sum += std::exp(pixel);
    first += std::exp(pixel) * pixel;
    second += std::exp(pixel) * pixel * pixel;
  }
  return second / sum - first / sum * (first / sum);
}

TEST(Train, TellsTheCurvatureThatIsWatched) {
  PixelModel model;
  CurvatureMonitor monitor(
      model.parameters(), CurvatureMonitorOptions().every(3).momentum(0.5));
  Extras extras;
  extras.batch_size = 4;
  extras.epochs = 7;
  extras.monitor = &monitor;
  const auto heard = train_pixels(model, 1e-30, constant(), extras);
  const double expected = (curvature_of({5, 0, 0}) + curvature_of({0, 0, 2}) +
                           curvature_of({0, 9, 0})) /
                          4;
  ASSERT_EQ(heard.curvature.size(), 3U);
  std::vector<std::int64_t> updates;
  for (const auto& row : heard.curvature) {
    updates.push_back(row.update);
    EXPECT_NEAR(row.sharpness, expected, 1e-4 * expected);
    EXPECT_EQ(row.lr, 1e-30);
    EXPECT_NEAR(*row.lr_sharpness, 1e-30 * expected, 1e-34 * expected);
    EXPECT_EQ(*row.limit, 3);
  }
  EXPECT_EQ(updates, (std::vector<std::int64_t>{1, 3, 6}));
  EXPECT_EQ(monitor.measurements().size(), 3U);
}

TEST(Train, TakesAGradientStep) {
  PixelModel model;
  const auto before = model.parameters()[0].item<double>();
  const auto heard = train_pixels(model, 1e-3, constant());
  // d loss / d weight over the first batch: sum of p_i x_i - x_label.
  const double e5 = std::exp(-5.0);
  const double e2 = std::exp(2.0);
  const double gradient =
      (0 + (5 / (1 + 2 * e5) - 5) + (2 * e2 / (2 + e2) - 0)) / 3;
  EXPECT_EQ(heard.steps.size(), 4U);
  // Two epochs take this step twice; their other batch has a gradient of
  // -0.002, which the tolerance covers, as it does the change of the weight.
  const double moved = before - model.parameters()[0].item<double>();
  EXPECT_NEAR(moved, 2 * 1e-3 * gradient, 2e-5);
  EXPECT_NEAR(heard.steps[0].grad_norm, std::abs(gradient), 1e-5);
  EXPECT_FALSE(heard.steps[0].sharpness);
  EXPECT_FALSE(heard.steps[0].rolled_back);
}

TEST(Train, AccumulatesMicroBatchesIntoTheUpdateOfTheWholeBatch) {
  PixelModel whole;
  Extras extras;
  const auto expected = train_pixels(whole, 0.125, constant(), extras);
  // Three single images make a batch of three; an epoch has four.
  PixelModel parts;
  extras.batch_size = 1;
  extras.micro_batches = [](std::int64_t) { return 3; };
  const auto heard = train_pixels(parts, 0.125, constant(), extras);
  ASSERT_EQ(heard.steps.size(), expected.steps.size());
  for (std::size_t i = 0; i < heard.steps.size(); ++i) {
    EXPECT_EQ(heard.steps[i].batch, i % 2 == 0 ? 3 : 1);
    EXPECT_EQ(heard.steps[i].batch, expected.steps[i].batch);
    EXPECT_NEAR(heard.steps[i].loss, expected.steps[i].loss, 1e-6);
    EXPECT_NEAR(heard.steps[i].grad_norm, expected.steps[i].grad_norm, 1e-6);
  }
  EXPECT_NEAR(heard.epochs[1].train_loss, expected.epochs[1].train_loss, 1e-6);
  EXPECT_EQ(heard.epochs[1].train_accuracy, expected.epochs[1].train_accuracy);
  EXPECT_NEAR(
      parts.parameters()[0].item<double>(),
      whole.parameters()[0].item<double>(),
      1e-6);
}

TEST(Train, LetsTheBatchGrow) {
  PixelModel model;
  Extras extras;
  extras.batch_size = 1;
  extras.epochs = 3;
  extras.micro_batches = [](std::int64_t update) { return 1 + update / 4; };
  const auto heard = train_pixels(model, 1e-3, constant(), extras);
  std::vector<std::int64_t> batches;
  for (const auto& step : heard.steps) {
    batches.push_back(step.batch);
  }
  // What is left at the end of an epoch is an update too.
  EXPECT_EQ(batches, (std::vector<std::int64_t>{1, 1, 1, 1, 2, 2, 2, 2}));
}

double weight_of(const PixelModel& model) {
  return model.parameters().front().item<double>();
}

TEST(Train, TakesTheWeightsAtTheEndOfEachCycle) {
  const Schedule cycles = cosine_restarts(2);
  PixelModel first_cycle;
  Extras extras;
  extras.batch_size = 2;
  extras.epochs = 1;
  train_pixels(first_cycle, 0.1, cycles, extras);
  PixelModel model;
  SnapshotEnsemble ensemble(model);
  extras.epochs = 2;
  extras.ensemble = &ensemble;
  extras.updates = 4;
  train_pixels(model, 0.1, cycles, extras);
  ASSERT_EQ(ensemble.size(), 2U);
  const double last = weight_of(model);
  {
    const SnapshotWeights snapshot(ensemble, 0);
    EXPECT_EQ(weight_of(model), weight_of(first_cycle));
    EXPECT_NE(weight_of(model), last);
  }
  const SnapshotWeights snapshot(ensemble, 1);
  EXPECT_EQ(weight_of(model), last);
}

// Of pixels times a weight: minus the logarithm of the label's probability,
// where that is a mean over models.
double loss_of_mean(const std::vector<double>& weights) {
  const double pixels[4][3] = {{0, 0, 0}, {5, 0, 0}, {0, 0, 2}, {0, 9, 0}};
  const int labels[4] = {2, 0, 0, 1};
  double loss = 0;
  for (int i = 0; i < 4; ++i) {
    double mean = 0;
    for (const double weight : weights) {
      double sum = 0;
      for (const double pixel : pixels[i]) sum += std::exp(weight * pixel);
      mean += std::exp(weight * pixels[i][labels[i]]) / sum;
    }
    loss -= std::log(mean / static_cast<double>(weights.size())) / 4;
  }
  return loss;
}

TEST(TestEnsemble, TestsSnapshotsAndBothMeans) {
  PixelModel model;
  SnapshotEnsemble ensemble(model);
  const auto set = [&](double weight) {
    const torch::NoGradGuard no_grad;
    model.parameters().front().fill_(weight);
  };
  for (const double weight : {-1.0, 2.0}) {
    set(weight);
    ensemble.add();
  }
  set(7);
  auto test = pixel_source(3);
  auto statistics = pixel_source(4);
  const auto rows = test_ensemble(ensemble, model, test, statistics);
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 4U);
  const auto expect = [&](std::size_t row,
                          const std::string& name,
                          double loss,
                          double accuracy) {
    EXPECT_EQ(rows->at(row).name, name);
    EXPECT_NEAR(rows->at(row).result.loss, loss, 1e-6) << name;
    EXPECT_EQ(rows->at(row).result.accuracy, accuracy) << name;
  };
  // Of equal logits the first one counts.
  expect(0, "snapshot 1", loss_of_mean({-1}), 0.25);
  expect(1, "snapshot 2", loss_of_mean({2}), 0.5);
  expect(2, "mean of their predictions", loss_of_mean({-1, 2}), 0.5);
  expect(3, "mean of their weights", loss_of_mean({0.5}), 0.5);
  EXPECT_EQ(weight_of(model), 7);
  EXPECT_TRUE(model.is_training());
}

TEST(TestEnsemble, EndsWhereItIsTold) {
  PixelModel model;
  SnapshotEnsemble ensemble(model);
  ensemble.add();
  auto test = pixel_source(1);
  auto statistics = pixel_source(4);
  // Four batches of the snapshot, one of the statistics, four of the mean.
  for (int last = 1; last <= 10; ++last) {
    int asked = 0;
    const auto rows = test_ensemble(
        ensemble, model, test, statistics, [&] { return ++asked == last; });
    EXPECT_EQ(rows.has_value(), last > 8) << last;
  }
}

TEST(Train, StopsEarlyAndPutsTheBestWeightsBack) {
  // At a rate of 20 the first epoch leaves the minimum far behind.
  PixelModel model;
  EarlyStopping stopping(model, EarlyStoppingOptions().patience(1));
  std::vector<double> weights;
  Extras extras;
  extras.epochs = 50;
  extras.early_stopping = &stopping;
  const auto heard = train_pixels(model, 3.0, linear(8, 0.01, 1), extras);
  std::size_t best = 0;
  for (std::size_t i = 1; i < heard.epochs.size(); ++i) {
    if (heard.epochs[i].test_loss < heard.epochs[best].test_loss) best = i;
  }
  EXPECT_EQ(stopping.best_step(), static_cast<std::int64_t>(best));
  // Two epochs without a better loss.
  EXPECT_EQ(heard.epochs.size(), best + 3);
  auto test_images = pixel_source(4);
  EXPECT_EQ(evaluate(model, test_images)->loss, heard.epochs[best].test_loss);
}

TEST(Train, StopsAtTheFirstLossThatIsNoNumber) {
  PixelModel model;
  model.bad_call = 2;
  try {
    train_pixels(model, 0.25, constant());
    FAIL() << "did not stop";
  } catch (const DivergedError& error) {
    EXPECT_EQ(error.result().step, 2);
    EXPECT_EQ(error.result().epoch, 1);
    EXPECT_EQ(error.result().lr, 0.25);
    EXPECT_STREQ(
        error.what(),
        "the loss diverged: it was nan at update 2 (epoch 1), after one at "
        "the learning rate 0.25");
  }
  EXPECT_EQ(model.calls, 2);
}

TEST(Train, StopsAtALossAThousandTimesThatOfAGuess) {
  PixelModel model;
  {
    const torch::NoGradGuard no_grad;
    model.parameters()[0].fill_(1e4);
  }
  EXPECT_THROW(train_pixels(model, 0.25, constant()), DivergedError);
}

TEST(Train, StopsWhenTheLastUpdateRuinedTheModel) {
  // Its losses are those before the update.
  PixelModel model;
  model.bad_call = 3;  // two batches an epoch, then the test
  try {
    train_pixels(model, 0.25, constant());
    FAIL() << "did not stop";
  } catch (const DivergedError& error) {
    EXPECT_EQ(error.result().step, 2);
    EXPECT_STREQ(
        error.what(),
        "the loss diverged: it was nan in the test after update 2 (epoch 1), "
        "after one at the learning rate 0.25");
  }
}

TEST(Train, PausesEverySoManyUpdatesAndAfterEachEpoch) {
  PixelModel model;
  Extras extras;
  extras.batch_size = 1;
  extras.pause_every = 3;
  const auto heard = train_pixels(model, 0.5, constant(), extras);
  std::vector<std::int64_t> steps;
  for (const auto& pause : heard.pauses) {
    steps.push_back(pause.step);
    EXPECT_EQ(pause.heard, static_cast<std::size_t>(pause.step));
    const bool ends_epoch = pause.step % 4 == 0;
    EXPECT_EQ(pause.test_loss.has_value(), ends_epoch) << pause.step;
  }
  EXPECT_EQ(steps, (std::vector<std::int64_t>{3, 4, 6, 8}));
  EXPECT_EQ(heard.pauses[1].test_loss, heard.epochs[0].test_loss);
  EXPECT_EQ(heard.end, TrainingEnd::kFinished);
  EXPECT_EQ(heard.state.epoch, 3);
  EXPECT_EQ(heard.state.images, 8);
}

TEST(Train, DoesNotPauseWhereTheLossMayBeLost) {
  PixelModel model;
  {
    const torch::NoGradGuard no_grad;
    model.parameters()[0].fill_(1e4);
  }
  Extras extras;
  extras.batch_size = 1;
  extras.epochs = 3;
  extras.pause_every = 1;
  extras.rolls_back = true;
  extras.stop_after = 6;
  const auto heard = train_pixels(model, 1e-9, constant(), extras);
  // The third image is told wrongly, by 20,000, so that the test's loss, 5,000,
  // is hopeless too. What is stopped is paused for.
  std::vector<std::int64_t> steps;
  for (const auto& pause : heard.pauses) {
    steps.push_back(pause.step);
  }
  EXPECT_EQ(steps, (std::vector<std::int64_t>{1, 2, 4, 6}));
  EXPECT_TRUE(heard.state.hopeless);
}

TEST(Train, StopsAfterTheUpdateAndPausesFirst) {
  PixelModel model;
  Extras extras;
  extras.batch_size = 1;
  extras.stop_after = 6;
  const auto heard = train_pixels(model, 0.5, constant(), extras);
  EXPECT_EQ(heard.end, TrainingEnd::kStopped);
  EXPECT_EQ(heard.steps.size(), 6U);
  ASSERT_EQ(heard.pauses.size(), 2U);
  EXPECT_EQ(heard.pauses.back().step, 6);
  EXPECT_TRUE(heard.state.in_epoch);
  EXPECT_EQ(heard.state.epoch, 2);
}

TEST(Train, LeavesTheTestThatIsStoppedForLater) {
  Extras extras;
  extras.epochs = 1;
  PixelModel whole_model;
  const auto whole = train_pixels(whole_model, 0.5, constant(), extras);
  PixelModel model;
  extras.stop_in_test = 1;
  const auto heard = train_pixels(model, 0.5, constant(), extras);
  EXPECT_EQ(heard.end, TrainingEnd::kStopped);
  EXPECT_EQ(heard.steps.size(), 2U);
  EXPECT_TRUE(heard.epochs.empty());
  ASSERT_FALSE(heard.pauses.empty());
  EXPECT_EQ(heard.pauses.back().step, 2);
  EXPECT_FALSE(heard.pauses.back().test_loss.has_value());
  EXPECT_EQ(heard.state.images, 4);
  EXPECT_TRUE(model.is_training());
  // Only the test is left.
  extras.stop_in_test = 0;
  extras.state = heard.state;
  const auto later = train_pixels(model, 0.5, constant(), extras);
  EXPECT_EQ(later.end, TrainingEnd::kFinished);
  EXPECT_TRUE(later.steps.empty());
  ASSERT_EQ(later.epochs.size(), 1U);
  EXPECT_EQ(later.epochs[0].test_loss, whole.epochs[0].test_loss);
  EXPECT_EQ(later.epochs[0].train_loss, whole.epochs[0].train_loss);
}

TEST(Progress, KeepsTheBarWithin79Columns) {
  std::ostringstream out;
  Progress progress(out, /*bar=*/true, {2000, 7820000, 7820000 * 128LL, 10000});
  const auto table = out.str().size();
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  StepResult result{1000, 3910000, 0.1, 12.5};
  result.batch = 3910000 * 128LL;
  progress.add(result);
  const std::string frame = out.str().substr(table);
  const std::string erase = "\x1b[K";
  ASSERT_EQ(frame.substr(frame.size() - erase.size()), erase);
  EXPECT_LE(frame.size() - erase.size() - 1, 79U) << frame;
  EXPECT_NE(frame.find("3910000/7820000"), std::string::npos) << frame;
}

TEST(Progress, FitsTheTerminal) {
  const std::string bar = "[##..] ";
  EXPECT_EQ(
      progress_line("epoch 1/2 ", bar, "0:13 left", 80),
      "epoch 1/2 [##..] 0:13 left");
  // 26 columns and the one that stays free.
  EXPECT_EQ(
      progress_line("epoch 1/2 ", bar, "0:13 left", 27),
      "epoch 1/2 [##..] 0:13 left");
  EXPECT_EQ(
      progress_line("epoch 1/2 ", bar, "0:13 left", 26), "epoch 1/2 0:13 left");
  EXPECT_EQ(progress_line("epoch 1/2 ", bar, "0:13 left", 8), "epoch 1");
}

TEST(Progress, MovesInTheTestOfAnEpoch) {
  std::ostringstream out;
  // 300 images of training are worth 900 of a test, as long as it is not known.
  Progress progress(out, /*bar=*/true, {1, 3, 300, 900, 300, 0});
  const auto table = out.str().size();
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  progress.add_test(1, 480);
  const std::string frame = out.str().substr(table);
  EXPECT_NE(
      frame.find("epoch 1/1 [###############.....] test 480/900  0:0"),
      std::string::npos)
      << frame;
  EXPECT_NE(frame.find(" left"), std::string::npos) << frame;
}

TEST(WorkEstimate, CountsTestsInTheTimeThatIsLeft) {
  WorkEstimate estimate;
  EXPECT_EQ(estimate.seconds(100, 100), 0);
  estimate.add_training(200, 20);
  EXPECT_DOUBLE_EQ(estimate.training_rate(), 10);
  // A third of 0.1 s, as long as no test has been seen.
  EXPECT_DOUBLE_EQ(estimate.seconds(100, 30), 11);
  estimate.add_test(10, 5);
  EXPECT_DOUBLE_EQ(estimate.seconds(100, 30), 25);
  EXPECT_DOUBLE_EQ(estimate.work(100, 30), 250);
  // A run that goes on in a test.
  WorkEstimate tested;
  tested.add_test(10, 5);
  EXPECT_DOUBLE_EQ(tested.seconds(0, 10), 5);
  EXPECT_DOUBLE_EQ(tested.seconds(10, 0), 15);
}

TEST(Evaluate, SaysHowManyImagesAreDone) {
  auto source = pixel_source(3);
  PixelModel model;
  std::vector<std::int64_t> heard;
  evaluate(model, source, nullptr, nullptr, [&](std::int64_t images) {
    heard.push_back(images);
  });
  EXPECT_EQ(heard, (std::vector<std::int64_t>{3, 4}));
}

TEST(Progress, DrawsCellsForTheShareThatIsDone) {
  std::ostringstream out;
  Progress progress(out, /*bar=*/true, {2, 20, 20 * 128});
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  StepResult result{1, 5, 0.1, 2.5};
  result.batch = 5 * 128;
  progress.add(result);
  EXPECT_NE(out.str().find("[#####...............]"), std::string::npos);
}

TEST(Progress, WritesWholeRowsWithoutABar) {
  std::ostringstream out;
  Progress progress(out, /*bar=*/false, {2, 20, 20 * 128});
  progress.add(StepResult{1, 1, 0.1, 2.5});
  EpochResult epoch;
  epoch.epoch = 1;
  epoch.step = 10;
  epoch.test_accuracy = 0.875;
  progress.add(epoch);
  progress.clear();
  const std::string text = out.str();
  EXPECT_EQ(text.find('\r'), std::string::npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  EXPECT_NE(text.find("87.50%"), std::string::npos);
}

TEST(ClockText, CountsUpToHours) {
  EXPECT_EQ(clock_text(0), "0:00");
  EXPECT_EQ(clock_text(6.2), "0:07");
  EXPECT_EQ(clock_text(60), "1:00");
  EXPECT_EQ(clock_text(3723), "1:02:03");
}

}  // namespace
}  // namespace stepsize::trainer
