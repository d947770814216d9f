#include "examples/trainer/loop/trained_optimizer.h"

#include <stepsize/distributed/average.h>
#include <stepsize/kernels/grad_norm.h>
#include <stepsize/optim/clipped_optimizer.h>

#include <algorithm>
#include <utility>

#include "examples/trainer/cli/text.h"
#include "examples/trainer/loop/archive.h"
#include "examples/trainer/loop/value_range.h"

namespace stepsize::trainer {
namespace {

namespace optim = torch::optim;

torch::Tensor on_host(double value) {
  return torch::tensor(value, torch::kFloat64);
}

torch::Tensor grad_norm_of(const std::vector<torch::Tensor>& parameters) {
  std::vector<torch::Tensor> gradients;
  for (const auto& parameter : parameters) {
    gradients.push_back(parameter.grad());
  }
  return global_norm(gradients);
}

class ByGradients : public TrainedOptimizer {
 public:
  ByGradients(
      ImageModel& model,
      std::unique_ptr<optim::Optimizer> optimizer,
      std::int64_t micro_batch,
      const std::shared_ptr<Reduction>& ranks,
      std::function<double()> own_rate)
      : TrainedOptimizer(model, micro_batch, ranks),
        parameters_(model.parameters()),
        optimizer_(std::move(optimizer)),
        clipped_(dynamic_cast<ClippedOptimizer*>(optimizer_.get())),
        own_rate_(std::move(own_rate)) {}

  optim::Optimizer& inner() override { return *optimizer_; }

  void step(
      const LossFunction& /*loss*/,
      const LossFunction& loss_and_gradients,
      Update& update) override {
    update.loss =
        ranks() != nullptr
            ? evaluate_on_ranks(loss_and_gradients, parameters_, *ranks())
            : loss_and_gradients();
    // Before a step that may shorten the gradient.
    update.grad_norm = grad_norm_of(parameters_);
    update.lr = scheduled_lr(*optimizer_);
    optimizer_->step();
    if (own_rate_) {
      update.lr = own_rate_();
      rates_.add(update.lr);
    }
    ++updates_;
  }

  std::vector<std::string> summary() const override {
    std::vector<std::string> lines;
    if (clipped_ != nullptr) {
      constexpr double kPercent = 100;
      const auto clipped = clipped_->clipped_steps();
      lines.push_back(format(
          "clipped %lld of %lld updates (%.0f%%)",
          static_cast<long long>(clipped),
          static_cast<long long>(updates_),
          kPercent * static_cast<double>(clipped) /
              static_cast<double>(std::max<std::int64_t>(updates_, 1))));
      add_left_out(lines, clipped_->skipped_steps());
    }
    if (own_rate_ && !rates_.empty()) {
      lines.push_back("rate " + rates_.text());
    }
    for (const auto& line : TrainedOptimizer::summary()) {
      lines.push_back(line);
    }
    return lines;
  }

  void save(torch::serialize::OutputArchive& archive) const override {
    TrainedOptimizer::save(archive);
    if (clipped_ != nullptr) {
      write_int(archive, "clipped_updates", updates_);
    }
    if (own_rate_) {
      write_part(archive, "rates", [&](auto& part) { rates_.save(part); });
    }
  }

  void load(torch::serialize::InputArchive& archive) override {
    const auto updates =
        clipped_ != nullptr ? read_count(archive, "clipped_updates") : 0;
    const auto rates = own_rate_
                           ? ValueRange::loaded(read_part(archive, "rates"))
                           : ValueRange();
    TrainedOptimizer::load(archive);
    updates_ = updates;
    rates_ = rates;
  }

  ScheduleFreeOptimizer* schedule_free() override {
    return dynamic_cast<ScheduleFreeOptimizer*>(optimizer_.get());
  }

 private:
  std::vector<torch::Tensor> parameters_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  // The same, where it clips.
  ClippedOptimizer* clipped_;
  std::function<double()> own_rate_;
  std::int64_t updates_ = 0;
  ValueRange rates_;
};

class ByRollback : public TrainedOptimizer {
 public:
  ByRollback(
      ImageModel& model,
      std::unique_ptr<RollbackSGD> optimizer,
      std::int64_t micro_batch,
      const std::shared_ptr<Reduction>& ranks)
      : TrainedOptimizer(model, micro_batch, ranks),
        optimizer_(std::move(optimizer)) {
    optimizer_->set_reduction(ranks);
  }

  optim::Optimizer& inner() override { return *optimizer_; }

  void step(
      const LossFunction& /*loss*/,
      const LossFunction& loss_and_gradients,
      Update& update) override {
    update.loss = optimizer_->step(loss_and_gradients).detach();
    const auto& rule = optimizer_->rule();
    update.grad_norm = on_host(rule.last_grad_norm());
    update.lr = scheduled_lr(*optimizer_) * rule.rate_scale();
    update.rolled_back = rule.last_status() == RollbackStatus::kRolledBack;
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
    for (const auto& line : TrainedOptimizer::summary()) {
      lines.push_back(line);
    }
    return lines;
  }

  bool recovers() const override { return true; }

 private:
  std::unique_ptr<RollbackSGD> optimizer_;
};

// Steps by the gradients of a point uphill, and tells of where it began.
class ByAscent : public TrainedOptimizer {
 public:
  ByAscent(
      ImageModel& model,
      std::unique_ptr<optim::Optimizer> optimizer,
      const SAMOptions& options,
      std::int64_t micro_batch,
      const std::shared_ptr<Reduction>& ranks)
      : TrainedOptimizer(model, micro_batch, ranks),
        optimizer_(std::move(optimizer)),
        sam_(*optimizer_, options) {
    sam_.set_reduction(ranks);
  }

  optim::Optimizer& inner() override { return *optimizer_; }

  void step(
      const LossFunction& /*loss*/,
      const LossFunction& loss_and_gradients,
      Update& update) override {
    update.lr = scheduled_lr(*optimizer_);
    update.loss = sam_.step(loss_and_gradients).detach();
    update.grad_norm = on_host(sam_.last_grad_norm());
  }

  std::vector<std::string> summary() const override {
    std::vector<std::string> lines;
    if (sam_.skipped_ascents() > 0) {
      lines.push_back(
          "did not go uphill in " + counted(sam_.skipped_ascents(), "update") +
          ", whose gradient was 0 or not finite");
    }
    for (const auto& line : TrainedOptimizer::summary()) {
      lines.push_back(line);
    }
    return lines;
  }

 private:
  std::unique_ptr<optim::Optimizer> optimizer_;
  SAM sam_;
};

}  // namespace

double scheduled_lr(const optim::Optimizer& optimizer) {
  return optimizer.param_groups().front().options().get_lr();
}

void add_left_out(std::vector<std::string>& lines, std::int64_t count) {
  if (count > 0) {
    lines.push_back(
        "left out " + counted(count, "update") + " that were not finite");
  }
}

TrainedOptimizer::TrainedOptimizer(
    ImageModel& model,
    std::int64_t micro_batch,
    const std::shared_ptr<Reduction>& ranks)
    : model_(model), ranks_(ranks), meter_(model, micro_batch, ranks) {}

std::vector<std::string> TrainedOptimizer::summary() const {
  std::vector<std::string> lines;
  meter_.add_noise(lines);
  return lines;
}

void TrainedOptimizer::save(torch::serialize::OutputArchive& archive) const {
  meter_.save(archive);
}

void TrainedOptimizer::load(torch::serialize::InputArchive& archive) {
  meter_.load(archive);
}

std::unique_ptr<TrainedOptimizer> by_gradients(
    ImageModel& model,
    std::unique_ptr<optim::Optimizer> optimizer,
    std::int64_t micro_batch,
    const std::shared_ptr<Reduction>& ranks,
    std::function<double()> own_rate) {
  return std::make_unique<ByGradients>(
      model, std::move(optimizer), micro_batch, ranks, std::move(own_rate));
}

std::unique_ptr<TrainedOptimizer> by_rollback(
    ImageModel& model,
    std::unique_ptr<RollbackSGD> optimizer,
    std::int64_t micro_batch,
    const std::shared_ptr<Reduction>& ranks) {
  return std::make_unique<ByRollback>(
      model, std::move(optimizer), micro_batch, ranks);
}

std::unique_ptr<TrainedOptimizer> by_ascent(
    ImageModel& model,
    std::unique_ptr<optim::Optimizer> optimizer,
    const SAMOptions& options,
    std::int64_t micro_batch,
    const std::shared_ptr<Reduction>& ranks) {
  return std::make_unique<ByAscent>(
      model, std::move(optimizer), options, micro_batch, ranks);
}

}  // namespace stepsize::trainer
