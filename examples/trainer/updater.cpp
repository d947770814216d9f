#include "updater.h"

#include <stepsize/distributed/average.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "archive.h"
#include "text.h"

namespace stepsize::trainer {
namespace {

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
  bool empty() const { return low_ > high_; }
  void save(torch::serialize::OutputArchive& archive) const {
    write_double(archive, "low", low_);
    write_double(archive, "high", high_);
  }
  static Range loaded(torch::serialize::InputArchive archive) {
    Range range;
    range.low_ = read_double(archive, "low");
    range.high_ = read_double(archive, "high");
    return range;
  }
  // "0.031 .. 0.12"
  std::string text() const { return format("%.3g .. %.3g", low_, high_); }

 private:
  double low_ = std::numeric_limits<double>::infinity();
  double high_ = -std::numeric_limits<double>::infinity();
};

class GradientUpdater : public Updater {
 public:
  GradientUpdater(
      ImageModel& model,
      std::unique_ptr<torch::optim::Optimizer> optimizer,
      std::int64_t micro_batch,
      const std::shared_ptr<Reduction>& ranks)
      : evaluation_(model, micro_batch, ranks),
        parameters_(model.parameters()),
        ranks_(ranks),
        optimizer_(std::move(optimizer)) {}

  torch::optim::Optimizer& optimizer() override { return *optimizer_; }

  Update make(const MicroBatches& batches, PhaseTimer& timer) override {
    Update update;
    const auto evaluate = [&] {
      auto loss = evaluation_.loss_and_gradients(batches, timer).detach();
      timer.enter(Phase::kUpdate);
      return loss;
    };
    update.loss = ranks_ != nullptr
                      ? evaluate_on_ranks(evaluate, parameters_, *ranks_)
                      : evaluate();
    update.right = evaluation_.take_right();
    update.grad_norm = evaluation_.grad_norm();
    update.noise_scale = evaluation_.noise_scale();
    update.lr = scheduled_lr(*optimizer_);
    optimizer_->step();
    return update;
  }

  std::vector<std::string> summary() const override {
    std::vector<std::string> lines;
    evaluation_.add_noise(lines);
    return lines;
  }

  void save(torch::serialize::OutputArchive& archive) const override {
    evaluation_.save(archive);
  }

  void load(torch::serialize::InputArchive& archive) override {
    evaluation_.load(archive);
  }

  void forget_update() override { evaluation_.forget_update(); }

 private:
  Evaluation evaluation_;
  std::vector<torch::Tensor> parameters_;
  std::shared_ptr<Reduction> ranks_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
};

class ClippedUpdater : public GradientUpdater {
 public:
  // `clipped` is the optimizer.
  ClippedUpdater(
      ImageModel& model,
      const ClippedOptimizer& clipped,
      std::unique_ptr<torch::optim::Optimizer> optimizer,
      std::int64_t micro_batch,
      const std::shared_ptr<Reduction>& ranks)
      : GradientUpdater(model, std::move(optimizer), micro_batch, ranks),
        clipped_(clipped) {}

  Update make(const MicroBatches& batches, PhaseTimer& timer) override {
    auto update = GradientUpdater::make(batches, timer);
    ++updates_;
    return update;
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
    for (const auto& line : GradientUpdater::summary()) {
      lines.push_back(line);
    }
    return lines;
  }

  void save(torch::serialize::OutputArchive& archive) const override {
    GradientUpdater::save(archive);
    write_int(archive, "clipped_updates", updates_);
  }

  void load(torch::serialize::InputArchive& archive) override {
    const auto updates = read_count(archive, "clipped_updates");
    GradientUpdater::load(archive);
    updates_ = updates;
  }

 private:
  const ClippedOptimizer& clipped_;
  std::int64_t updates_ = 0;
};

class RollbackUpdater : public Updater {
 public:
  RollbackUpdater(
      ImageModel& model,
      std::unique_ptr<RollbackSGD> optimizer,
      std::int64_t micro_batch,
      const std::shared_ptr<Reduction>& ranks)
      : evaluation_(model, micro_batch, ranks),
        optimizer_(std::move(optimizer)) {
    optimizer_->set_reduction(ranks);
  }

  torch::optim::Optimizer& optimizer() override { return *optimizer_; }

  Update make(const MicroBatches& batches, PhaseTimer& timer) override {
    Update update;
    update.loss = optimizer_
                      ->step([&] {
                        auto loss =
                            evaluation_.loss_and_gradients(batches, timer);
                        timer.enter(Phase::kUpdate);
                        return loss;
                      })
                      .detach();
    update.right = evaluation_.take_right();
    const auto& rule = optimizer_->rule();
    update.grad_norm = on_host(rule.last_grad_norm());
    update.noise_scale = evaluation_.noise_scale();
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
          "gave a point up after too many rollbacks in a row: " +
          counted(rule.gave_up(), "time"));
    }
    add_left_out(lines, rule.non_finite());
    evaluation_.add_noise(lines);
    return lines;
  }

  void save(torch::serialize::OutputArchive& archive) const override {
    evaluation_.save(archive);
  }

  void load(torch::serialize::InputArchive& archive) override {
    evaluation_.load(archive);
  }

  void forget_update() override { evaluation_.forget_update(); }

  bool recovers() const override { return true; }

 private:
  Evaluation evaluation_;
  std::unique_ptr<RollbackSGD> optimizer_;
};

class PowerUpdater : public Updater {
 public:
  PowerUpdater(
      ImageModel& model,
      std::unique_ptr<PowerMethodSGD> optimizer,
      const std::shared_ptr<Reduction>& ranks)
      : evaluation_(model, /*micro_batch=*/0, ranks),
        optimizer_(std::move(optimizer)) {
    optimizer_->set_reduction(ranks);
  }

  torch::optim::Optimizer& optimizer() override { return *optimizer_; }

  Update make(const MicroBatches& batches, PhaseTimer& timer) override {
    Update update;
    update.loss = optimizer_->step([&] {
      auto loss = evaluation_.loss(batches, timer);
      timer.enter(Phase::kBackward);
      return loss;
    });
    timer.enter(Phase::kUpdate);
    update.right = evaluation_.take_right();
    update.grad_norm = on_host(optimizer_->last_grad_norm());
    update.lr = optimizer_->current_lr();
    const double sharpness = optimizer_->sharpness();
    if (!std::isnan(sharpness)) {
      update.sharpness = sharpness;
      sharpness_.add(sharpness);
      rates_.add(update.lr);
    }
    return update;
  }

  std::vector<std::string> summary() const override {
    auto products = counted(optimizer_->products(), "Hessian product");
    std::vector<std::string> lines;
    if (rates_.empty()) {
      lines.push_back(products + ", none of which told the curvature");
    } else {
      lines.push_back(products + ", rate " + rates_.text());
      lines.push_back("sharpness " + sharpness_.text());
    }
    if (!optimizer_->fallback_reason().empty()) {
      lines.push_back(
          "products by differences, since an exact one failed: " +
          optimizer_->fallback_reason());
    }
    if (optimizer_->unmeasured_steps() > 0) {
      lines.push_back(
          "curvature was not finite in " +
          counted(optimizer_->unmeasured_steps(), "update"));
    }
    add_left_out(lines, optimizer_->skipped_steps());
    return lines;
  }

  void save(torch::serialize::OutputArchive& archive) const override {
    const auto write_range = [&](const char* key, const Range& range) {
      write_part(archive, key, [&](auto& part) { range.save(part); });
    };
    evaluation_.save(archive);
    write_range("rates", rates_);
    write_range("sharpness", sharpness_);
  }

  void load(torch::serialize::InputArchive& archive) override {
    const auto rates = Range::loaded(read_part(archive, "rates"));
    const auto sharpness = Range::loaded(read_part(archive, "sharpness"));
    evaluation_.load(archive);
    rates_ = rates;
    sharpness_ = sharpness;
  }

  void forget_update() override { evaluation_.forget_update(); }

 private:
  Evaluation evaluation_;
  std::unique_ptr<PowerMethodSGD> optimizer_;
  Range rates_;
  Range sharpness_;
};

}  // namespace

std::unique_ptr<Updater> make_gradient_updater(
    ImageModel& model,
    std::unique_ptr<torch::optim::Optimizer> optimizer,
    std::int64_t micro_batch,
    std::shared_ptr<Reduction> ranks) {
  return std::make_unique<GradientUpdater>(
      model, std::move(optimizer), micro_batch, ranks);
}

std::unique_ptr<Updater> make_clipped_updater(
    ImageModel& model,
    std::unique_ptr<ClippedOptimizer> optimizer,
    std::int64_t micro_batch,
    std::shared_ptr<Reduction> ranks) {
  const auto& clipped = *optimizer;
  return std::make_unique<ClippedUpdater>(
      model, clipped, std::move(optimizer), micro_batch, ranks);
}

std::unique_ptr<Updater> make_rollback_updater(
    ImageModel& model,
    std::unique_ptr<RollbackSGD> optimizer,
    std::int64_t micro_batch,
    std::shared_ptr<Reduction> ranks) {
  return std::make_unique<RollbackUpdater>(
      model, std::move(optimizer), micro_batch, ranks);
}

std::unique_ptr<Updater> make_power_updater(
    ImageModel& model,
    std::unique_ptr<PowerMethodSGD> optimizer,
    std::shared_ptr<Reduction> ranks) {
  return std::make_unique<PowerUpdater>(model, std::move(optimizer), ranks);
}

}  // namespace stepsize::trainer
