#include "examples/trainer/loop/measuring_optimizer.h"

#include <cmath>
#include <utility>

#include "examples/trainer/cli/text.h"
#include "examples/trainer/loop/value_range.h"

namespace stepsize::trainer {
namespace {

// Leaves gradients to the optimizer: their time, and that of what it measures,
// counts as kBackward. The graphs of all micro-batches live at once.
template <typename Optimizer>
class ByMeasurement : public TrainedOptimizer {
 public:
  ByMeasurement(
      ImageModel& model,
      std::unique_ptr<Optimizer> optimizer,
      const std::shared_ptr<Reduction>& ranks)
      : TrainedOptimizer(model, /*micro_batch=*/0, ranks),
        optimizer_(std::move(optimizer)) {
    optimizer_->set_reduction(ranks);
  }

  torch::optim::Optimizer& inner() override { return *optimizer_; }

  void step(
      const LossFunction& loss,
      const LossFunction& /*loss_and_gradients*/,
      Update& update) override {
    update.loss = optimizer_->step(loss);
    update.grad_norm =
        torch::tensor(optimizer_->last_grad_norm(), torch::kFloat64);
    update.lr = rate_taken();
    if (note_measured(update)) {
      rates_.add(update.lr);
    }
  }

  std::vector<std::string> summary() const override {
    auto lines = measured();
    add_left_out(lines, optimizer_->skipped_steps());
    return lines;
  }

  void save(torch::serialize::OutputArchive& archive) const override {
    TrainedOptimizer::save(archive);
    write_part(archive, "rates", [&](auto& part) { rates_.save(part); });
  }

  void load(torch::serialize::InputArchive& archive) override {
    const auto rates = ValueRange::loaded(read_part(archive, "rates"));
    TrainedOptimizer::load(archive);
    rates_ = rates;
  }

 protected:
  // Notes what the step has measured, in the update too. False where it has
  // told no rate yet.
  virtual bool note_measured(Update& update) = 0;
  // Of the step that has been made.
  virtual double rate_taken() const = 0;
  virtual std::vector<std::string> measured() const = 0;

  const Optimizer& optimizer() const { return *optimizer_; }
  const ValueRange& rates() const { return rates_; }

 private:
  std::unique_ptr<Optimizer> optimizer_;
  ValueRange rates_;
};

class ByCurvature : public ByMeasurement<PowerMethodSGD> {
 public:
  using ByMeasurement::ByMeasurement;

  void save(torch::serialize::OutputArchive& archive) const override {
    ByMeasurement::save(archive);
    write_part(
        archive, "sharpness", [&](auto& part) { sharpness_.save(part); });
  }

  void load(torch::serialize::InputArchive& archive) override {
    const auto sharpness = ValueRange::loaded(read_part(archive, "sharpness"));
    ByMeasurement::load(archive);
    sharpness_ = sharpness;
  }

 protected:
  double rate_taken() const override { return optimizer().current_lr(); }

  bool note_measured(Update& update) override {
    const double sharpness = optimizer().sharpness();
    if (std::isnan(sharpness)) {
      return false;
    }
    update.sharpness = sharpness;
    sharpness_.add(sharpness);
    return true;
  }

  std::vector<std::string> measured() const override {
    auto products = counted(optimizer().products(), "Hessian product");
    std::vector<std::string> lines;
    if (rates().empty()) {
      lines.push_back(products + ", none of which told the curvature");
    } else {
      lines.push_back(products + ", rate " + rates().text());
      lines.push_back("sharpness " + sharpness_.text());
    }
    if (!optimizer().fallback_reason().empty()) {
      lines.push_back(
          "products by differences, since an exact one failed: " +
          optimizer().fallback_reason());
    }
    if (optimizer().unmeasured_steps() > 0) {
      lines.push_back(
          "curvature was not finite in " +
          counted(optimizer().unmeasured_steps(), "update"));
    }
    return lines;
  }

 private:
  ValueRange sharpness_;
};

// With a rate from a StepSizePolicy.
class ByPolicy : public ByMeasurement<AutoSGD> {
 public:
  using ByMeasurement::ByMeasurement;

 protected:
  double rate_taken() const override { return optimizer().current_lr(); }

  bool note_measured(Update& /*update*/) override {
    return optimizer().policy().rate() > 0;
  }

  std::vector<std::string> measured() const override {
    std::vector<std::string> lines;
    lines.push_back(
        rates().empty() ? "no update has told a rate"
                        : "rate " + rates().text());
    lines.push_back(
        counted(optimizer().extra_losses(), "loss evaluation") + " and " +
        counted(optimizer().extra_gradients(), "gradient") +
        " besides those of the updates");
    if (optimizer().cut_steps() > 0) {
      lines.push_back(
          "gradient cut in " + counted(optimizer().cut_steps(), "update"));
    }
    return lines;
  }
};

// Preconditioned by the Hessian's diagonal: its rate is the schedule's.
class ByDiagonal : public ByMeasurement<DiagonalHessianOptimizer> {
 public:
  using ByMeasurement::ByMeasurement;

 protected:
  double rate_taken() const override { return scheduled_lr(optimizer()); }

  bool note_measured(Update& /*update*/) override { return true; }

  std::vector<std::string> measured() const override {
    return {counted(optimizer().products(), "Hessian product")};
  }
};

}  // namespace

std::unique_ptr<TrainedOptimizer> by_curvature(
    ImageModel& model,
    std::unique_ptr<PowerMethodSGD> optimizer,
    const std::shared_ptr<Reduction>& ranks) {
  return std::make_unique<ByCurvature>(model, std::move(optimizer), ranks);
}

std::unique_ptr<TrainedOptimizer> by_policy(
    ImageModel& model,
    std::unique_ptr<AutoSGD> optimizer,
    const std::shared_ptr<Reduction>& ranks) {
  return std::make_unique<ByPolicy>(model, std::move(optimizer), ranks);
}

std::unique_ptr<TrainedOptimizer> by_diagonal(
    ImageModel& model,
    std::unique_ptr<DiagonalHessianOptimizer> optimizer,
    const std::shared_ptr<Reduction>& ranks) {
  return std::make_unique<ByDiagonal>(model, std::move(optimizer), ranks);
}

}  // namespace stepsize::trainer
