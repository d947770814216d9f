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
  // `lr` is the rate of the last update of the epoch before, 0 in the first.
  UpdateReader(
      const TrainingSetup& setup, const TrainingListener& listener, double lr)
      : setup_(setup), listener_(listener), lr_before_(lr) {}

  // Of `update` its tensors are taken; all else is in `result`.
  void add(const StepResult& result, const Update& update) {
    waiting_.push_back(result);
    losses_.push_back(update.loss);
    norms_.push_back(update.grad_norm);
    constexpr std::size_t kReadEvery = 50;
    if (update.loss.is_cpu() || losses_.size() == kReadEvery) {
      read();
    }
  }

  void read() {
    const auto losses = values(losses_);
    const auto norms = values(norms_);
    const auto waiting = std::exchange(waiting_, {});
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      auto result = waiting[i];
      result.loss = losses[i];
      result.grad_norm = norms[i];
      sum_ += result.loss * static_cast<double>(result.batch);
      if (listener_.on_step) {
        listener_.on_step(result);
      }
      if (!setup_.updater.recovers() &&
          is_hopeless(result.loss, setup_.classes)) {
        throw DivergedError(result, lr_before_);
      }
      lr_before_ = result.lr;
    }
  }

  // Sum of the losses over the images that were read.
  double sum() const { return sum_; }

 private:
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
  std::vector<StepResult> waiting_;
  std::vector<torch::Tensor> losses_;
  std::vector<torch::Tensor> norms_;
  double sum_ = 0;
  double lr_before_;
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
    images += batch.labels.size(0);
  }
  return images;
}

// One pass over the training images; fills all of `result` but the test's
// part, and goes on counting updates from result.step.
void train_epoch(
    const TrainingSetup& setup,
    const TrainingListener& listener,
    EpochResult& result) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  UpdateReader reader(setup, listener, result.lr);
  torch::Tensor right;
  setup.model.train();
  setup.timer.enter(Phase::kInput);
  setup.train.start_epoch();
  const auto wanted = [&] {
    return setup.micro_batches ? setup.micro_batches(result.step) : 1;
  };
  while (true) {
    const auto batches = next_batches(setup.train, wanted());
    if (batches.empty()) {
      break;
    }
    const Update update = setup.updater.make(batches, setup.timer);
    setup.scheduler.step();
    ++result.step;
    result.lr = update.lr;
    setup.timer.enter(Phase::kLog);
    right = right.defined() ? right.add_(update.right) : update.right;
    StepResult step;
    step.epoch = result.epoch;
    step.step = result.step;
    step.lr = update.lr;
    step.sharpness = update.sharpness;
    step.rolled_back = update.rolled_back;
    step.batch = images_in(batches);
    step.noise_scale = update.noise_scale;
    reader.add(step, update);
    setup.timer.enter(Phase::kInput);
  }
  setup.timer.enter(Phase::kLog);
  reader.read();
  const auto images = static_cast<double>(setup.train.size());
  result.train_loss = reader.sum() / images;
  result.train_accuracy =
      static_cast<double>(right.item<std::int64_t>()) / images;
  result.images_per_second =
      images / std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

DivergedError::DivergedError(const StepResult& result, double lr_before)
    : DivergedError(result, "at", lr_before) {}

DivergedError::DivergedError(const EpochResult& result)
    : DivergedError(
          StepResult{result.epoch, result.step, result.lr, result.test_loss},
          "in the test after",
          result.lr) {}

DivergedError::DivergedError(
    const StepResult& result, const char* when, double lr_before)
    : std::runtime_error(diverged_message(result, when, lr_before)),
      result_(result) {}

TestResult evaluate(ImageModel& model, BatchSource& source) {
  const torch::NoGradGuard no_grad;
  const bool was_training = model.is_training();
  model.eval();
  torch::Tensor loss;
  torch::Tensor right;
  source.start_epoch();
  while (const auto batch = source.next()) {
    const auto logits = model.forward(batch->images);
    const auto sum = F::cross_entropy(
                         logits,
                         batch->labels,
                         F::CrossEntropyFuncOptions().reduction(torch::kSum))
                         .to(torch::kFloat64);
    const auto count = count_right(logits, batch->labels);
    loss = loss.defined() ? loss.add_(sum) : sum;
    right = right.defined() ? right.add_(count) : count;
  }
  model.train(was_training);
  const auto images = static_cast<double>(source.size());
  return {
      without_sign_of_nan(loss.item<double>() / images),
      static_cast<double>(right.item<std::int64_t>()) / images};
}

void train(const TrainingSetup& setup, const TrainingListener& listener) {
  EpochResult result;
  bool stopped = false;
  bool hopeless = false;
  for (result.epoch = 1; result.epoch <= setup.epochs && !stopped;
       ++result.epoch) {
    train_epoch(setup, listener, result);
    setup.timer.enter(Phase::kTest);
    const TestResult test = evaluate(setup.model, setup.test);
    setup.timer.stop();
    result.test_loss = test.loss;
    result.test_accuracy = test.accuracy;
    if (listener.on_epoch) {
      listener.on_epoch(result);
    }
    const bool was_hopeless = hopeless;
    hopeless = is_hopeless(test.loss, setup.classes);
    const bool can_recover = setup.updater.recovers() && !was_hopeless &&
                             result.epoch < setup.epochs;
    if (hopeless && !can_recover) {
      throw DivergedError(result);
    }
    stopped = setup.early_stopping != nullptr &&
              setup.early_stopping->step(test.loss);
  }
  if (setup.early_stopping != nullptr &&
      setup.early_stopping->best_step() >= 0) {
    setup.early_stopping->restore_best();
  }
}

}  // namespace stepsize::trainer
