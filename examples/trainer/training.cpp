#include "training.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace stepsize::trainer {
namespace {

namespace F = torch::nn::functional;

std::string diverged_message(const StepResult& result, const char* when) {
  char text[160];
  std::snprintf(
      text,
      sizeof text,
      "the loss diverged: it was %g %s update %lld (epoch %lld), where the "
      "learning rate was %g",
      result.loss,
      when,
      static_cast<long long>(result.step),
      static_cast<long long>(result.epoch),
      result.lr);
  return text;
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
  return logits.detach().argmax(1).eq(labels).sum();
}

// The losses of an epoch that are still on the device.
class LossReader {
 public:
  LossReader(const TrainingSetup& setup, const TrainingListener& listener)
      : setup_(setup), listener_(listener) {}

  void add(const StepResult& result, const Batch& batch, torch::Tensor loss) {
    waiting_.push_back({result, batch.labels.size(0)});
    losses_.push_back(std::move(loss));
    constexpr std::size_t kReadEvery = 50;
    if (losses_.back().is_cpu() || losses_.size() == kReadEvery) {
      read();
    }
  }

  void read() {
    if (losses_.empty()) {
      return;
    }
    const auto values = torch::stack(losses_).to(torch::kCPU, torch::kFloat64);
    losses_.clear();
    auto waiting = std::move(waiting_);
    waiting_.clear();
    const auto* value = values.data_ptr<double>();
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      auto& [result, images] = waiting[i];
      result.loss = without_sign_of_nan(value[i]);
      sum_ += result.loss * static_cast<double>(images);
      if (listener_.on_step) {
        listener_.on_step(result);
      }
      if (is_hopeless(result.loss, setup_.classes)) {
        throw DivergedError(result);
      }
    }
  }

  // Sum over the images that were read.
  double sum() const { return sum_; }

 private:
  struct Waiting {
    StepResult result;
    std::int64_t images;
  };

  const TrainingSetup& setup_;
  const TrainingListener& listener_;
  std::vector<Waiting> waiting_;
  std::vector<torch::Tensor> losses_;
  double sum_ = 0;
};

// One pass over the training images; fills all of `result` but the test's
// part, and goes on counting updates from result.step.
void train_epoch(
    const TrainingSetup& setup,
    const TrainingListener& listener,
    EpochResult& result) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const auto parameters = setup.model.parameters();
  LossReader reader(setup, listener);
  torch::Tensor right;
  setup.model.train();
  setup.timer.enter(Phase::kInput);
  setup.train.start_epoch();
  while (const auto batch = setup.train.next()) {
    setup.timer.enter(Phase::kForward);
    const auto logits = setup.model.forward(batch->images);
    const auto loss = F::cross_entropy(logits, batch->labels);
    setup.timer.enter(Phase::kBackward);
    // Dropping the old gradients saves filling them with zeros and adding.
    for (const auto& parameter : parameters) {
      parameter.mutable_grad().reset();
    }
    loss.backward();
    setup.timer.enter(Phase::kUpdate);
    result.lr = setup.scheduler.get_last_lr().front();
    setup.optimizer.step();
    setup.scheduler.step();
    ++result.step;
    setup.timer.enter(Phase::kLog);
    const auto count = count_right(logits, batch->labels);
    right = right.defined() ? right.add_(count) : count;
    reader.add(
        {result.epoch, result.step, result.lr, 0}, *batch, loss.detach());
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

DivergedError::DivergedError(const StepResult& result)
    : std::runtime_error(diverged_message(result, "at")), result_(result) {}

DivergedError::DivergedError(const EpochResult& result)
    : DivergedError(
          StepResult{result.epoch, result.step, result.lr, result.test_loss},
          "in the test after") {}

DivergedError::DivergedError(const StepResult& result, const char* when)
    : std::runtime_error(diverged_message(result, when)), result_(result) {}

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
  for (result.epoch = 1; result.epoch <= setup.epochs; ++result.epoch) {
    train_epoch(setup, listener, result);
    setup.timer.enter(Phase::kTest);
    const TestResult test = evaluate(setup.model, setup.test);
    setup.timer.stop();
    result.test_loss = test.loss;
    result.test_accuracy = test.accuracy;
    if (listener.on_epoch) {
      listener.on_epoch(result);
    }
    if (is_hopeless(test.loss, setup.classes)) {
      throw DivergedError(result);
    }
  }
}

}  // namespace stepsize::trainer
