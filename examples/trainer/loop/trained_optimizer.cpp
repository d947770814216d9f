#include "examples/trainer/loop/trained_optimizer.h"

#include <stepsize/curvature/averaged_vector_policy.h>
#include <stepsize/curvature/edge_policy.h>
#include <stepsize/curvature/polyak_policy.h>
#include <stepsize/curvature/secant_policy.h>
#include <stepsize/distributed/average.h>
#include <stepsize/kernels/grad_norm.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/lion.h>
#include <stepsize/optim/power_method_sgd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "examples/trainer/cli/text.h"
#include "examples/trainer/loop/archive.h"

namespace stepsize::trainer {
namespace {

namespace optim = torch::optim;

void add_left_out(std::vector<std::string>& lines, std::int64_t count) {
  if (count > 0) {
    lines.push_back(
        "left out " + counted(count, "update") + " that were not finite");
  }
}

torch::Tensor on_host(double value) {
  return torch::tensor(value, torch::kFloat64);
}

double scheduled_lr(const optim::Optimizer& optimizer) {
  return optimizer.param_groups().front().options().get_lr();
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
      const std::shared_ptr<Reduction>& ranks)
      : TrainedOptimizer(model, micro_batch, ranks),
        parameters_(model.parameters()),
        optimizer_(std::move(optimizer)),
        clipped_(dynamic_cast<ClippedOptimizer*>(optimizer_.get())) {}

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
  }

  void load(torch::serialize::InputArchive& archive) override {
    const auto updates =
        clipped_ != nullptr ? read_count(archive, "clipped_updates") : 0;
    TrainedOptimizer::load(archive);
    updates_ = updates;
  }

 private:
  std::vector<torch::Tensor> parameters_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  // The same, where it clips.
  ClippedOptimizer* clipped_;
  std::int64_t updates_ = 0;
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

  optim::Optimizer& inner() override { return *optimizer_; }

  void step(
      const LossFunction& loss,
      const LossFunction& /*loss_and_gradients*/,
      Update& update) override {
    update.loss = optimizer_->step(loss);
    update.grad_norm = on_host(optimizer_->last_grad_norm());
    update.lr = optimizer_->current_lr();
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
    const auto rates = Range::loaded(read_part(archive, "rates"));
    TrainedOptimizer::load(archive);
    rates_ = rates;
  }

 protected:
  // Notes what the step has measured, in the update too. False where it has
  // told no rate yet.
  virtual bool note_measured(Update& update) = 0;
  virtual std::vector<std::string> measured() const = 0;

  const Optimizer& optimizer() const { return *optimizer_; }
  const Range& rates() const { return rates_; }

 private:
  std::unique_ptr<Optimizer> optimizer_;
  Range rates_;
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
    const auto sharpness = Range::loaded(read_part(archive, "sharpness"));
    ByMeasurement::load(archive);
    sharpness_ = sharpness;
  }

 protected:
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
  Range sharpness_;
};

// With a rate from a StepSizePolicy.
class ByPolicy : public ByMeasurement<AutoSGD> {
 public:
  using ByMeasurement::ByMeasurement;

 protected:
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

std::unique_ptr<StepSizePolicy> policy_of(const OptimizerChoice& choice) {
  const double safety = *choice.safety;
  if (choice.policy == "edge") {
    return std::make_unique<EdgePolicy>(EdgePolicyOptions().safety(safety));
  }
  if (choice.policy == "averaged-vector") {
    return std::make_unique<AveragedVectorPolicy>(
        AveragedVectorPolicyOptions().safety(safety));
  }
  if (choice.policy == "secant") {
    return std::make_unique<SecantPolicy>(SecantPolicyOptions().safety(safety));
  }
  if (choice.policy == "polyak") {
    // The paper's c: its step is 1 / c of what would reach the floor.
    return std::make_unique<PolyakPolicy>(
        PolyakPolicyOptions().divisor(0.5 / safety));
  }
  TORCH_CHECK(
      false,
      "make_optimizer: the policy must be edge, sharpness, averaged-vector, "
      "secant or polyak, got ",
      choice.policy.value_or("none"));
}

void check_presence(
    const OptimizerChoice& choice,
    const char* option,
    bool given,
    bool wanted) {
  TORCH_CHECK(
      given == wanted,
      "make_optimizer: ",
      choice.name,
      wanted ? " wants a " : " has no use for a ",
      option);
}

// The options that all of these name alike.
template <typename Options>
Options sgd_options(const OptimizerChoice& choice) {
  return Options(choice.lr)
      .momentum(choice.momentum)
      .weight_decay(choice.weight_decay);
}

template <typename Options>
Options adam_options(const OptimizerChoice& choice) {
  return Options(choice.lr)
      .betas({choice.momentum, std::get<1>(Options().betas())})
      .weight_decay(choice.weight_decay);
}

std::unique_ptr<optim::Optimizer> gradient_optimizer(
    const std::vector<torch::Tensor>& parameters,
    const OptimizerChoice& choice) {
  const auto& name = choice.name;
  if (name == "sgd") {
    return std::make_unique<optim::SGD>(
        parameters, sgd_options<optim::SGDOptions>(choice));
  }
  if (name == "adam") {
    return std::make_unique<optim::Adam>(
        parameters, adam_options<optim::AdamOptions>(choice));
  }
  if (name == "adamw") {
    return std::make_unique<optim::AdamW>(
        parameters, adam_options<optim::AdamWOptions>(choice));
  }
  if (name == "rmsprop") {
    return std::make_unique<optim::RMSprop>(
        parameters, sgd_options<optim::RMSpropOptions>(choice));
  }
  if (name == "clipped-sgd") {
    return std::make_unique<ClippedSGD>(
        parameters,
        sgd_options<ClippedSGDOptions>(choice).max_norm(*choice.max_norm));
  }
  if (name == "clipped-adamw") {
    return std::make_unique<ClippedAdamW>(
        parameters,
        adam_options<ClippedAdamWOptions>(choice).max_norm(*choice.max_norm));
  }
  if (name == "lion") {
    return std::make_unique<Lion>(
        parameters, adam_options<LionOptions>(choice));
  }
  TORCH_CHECK(
      false,
      "make_optimizer: the optimizer must be sgd, adam, adamw, rmsprop, "
      "clipped-sgd, clipped-adamw, lion, rollback-sgd or power-sgd, got ",
      name);
}

}  // namespace

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
    const std::shared_ptr<Reduction>& ranks) {
  return std::make_unique<ByGradients>(
      model, std::move(optimizer), micro_batch, ranks);
}

std::unique_ptr<TrainedOptimizer> by_rollback(
    ImageModel& model,
    std::unique_ptr<RollbackSGD> optimizer,
    std::int64_t micro_batch,
    const std::shared_ptr<Reduction>& ranks) {
  return std::make_unique<ByRollback>(
      model, std::move(optimizer), micro_batch, ranks);
}

std::unique_ptr<TrainedOptimizer> make_optimizer(
    ImageModel& model, const OptimizerChoice& choice) {
  const auto& name = choice.name;
  check_presence(
      choice,
      "max_norm",
      choice.max_norm.has_value(),
      name == "clipped-sgd" || name == "clipped-adamw");
  check_presence(
      choice, "safety", choice.safety.has_value(), name == "power-sgd");
  if (name == "rollback-sgd") {
    return by_rollback(
        model,
        std::make_unique<RollbackSGD>(
            model.parameters(),
            sgd_options<RollbackSGDOptions>(choice).rollback(
                RollbackOptions().buffers(model.buffers()))),
        choice.micro_batch,
        choice.ranks);
  }
  check_presence(
      choice, "policy", choice.policy.has_value(), name == "power-sgd");
  if (name == "power-sgd" && choice.policy != "sharpness") {
    return std::make_unique<ByPolicy>(
        model,
        std::make_unique<AutoSGD>(
            model.parameters(),
            sgd_options<AutoSGDOptions>(choice).buffers(model.buffers()),
            *policy_of(choice)),
        choice.ranks);
  }
  if (name == "power-sgd") {
    return std::make_unique<ByCurvature>(
        model,
        std::make_unique<PowerMethodSGD>(
            model.parameters(),
            sgd_options<PowerMethodSGDOptions>(choice)
                .tracker(SharpnessTrackerOptions().safety(*choice.safety))
                .buffers(model.buffers())),
        choice.ranks);
  }
  return by_gradients(
      model,
      gradient_optimizer(model.parameters(), choice),
      choice.micro_batch,
      choice.ranks);
}

}  // namespace stepsize::trainer
