// The loop: train() goes through epochs, train_epoch() through the updates of
// one, next_update() takes its batches and steps the schedule, make_update()
// has forward pass, backward pass and the optimizer's step.
#include "examples/trainer/loop/train.h"

#include <chrono>
#include <cmath>
#include <utility>
#include <vector>

#include "examples/trainer/loop/tested_weights.h"
#include "examples/trainer/loop/update_reader.h"

namespace stepsize::trainer {
namespace {

namespace F = torch::nn::functional;

TrainingEnd train_epoch(
    const TrainingSetup& setup,
    TrainingState& state,
    const TrainingListener& listener);
std::optional<TestResult> test_epoch(
    const TrainingSetup& setup,
    TrainingState& state,
    const TrainingListener& listener,
    std::vector<torch::Tensor>& buffers);
bool next_update(
    const TrainingSetup& setup,
    TrainingState& state,
    const TrainingListener& listener,
    UpdateReader& reader);
Update make_whole_update(
    const TrainingSetup& setup,
    const MicroBatches& batches,
    std::int64_t position);

// The micro-batches of the next update; none at the end of the epoch.
MicroBatches next_batches(BatchSource& source, std::int64_t count) {
  MicroBatches batches;
  while (static_cast<std::int64_t>(batches.size()) < count) {
    auto batch = source.next();
    if (!batch) {
      break;
    }
    batches.push_back(std::move(*batch));
  }
  return batches;
}

bool should_stop(const TrainingListener& listener) {
  return listener.should_stop && listener.should_stop();
}

void pause(
    const TrainingListener& listener,
    std::optional<double> test_loss = std::nullopt) {
  if (listener.on_pause) {
    listener.on_pause(test_loss);
  }
}

// Of one micro-batch: the graphs of all would live at once. Never by autocast:
// LibTorch 1.13 has not all second derivatives in bfloat16.
void watch_curvature(
    const TrainingSetup& setup,
    const Batch& batch,
    double lr,
    const TrainingListener& listener) {
  // A rate that is none is about to end the run.
  if (setup.monitor == nullptr || !std::isfinite(lr)) {
    return;
  }
  const auto* row = setup.monitor->step(lr, [&] {
    setup.timer.enter(Phase::kMonitor);
    return F::cross_entropy(setup.model.forward(batch.images), batch.labels);
  });
  if (row == nullptr) {
    return;
  }
  setup.timer.enter(Phase::kUpdate);
  if (listener.on_curvature) {
    listener.on_curvature(*row);
  }
}

EpochResult result_of_epoch(
    const TrainingState& state, std::int64_t size, const TestResult& test) {
  const auto images = static_cast<double>(size);
  EpochResult result;
  result.epoch = state.epoch;
  result.step = state.step;
  result.lr = state.lr;
  result.train_loss = state.loss_sum / images;
  result.train_accuracy = static_cast<double>(state.right) / images;
  result.test_loss = test.loss;
  result.test_accuracy = test.accuracy;
  result.images_per_second = images / state.seconds;
  return result;
}

}  // namespace

TrainingEnd train(
    const TrainingSetup& setup,
    TrainingState& state,
    const TrainingListener& listener) {
  auto* const stopping = setup.early_stopping;
  std::vector<torch::Tensor> buffers;  // of the last test
  while (state.epoch <= setup.epochs &&
         (stopping == nullptr || !stopping->stopped())) {
    if (train_epoch(setup, state, listener) == TrainingEnd::kStopped) {
      setup.timer.stop();
      return TrainingEnd::kStopped;
    }
    const auto test = test_epoch(setup, state, listener, buffers);
    if (!test) {
      pause(listener);
      return TrainingEnd::kStopped;
    }
    ++state.epoch;
    state.in_epoch = false;
    if (setup.ensemble != nullptr && state.epoch > setup.epochs) {
      // Before the pause, so that a run which ends after it has them all.
      setup.ensemble->add();
    }
    if (!state.hopeless) {
      pause(listener, test->loss);
    }
  }
  if (stopping != nullptr && stopping->best_step() >= 0) {
    stopping->restore_best();
  } else {
    take_tested_weights(setup.optimizer, buffers);
  }
  return TrainingEnd::kFinished;
}

namespace {

// Tests, tells of the epoch and asks for the early end, all with the weights
// that are to be shipped. Nothing where the test was stopped.
std::optional<TestResult> test_epoch(
    const TrainingSetup& setup,
    TrainingState& state,
    const TrainingListener& listener,
    std::vector<torch::Tensor>& buffers) {
  auto* const stopping = setup.early_stopping;
  setup.timer.enter(Phase::kTest);
  const TestedWeights tested(
      setup.optimizer, setup.statistics, listener.should_stop);
  const auto test = evaluate(
      setup.model,
      setup.test,
      listener.should_stop,
      setup.ranks,
      [&](std::int64_t images) {
        if (listener.on_test) {
          listener.on_test(state.epoch, images);
        }
      });
  setup.timer.stop();
  if (!test) {
    return std::nullopt;
  }
  buffers = tested.buffers();
  const auto result = result_of_epoch(state, setup.train.size(), *test);
  if (listener.on_epoch) {
    listener.on_epoch(result);
  }
  const bool was_hopeless = state.hopeless;
  state.hopeless = is_hopeless(test->loss, setup.classes);
  const bool can_recover =
      setup.optimizer.recovers() && !was_hopeless && state.epoch < setup.epochs;
  if (state.hopeless && !can_recover) {
    throw DivergedError(result);
  }
  if (stopping != nullptr) {
    stopping->step(test->loss);
  }
  return test;
}

// What is left of the pass over the training images.
TrainingEnd train_epoch(
    const TrainingSetup& setup,
    TrainingState& state,
    const TrainingListener& listener) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  if (!state.in_epoch) {
    state.in_epoch = true;
    state.loss_sum = 0;
    state.right = 0;
    state.seconds = 0;
    setup.timer.enter(Phase::kInput);
    setup.train.start_epoch();
  }
  const double before = state.seconds;
  UpdateReader reader(setup, listener, state);
  const auto settle = [&] {
    reader.read();
    state.seconds =
        before + std::chrono::duration<double>(Clock::now() - start).count();
  };
  setup.model.train();
  try {
    while (next_update(setup, state, listener, reader)) {
      const bool stop = should_stop(listener);
      const bool due =
          setup.pause_every > 0 && state.step % setup.pause_every == 0;
      if (stop || due) {
        settle();
        // A run that is stopped is to go on from there whatever it is like.
        if (stop || !(state.hopeless || reader.was_hopeless())) {
          pause(listener);
        }
      }
      if (stop) {
        return TrainingEnd::kStopped;
      }
    }
  } catch (const RankLostError&) {
    settle();
    throw;
  }
  setup.timer.enter(Phase::kLog);
  settle();
  return TrainingEnd::kFinished;
}

// Makes the next update and steps the schedule; false at the end of the epoch.
bool next_update(
    const TrainingSetup& setup,
    TrainingState& state,
    const TrainingListener& listener,
    UpdateReader& reader) {
  setup.timer.enter(Phase::kInput);
  const auto wanted = setup.micro_batches ? setup.micro_batches(state.step) : 1;
  const std::int64_t position = setup.train.position();
  const auto batches = next_batches(setup.train, wanted);
  if (batches.empty()) {
    return false;
  }
  if (setup.ensemble != nullptr && state.step == 0) {
    // A rate that falls at once falls from this one.
    setup.ensemble->step(setup.scheduler.get_last_lr().front());
  }
  const Update update = make_whole_update(setup, batches, position);
  watch_curvature(setup, batches.front(), update.lr, listener);
  setup.scheduler.step();
  if (setup.ensemble != nullptr && state.step + 1 < setup.updates) {
    setup.ensemble->step(setup.scheduler.get_last_lr().front());
  }
  setup.timer.enter(Phase::kLog);
  StepResult step;
  step.batch = images_in(batches);
  ++state.step;
  state.images += step.batch;
  state.lr = update.lr;
  step.epoch = state.epoch;
  step.step = state.step;
  step.lr = update.lr;
  step.sharpness = update.sharpness;
  step.rolled_back = update.rolled_back;
  step.noise_scale = update.noise_scale;
  reader.add(step, update);
  return true;
}

std::vector<torch::Tensor> copies(const std::vector<torch::Tensor>& tensors) {
  std::vector<torch::Tensor> result;
  for (const auto& tensor : tensors) {
    result.push_back(tensor.clone());
  }
  return result;
}

// An update that is given up where another process is lost leaves no trace.
Update make_whole_update(
    const TrainingSetup& setup,
    const MicroBatches& batches,
    std::int64_t position) {
  if (setup.ranks == nullptr) {
    return make_update(setup.optimizer, batches, setup.timer);
  }
  const auto buffers = setup.model.buffers();
  const auto before = copies(buffers);
  try {
    return make_update(setup.optimizer, batches, setup.timer);
  } catch (const RankLostError&) {
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      buffers[i].detach().copy_(before[i]);
    }
    setup.train.return_to(position);
    setup.optimizer.meter().forget_update();
    throw;
  }
}

}  // namespace

Update make_update(
    TrainedOptimizer& optimizer,
    const MicroBatches& batches,
    PhaseTimer& timer) {
  ImageModel& model = optimizer.model();
  UpdateMeter& meter = optimizer.meter();
  const std::int64_t images = images_in(batches);
  const auto forward = [&](const Batch& batch) {
    timer.enter(Phase::kForward);
    const auto autocast = model.autocast(batch.images);
    const auto logits = model.forward(batch.images);
    meter.after_forward(logits, batch.labels);
    return loss_part(logits, batch, images, optimizer.ranks());
  };
  const LossFunction loss = [&] {
    meter.start_evaluation(batches, /*with_gradients=*/false);
    torch::Tensor sum;
    for (const auto& batch : batches) {
      const auto part = forward(batch);
      sum = sum.defined() ? sum + part : part;
    }
    meter.finish_evaluation(batches);
    timer.enter(Phase::kBackward);
    return sum;
  };
  // One micro-batch's graph lives at a time.
  const LossFunction loss_and_gradients = [&] {
    // Dropping the old gradients saves filling them with zeros and adding.
    for (const auto& parameter : model.parameters()) {
      parameter.mutable_grad().reset();
    }
    meter.start_evaluation(batches, /*with_gradients=*/true);
    torch::Tensor sum;
    for (const auto& batch : batches) {
      const auto part = forward(batch);
      timer.enter(Phase::kBackward);
      part.backward();
      meter.after_backward();
      sum = sum.defined() ? sum + part.detach() : part.detach();
    }
    meter.finish_evaluation(batches);
    timer.enter(Phase::kUpdate);
    return sum;
  };
  Update update;
  optimizer.step(loss, loss_and_gradients, update);
  timer.enter(Phase::kUpdate);
  update.right = meter.take_right();
  update.noise_scale = meter.noise_scale();
  return update;
}

torch::Tensor loss_part(
    const torch::Tensor& logits,
    const Batch& batch,
    std::int64_t images,
    const Reduction* ranks) {
  const auto all = static_cast<double>(images);
  if (ranks != nullptr) {
    // A share may be empty, and has no mean then.
    return F::cross_entropy(
               logits,
               batch.labels,
               F::CrossEntropyFuncOptions().reduction(torch::kSum)) *
           (static_cast<double>(ranks->world_size()) / all);
  }
  const auto mean = F::cross_entropy(logits, batch.labels);
  const auto count = batch.labels.size(0);
  return count == images ? mean : mean * (static_cast<double>(count) / all);
}

std::optional<TestResult> evaluate(
    ImageModel& model,
    BatchSource& source,
    const std::function<bool()>& should_stop,
    Reduction* ranks,
    const std::function<void(std::int64_t)>& on_images) {
  const torch::NoGradGuard no_grad;
  const bool was_training = model.is_training();
  model.eval();
  torch::Tensor loss;
  torch::Tensor right;
  bool stopped = false;
  std::int64_t done = 0;
  const auto count_images = [&](std::int64_t images) {
    done += images;
    if (on_images) {
      on_images(done);
    }
  };
  source.start_epoch();
  while (const auto batch = source.next()) {
    stopped = should_stop && should_stop();
    if (stopped) {
      break;
    }
    if (batch->labels.size(0) == 0) {
      count_images(batch->size());
      continue;
    }
    const auto autocast = model.autocast(batch->images);
    const auto logits = model.forward(batch->images);
    const auto sum = F::cross_entropy(
                         logits,
                         batch->labels,
                         F::CrossEntropyFuncOptions().reduction(torch::kSum))
                         .to(torch::kFloat64);
    const auto count = logits.argmax(1).eq(batch->labels).sum();
    loss = loss.defined() ? loss.add_(sum) : sum;
    right = right.defined() ? right.add_(count) : count;
    count_images(batch->size());
  }
  model.train(was_training);
  if (stopped) {
    return std::nullopt;
  }
  auto sums = torch::zeros({2}, torch::kFloat64);
  if (loss.defined()) {
    sums[0] = loss.cpu();
    sums[1] = right.cpu();
  }
  if (ranks != nullptr) {
    ranks->sum(sums);
  }
  sums /= static_cast<double>(source.size());
  return TestResult{
      without_sign_of_nan(sums[0].item<double>()), sums[1].item<double>()};
}

}  // namespace stepsize::trainer
