#include "updater.h"

#include <stepsize/kernels/grad_norm.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "text.h"

namespace stepsize::trainer {
namespace {

namespace F = torch::nn::functional;

void add_left_out(std::vector<std::string>& lines, std::int64_t count) {
  if (count > 0) {
    lines.push_back(
        "left out " + counted(count, "update") + " that were not finite");
  }
}

torch::Tensor on_host(double value) {
  return torch::tensor(value, torch::kFloat64);
}

double scheduled_lr(const torch::optim::Optimizer& optimizer) {
  return optimizer.param_groups().front().options().get_lr();
}

// Smallest and largest of some numbers.
class Range {
 public:
  void add(double value) {
    low_ = std::min(low_, value);
    high_ = std::max(high_, value);
  }
  // "0.031 .. 0.12"
  std::string text() const { return format("%.3g .. %.3g", low_, high_); }

 private:
  double low_ = std::numeric_limits<double>::infinity();
  double high_ = -std::numeric_limits<double>::infinity();
};

// A model and its loss, with the timer's phases.
class Evaluation {
 public:
  explicit Evaluation(ImageModel& model)
      : model_(model), parameters_(model.parameters()) {}

  // The loss with its graph; logits of the first call since start() are kept.
  torch::Tensor loss(const Batch& batch, PhaseTimer& timer) {
    timer.enter(Phase::kForward);
    const auto logits = model_.forward(batch.images);
    if (!logits_.defined()) {
      logits_ = logits.detach();
    }
    return F::cross_entropy(logits, batch.labels);
  }

  // The same after a backward pass that left its gradients.
  torch::Tensor loss_and_gradients(const Batch& batch, PhaseTimer& timer) {
    const auto result = loss(batch, timer);
    timer.enter(Phase::kBackward);
    // Dropping the old gradients saves filling them with zeros and adding.
    for (const auto& parameter : parameters_) {
      parameter.mutable_grad().reset();
    }
    result.backward();
    return result;
  }

  torch::Tensor grad_norm() const {
    std::vector<torch::Tensor> gradients;
    for (const auto& parameter : parameters_) {
      gradients.push_back(parameter.grad());
    }
    return global_norm(gradients);
  }

  // To be called once an update: the next logits are those of another.
  torch::Tensor take_logits() { return std::exchange(logits_, {}); }

 private:
  ImageModel& model_;
  std::vector<torch::Tensor> parameters_;
  torch::Tensor logits_;
};

class GradientUpdater : public Updater {
 public:
  GradientUpdater(
      ImageModel& model, std::unique_ptr<torch::optim::Optimizer> optimizer)
      : evaluation_(model), optimizer_(std::move(optimizer)) {}

  torch::optim::Optimizer& optimizer() override { return *optimizer_; }

  Update make(const Batch& batch, PhaseTimer& timer) override {
    Update update;
    update.loss = evaluation_.loss_and_gradients(batch, timer).detach();
    timer.enter(Phase::kUpdate);
    update.logits = evaluation_.take_logits();
    update.grad_norm = evaluation_.grad_norm();
    update.lr = scheduled_lr(*optimizer_);
    optimizer_->step();
    return update;
  }

 private:
  Evaluation evaluation_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
};

class ClippedUpdater : public GradientUpdater {
 public:
  // `clipped` is the optimizer.
  ClippedUpdater(
      ImageModel& model,
      const ClippedOptimizer& clipped,
      std::unique_ptr<torch::optim::Optimizer> optimizer)
      : GradientUpdater(model, std::move(optimizer)), clipped_(clipped) {}

  Update make(const Batch& batch, PhaseTimer& timer) override {
    ++updates_;
    return GradientUpdater::make(batch, timer);
  }

  std::vector<std::string> summary() const override {
    constexpr double kPercent = 100;
    const auto clipped = clipped_.clipped_steps();
    std::vector<std::string> lines{format(
        "clipped %lld of %lld updates (%.0f%%)",
        static_cast<long long>(clipped),
        static_cast<long long>(updates_),
        kPercent * static_cast<double>(clipped) /
            static_cast<double>(std::max<std::int64_t>(updates_, 1)))};
    add_left_out(lines, clipped_.skipped_steps());
    return lines;
  }

 private:
  const ClippedOptimizer& clipped_;
  std::int64_t updates_ = 0;
};

class RollbackUpdater : public Updater {
 public:
  RollbackUpdater(ImageModel& model, std::unique_ptr<RollbackSGD> optimizer)
      : evaluation_(model), optimizer_(std::move(optimizer)) {}

  torch::optim::Optimizer& optimizer() override { return *optimizer_; }

  Update make(const Batch& batch, PhaseTimer& timer) override {
    Update update;
    update.loss = optimizer_
                      ->step([&] {
                        auto loss =
                            evaluation_.loss_and_gradients(batch, timer);
                        timer.enter(Phase::kUpdate);
                        return loss;
                      })
                      .detach();
    update.logits = evaluation_.take_logits();
    const auto& rule = optimizer_->rule();
    update.grad_norm = on_host(rule.last_grad_norm());
    update.lr = scheduled_lr(*optimizer_) * rule.rate_scale();
    update.rolled_back = rule.last_status() == RollbackStatus::kRolledBack;
    return update;
  }

  std::vector<std::string> summary() const override {
    const auto& rule = optimizer_->rule();
    std::vector<std::string> lines{
        counted(rule.rollbacks(), "rollback") + " in " +
        counted(rule.checks(), "check") +
        format(", rate at %.3g of the schedule's", rule.rate_scale())};
    if (rule.gave_up() > 0) {
      lines.push_back(
          "took a point as it was after too many rollbacks in a row: " +
          counted(rule.gave_up(), "time"));
    }
    add_left_out(lines, rule.non_finite());
    return lines;
  }

  bool recovers() const override { return true; }

 private:
  Evaluation evaluation_;
  std::unique_ptr<RollbackSGD> optimizer_;
};

class PowerUpdater : public Updater {
 public:
  PowerUpdater(ImageModel& model, std::unique_ptr<PowerMethodSGD> optimizer)
      : evaluation_(model), optimizer_(std::move(optimizer)) {}

  torch::optim::Optimizer& optimizer() override { return *optimizer_; }

  Update make(const Batch& batch, PhaseTimer& timer) override {
    Update update;
    update.loss = optimizer_->step([&] {
      auto loss = evaluation_.loss(batch, timer);
      timer.enter(Phase::kBackward);
      return loss;
    });
    timer.enter(Phase::kUpdate);
    update.logits = evaluation_.take_logits();
    update.grad_norm = on_host(optimizer_->last_grad_norm());
    update.lr = optimizer_->current_lr();
    rates_.add(update.lr);
    const double sharpness = optimizer_->sharpness();
    if (!std::isnan(sharpness)) {
      update.sharpness = sharpness;
      sharpness_.add(sharpness);
    }
    return update;
  }

  std::vector<std::string> summary() const override {
    std::vector<std::string> lines{
        counted(optimizer_->products(), "Hessian product") + ", rate " +
            rates_.text(),
        "sharpness " + sharpness_.text()};
    add_left_out(lines, optimizer_->skipped_steps());
    return lines;
  }

 private:
  Evaluation evaluation_;
  std::unique_ptr<PowerMethodSGD> optimizer_;
  Range rates_;
  Range sharpness_;
};

}  // namespace

std::unique_ptr<Updater> make_gradient_updater(
    ImageModel& model, std::unique_ptr<torch::optim::Optimizer> optimizer) {
  return std::make_unique<GradientUpdater>(model, std::move(optimizer));
}

std::unique_ptr<Updater> make_clipped_updater(
    ImageModel& model, std::unique_ptr<ClippedOptimizer> optimizer) {
  const auto& clipped = *optimizer;
  return std::make_unique<ClippedUpdater>(model, clipped, std::move(optimizer));
}

std::unique_ptr<Updater> make_rollback_updater(
    ImageModel& model, std::unique_ptr<RollbackSGD> optimizer) {
  return std::make_unique<RollbackUpdater>(model, std::move(optimizer));
}

std::unique_ptr<Updater> make_power_updater(
    ImageModel& model, std::unique_ptr<PowerMethodSGD> optimizer) {
  return std::make_unique<PowerUpdater>(model, std::move(optimizer));
}

}  // namespace stepsize::trainer
