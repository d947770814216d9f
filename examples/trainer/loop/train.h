#pragma once

#include <stepsize/adaptive/snapshot_ensemble.h>
#include <stepsize/curvature/curvature_monitor.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/tune/early_stopping.h>
#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <optional>

#include "examples/trainer/data/batch_source.h"
#include "examples/trainer/loop/divergence.h"
#include "examples/trainer/loop/phase_timer.h"
#include "examples/trainer/loop/results.h"
#include "examples/trainer/loop/trained_optimizer.h"
#include "examples/trainer/loop/training_state.h"
#include "examples/trainer/model/image_model.h"

namespace stepsize::trainer {

/// Mean cross-entropy and share of right answers over a set.
struct TestResult {
  double loss = 0;
  double accuracy = 0;
};

/// Runs the model over one epoch of `source` in evaluation mode, and leaves
/// it in the mode it was in. Nothing where `should_stop`, which is asked before
/// each batch, ended it. With `ranks`, over the shares of all. `on_images`
/// hears after each batch how many images, those of all ranks, are done.
std::optional<TestResult> evaluate(
    ImageModel& model,
    BatchSource& source,
    const std::function<bool()>& should_stop = nullptr,
    Reduction* ranks = nullptr,
    const std::function<void(std::int64_t)>& on_images = nullptr);

/// What a run works with; nothing is owned. Model and sources are on one
/// device.
struct TrainingSetup {
  ImageModel& model;
  TrainedOptimizer& optimizer;
  ScheduleLR& scheduler;
  BatchSource& train;
  BatchSource& test;
  /// Training images by themselves, for TestedWeights; null where nothing else
  /// is tested than is trained.
  BatchSource* statistics;
  PhaseTimer& timer;
  std::int64_t classes;
  std::int64_t epochs;
  /// Micro-batches of update n = 0, 1, ...; one where it is empty. The last
  /// update of an epoch has what is left.
  std::function<std::int64_t(std::int64_t)> micro_batches = nullptr;
  /// Ends the run where it says so of the loss over the test images; then, and
  /// at the end, the best weights are put back.
  EarlyStopping* early_stopping = nullptr;
  /// Updates between two calls of TrainingListener::on_pause, besides that at
  /// the end of each epoch; 0: no others.
  std::int64_t pause_every = 0;
  /// The processes that train together, each with a source of its share; null
  /// where there is one. Losses and right answers are those of all.
  Reduction* ranks = nullptr;
  /// Looks at the curvature after each update; null: nobody does.
  CurvatureMonitor* monitor = nullptr;
  /// Takes the weights at the end of each cycle of the rate, and at that of the
  /// run of so many updates; null: nobody does.
  SnapshotEnsemble* ensemble = nullptr;
  std::int64_t updates = 0;
};

/// Who hears of a run, and may end it.
struct TrainingListener {
  std::function<void(const StepResult&)> on_step;
  std::function<void(const EpochResult&)> on_epoch;
  /// What the monitor has measured. On an accelerator the update may not have
  /// been heard of yet.
  std::function<void(const CurvatureMeasurement&)> on_curvature;
  /// In the test after an epoch: the epoch, and how many images are done.
  std::function<void(std::int64_t, std::int64_t)> on_test;
  /// Whether to stop; asked after each update and in tests.
  std::function<bool()> should_stop;
  /// Called where the setup's parts and the state are those of one moment, and
  /// the listener has heard of all before it: what is saved here can be gone on
  /// from. With the loss over the test images at the end of an epoch.
  std::function<void(std::optional<double>)> on_pause;
};

/// What a batch's logits add to the mean cross-entropy over so many images,
/// times the number of ranks: the mean over ranks is then the sum of what they
/// add.
torch::Tensor loss_part(
    const torch::Tensor& logits,
    const Batch& batch,
    std::int64_t images,
    const Reduction* ranks);

/// Makes one update: forward and backward pass of each micro-batch, then the
/// optimizer's step. Takes the timer from phase kForward to kUpdate.
Update make_update(
    TrainedOptimizer& optimizer,
    const MicroBatches& batches,
    PhaseTimer& timer);

enum class TrainingEnd : std::uint8_t {
  kFinished,  ///< all epochs, or early stopping
  kStopped,   ///< by TrainingListener::should_stop
};

/// Trains on the cross-entropy for a number of epochs, steps the schedule once
/// an update, and tests after every epoch. Where it has finished the model has
/// the weights that are to be shipped.
///
/// On a CPU the listener hears of every update at once. On an accelerator
/// losses and norms are read back some dozens at a time, since each reading
/// waits for the device; none is left out.
///
/// Goes on from `state`, which is new for a run from its start. If setup and
/// state are as they were in an earlier run's pause, then all that follows is
/// what followed there.
///
/// Throws DivergedError at the first update, or the first test, whose loss is
/// hopeless, after the listener has heard of it and before it is paused for.
/// With an optimizer that recovers only tests count: the last one, and two in a
/// row. There is no pause after a test with such a loss, nor in the epoch after
/// it, nor after an update with one, but to stop.
///
/// Throws RankLostError where another process is lost: setup and state are then
/// those of the last complete update, and can be saved.
TrainingEnd train(
    const TrainingSetup& setup,
    TrainingState& state,
    const TrainingListener& listener);

}  // namespace stepsize::trainer
