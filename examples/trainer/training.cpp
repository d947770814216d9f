#include "training.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "text.h"

namespace stepsize::trainer {
namespace {

namespace F = torch::nn::functional;

std::string diverged_message(
    const StepResult& result, const char* when, double lr_before) {
  return format(
             "the loss diverged: it was %g %s update %lld (epoch %lld), ",
             result.loss,
             when,
             static_cast<long long>(result.step),
             static_cast<long long>(result.epoch)) +
         (lr_before > 0 ? format("after one at the learning rate %g", lr_before)
                        : "before any was made");
}

bool is_hopeless(double loss, std::int64_t classes) {
  constexpr double kTimesAGuess = 1000;
  // A single class has a guess of 0.
  const double guess =
      std::log(static_cast<double>(std::max<std::int64_t>(classes, 2)));
  return !std::isfinite(loss) || loss > kTimesAGuess * guess;
}

// Some operations give NaN a sign, which tells a reader nothing.
double without_sign_of_nan(double value) {
  return std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value;
}

// Right answers as a tensor on the device, so that counting does not wait.
torch::Tensor count_right(
    const torch::Tensor& logits, const torch::Tensor& labels) {
  return logits.argmax(1).eq(labels).sum();
}

// What the updates of an epoch left on the device.
class UpdateReader {
 public:
  UpdateReader(
      const TrainingSetup& setup,
      const TrainingListener& listener,
      TrainingState& state)
      : setup_(setup),
        listener_(listener),
        state_(state),
        lr_before_(state.lr) {}

  // Of `update` its tensors are taken; all else is in `result`.
  void add(const StepResult& result, const Update& update) {
    right_ = right_.defined() ? right_.add_(update.right) : update.right;
    waiting_.push_back(result);
    losses_.push_back(update.loss);
    norms_.push_back(update.grad_norm);
    constexpr std::size_t kReadEvery = 50;
    if (update.loss.is_cpu() || losses_.size() == kReadEvery) {
      read_losses();
    }
  }

  // Of the loss that was read last.
  bool was_hopeless() const { return was_hopeless_; }

  // Leaves nothing on the device.
  void read() {
    read_losses();
    if (right_.defined()) {
      state_.right += right_.item<std::int64_t>();
      right_.reset();
    }
  }

 private:
  void read_losses() {
    const auto losses = values(losses_);
    const auto norms = values(norms_);
    const auto waiting = std::exchange(waiting_, {});
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      auto result = waiting[i];
      result.loss = losses[i];
      result.grad_norm = norms[i];
      state_.loss_sum += result.loss * static_cast<double>(result.batch);
      if (listener_.on_step) {
        listener_.on_step(result);
      }
      was_hopeless_ = is_hopeless(result.loss, setup_.classes);
      if (!setup_.updater.recovers() && was_hopeless_) {
        throw DivergedError(result, lr_before_);
      }
      lr_before_ = result.lr;
    }
  }

  // Reads the tensors in one go, and drops them.
  static std::vector<double> values(std::vector<torch::Tensor>& tensors) {
    std::vector<double> result;
    if (tensors.empty()) {
      return result;
    }
    const auto read = torch::stack(tensors).to(torch::kCPU, torch::kFloat64);
    const auto* value = read.data_ptr<double>();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      result.push_back(without_sign_of_nan(value[i]));
    }
    tensors.clear();
    return result;
  }

  const TrainingSetup& setup_;
  const TrainingListener& listener_;
  TrainingState& state_;
  std::vector<StepResult> waiting_;
  std::vector<torch::Tensor> losses_;
  std::vector<torch::Tensor> norms_;
  torch::Tensor right_;
  double lr_before_;
  bool was_hopeless_ = false;
};

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

std::int64_t images_in(const MicroBatches& batches) {
  std::int64_t images = 0;
  for (const auto& batch : batches) {
    images += batch.size();
  }
  return images;
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
    return setup.updater.make(batches, setup.timer);
  }
  const auto buffers = setup.model.buffers();
  const auto before = copies(buffers);
  try {
    return setup.updater.make(batches, setup.timer);
  } catch (const RankLostError&) {
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      buffers[i].detach().copy_(before[i]);
    }
    setup.train.return_to(position);
    setup.updater.forget_update();
    throw;
  }
}

// Makes the next update; false at the end of the epoch.
bool make_update(
    const TrainingSetup& setup, TrainingState& state, UpdateReader& reader) {
  setup.timer.enter(Phase::kInput);
  const auto wanted = setup.micro_batches ? setup.micro_batches(state.step) : 1;
  const std::int64_t position = setup.train.position();
  const auto batches = next_batches(setup.train, wanted);
  if (batches.empty()) {
    return false;
  }
  const Update update = make_whole_update(setup, batches, position);
  setup.scheduler.step();
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
    while (make_update(setup, state, reader)) {
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

EpochResult epoch_result(
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

DivergedError::DivergedError(const StepResult& result, double lr_before)
    : DivergedError(result, "at", lr_before, result.step - 1) {}

DivergedError::DivergedError(const EpochResult& result)
    : DivergedError(
          StepResult{result.epoch, result.step, result.lr, result.test_loss},
          "in the test after",
          result.lr,
          result.step) {}

DivergedError::DivergedError(
    const StepResult& result,
    const char* when,
    double lr_before,
    std::int64_t lost_after)
    : std::runtime_error(diverged_message(result, when, lr_before)),
      result_(result),
      lost_after_(lost_after) {}

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
    const auto logits = model.forward(batch->images);
    const auto sum = F::cross_entropy(
                         logits,
                         batch->labels,
                         F::CrossEntropyFuncOptions().reduction(torch::kSum))
                         .to(torch::kFloat64);
    const auto count = count_right(logits, batch->labels);
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

TrainingEnd train(
    const TrainingSetup& setup,
    TrainingState& state,
    const TrainingListener& listener) {
  auto* const stopping = setup.early_stopping;
  while (state.epoch <= setup.epochs &&
         (stopping == nullptr || !stopping->stopped())) {
    if (train_epoch(setup, state, listener) == TrainingEnd::kStopped) {
      setup.timer.stop();
      return TrainingEnd::kStopped;
    }
    setup.timer.enter(Phase::kTest);
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
      pause(listener);
      return TrainingEnd::kStopped;
    }
    const auto result = epoch_result(state, setup.train.size(), *test);
    if (listener.on_epoch) {
      listener.on_epoch(result);
    }
    const bool was_hopeless = state.hopeless;
    state.hopeless = is_hopeless(test->loss, setup.classes);
    const bool can_recover =
        setup.updater.recovers() && !was_hopeless && state.epoch < setup.epochs;
    if (state.hopeless && !can_recover) {
      throw DivergedError(result);
    }
    if (stopping != nullptr) {
      stopping->step(test->loss);
    }
    ++state.epoch;
    state.in_epoch = false;
    if (!state.hopeless) {
      pause(listener, test->loss);
    }
  }
  if (stopping != nullptr && stopping->best_step() >= 0) {
    stopping->restore_best();
  }
  return TrainingEnd::kFinished;
}

}  // namespace stepsize::trainer
