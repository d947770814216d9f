#include "tests/checkpoint/training_run.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <stepsize/lr_scheduler/curvature_lr.h>
#include <stepsize/lr_scheduler/phased_lr.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/gradient_norm_rollback.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <stepsize/tune/early_stopping.h>
#include <stepsize/tune/gradient_noise_scale.h>
#include <torch/torch.h>

#include <algorithm>
#include <type_traits>

#include "tests/lr_scheduler/support/classes.h"
#include "tests/lr_scheduler/support/spec.h"
#include "tests/support/archive_bytes.h"
#include "tests/support/own_optimizers.h"

namespace stepsize::test {

struct TrainingNetImpl : torch::nn::Module {
  TrainingNetImpl() {
    register_module("first", first);
    register_module("norm", norm);
    register_module("drop", drop);
    register_module("last", last);
  }
  torch::Tensor forward(const torch::Tensor& input) {
    return last(drop(torch::tanh(norm(first(input)))));
  }
  torch::nn::Linear first{5, 7};
  torch::nn::BatchNorm1d norm{7};
  torch::nn::Dropout drop{0.25};
  torch::nn::Linear last{7, 2};
};
TORCH_MODULE(TrainingNet);

namespace {

using torch::optim::Optimizer;
using torch::optim::OptimizerParamGroup;

// A rate by which steps are taken back before half of the run.
constexpr double kTooFast = 3;

template <typename Class, typename Options>
std::unique_ptr<Optimizer> made(
    const std::vector<std::vector<torch::Tensor>>& lists,
    const Options& options) {
  // Two groups, of which the second has a rate of its own.
  std::vector<OptimizerParamGroup> groups;
  for (const auto& list : lists) groups.emplace_back(list);
  auto optimizer = std::make_unique<Class>(groups, options);
  auto& second = optimizer->param_groups()[1];
  second.set_options(std::make_unique<Options>(options));
  second.options().set_lr(0.3 * options.get_lr());
  return optimizer;
}

std::unique_ptr<Optimizer> optimizer_of(
    const std::string& name,
    const std::vector<std::vector<torch::Tensor>>& lists) {
  using namespace torch::optim;
  if (name == "Adam") {
    return made<Adam>(lists, AdamOptions(0.01).amsgrad(true));
  }
  if (name == "AdamW") {
    return made<AdamW>(lists, AdamWOptions(0.01).weight_decay(0.1));
  }
  if (name == "RMSprop") {
    return made<RMSprop>(
        lists, RMSpropOptions(0.01).momentum(0.9).centered(true));
  }
  if (name == "Adagrad") {
    return made<Adagrad>(lists, AdagradOptions(0.05).lr_decay(0.01));
  }
  if (name == "LBFGS") {
    auto all = lists[0];
    all.insert(all.end(), lists[1].begin(), lists[1].end());
    return std::make_unique<LBFGS>(
        all, LBFGSOptions(0.1).max_iter(3).history_size(4));
  }
  if (name == "ClippedSGD") {
    return made<ClippedSGD>(
        lists, ClippedSGDOptions(0.05).momentum(0.9).max_norm(0.5));
  }
  if (name == "ClippedAdamW") {
    return made<ClippedAdamW>(lists, ClippedAdamWOptions(0.01).max_norm(0.5));
  }
  if (name == "PowerMethodSGD") {
    return std::make_unique<PowerMethodSGD>(
        std::vector<OptimizerParamGroup>{
            OptimizerParamGroup(lists[0]), OptimizerParamGroup(lists[1])},
        PowerMethodSGDOptions());
  }
  if (name == "AutoSGD") {
    return std::make_unique<AutoSGD>(
        std::vector<OptimizerParamGroup>{
            OptimizerParamGroup(lists[0]), OptimizerParamGroup(lists[1])},
        AutoSGDOptions());
  }
  if (name == "RollbackSGD") {
    return made<RollbackSGD>(lists, RollbackSGDOptions(kTooFast).momentum(0.9));
  }
  if (name == "too fast SGD") {
    return made<SGD>(lists, SGDOptions(kTooFast).momentum(0.9));
  }
  std::unique_ptr<Optimizer> own;
  for_each_own_optimizer([&](const auto& form) {
    using Form = std::decay_t<decltype(form)>;
    if (form.name != name) return;
    own = made<typename Form::Optimizer>(lists, form.options);
  });
  if (own != nullptr) return own;
  return made<SGD>(
      lists, SGDOptions(0.05).momentum(0.9).weight_decay(1e-3).nesterov(true));
}

}  // namespace

std::vector<TrainingRow> training_rows() {
  std::vector<TrainingRow> rows;
  for (const char* name :
       {"Adam",
        "AdamW",
        "RMSprop",
        "Adagrad",
        "LBFGS",
        "ClippedSGD",
        "ClippedAdamW",
        "PowerMethodSGD",
        "AutoSGD",
        "RollbackSGD"}) {
    rows.push_back({name, "StepLR(step_size=3)"});
  }
  for_each_own_optimizer([&rows](const auto& form) {
    // The network has vectors too.
    if (form.matrices) return;
    const bool is_there =
        std::any_of(rows.begin(), rows.end(), [&form](const TrainingRow& row) {
          return row.optimizer == form.name;
        });
    if (!is_there) rows.push_back({form.name, "StepLR(step_size=3)"});
  });
  for (const char* name : {"RMSprop", "ClippedSGD", "ClippedAdamW"}) {
    rows.push_back({name, "OneCycleLR(max_lr=0.1, total_steps=43)"});
  }
  for (const char* scheduler : kRuleClasses) rows.push_back({"SGD", scheduler});
  for (const char* companion :
       {"", "plateau", "phases", "curvature", "guard", "noise", "stopping"}) {
    rows.push_back({"SGD", companion});
  }
  rows.push_back({"Adam", "guard"});
  rows.push_back({"too fast SGD", "guard"});
  return rows;
}

struct TrainingRun::Parts {
  TrainingRow row;
  TrainingNet net{nullptr};
  std::unique_ptr<Optimizer> optimizer;
  at::Generator batches;
  std::unique_ptr<StatefulLR> scheduler;
  std::optional<ReduceLROnPlateau> plateau;
  std::optional<PhasedLR> phases;
  std::optional<CurvatureLR> curvature;
  std::optional<GradientNormRollback> guard;
  std::optional<GradientNoiseScale> noise;
  std::optional<EarlyStopping> stopping;
  int64_t step = 0;
  double best = 1e9;
  std::string note;
  torch::Tensor curve;

  torch::Tensor loss(const torch::Tensor& input, const torch::Tensor& target) {
    return torch::mse_loss(net(input), target);
  }
};

TrainingRun::TrainingRun(const TrainingRow& row)
    : parts_(std::make_unique<Parts>()) {
  torch::manual_seed(7);
  Parts& parts = *parts_;
  parts.row = row;
  parts.net = TrainingNet();
  parts.batches = at::detail::createCPUGenerator(11);
  parts.optimizer =
      optimizer_of(row.optimizer, {parts.net->first->parameters(), [&] {
                                     auto rest = parts.net->norm->parameters();
                                     for (const auto& tensor :
                                          parts.net->last->parameters()) {
                                       rest.push_back(tensor);
                                     }
                                     return rest;
                                   }()});
  Optimizer& optimizer = *parts.optimizer;
  if (row.companion == "plateau") {
    parts.plateau.emplace(optimizer, ReduceLROnPlateauOptions().patience(1));
  } else if (row.companion == "phases") {
    parts.phases.emplace(
        optimizer, "warmup 2 > plateau 0.5 patience 0 for 6 > cooldown 5");
  } else if (row.companion == "curvature") {
    parts.curvature.emplace(optimizer);
  } else if (row.companion == "guard") {
    parts.guard.emplace(optimizer, RollbackOptions().ratio(1.01).window(2));
  } else if (row.companion == "noise") {
    parts.noise.emplace(optimizer, GradientNoiseScaleOptions(4));
  } else if (row.companion == "stopping") {
    parts.stopping.emplace(*parts.net, EarlyStoppingOptions().patience(2));
  } else if (!row.companion.empty()) {
    parts.scheduler = recipe_of(row.companion).make(optimizer);
  }
}

TrainingRun::~TrainingRun() = default;

double TrainingRun::step() {
  Parts& parts = *parts_;
  Optimizer& optimizer = *parts.optimizer;
  const auto input = torch::randn({8, 5}, parts.batches);
  const auto target = torch::randn({8, 2}, parts.batches);
  torch::Tensor loss;
  const auto with_backward = [&] {
    optimizer.zero_grad();
    auto value = parts.loss(input, target);
    value.backward();
    return value;
  };
  if (find_traits(optimizer)->wants_graph()) {
    loss = optimizer.step([&] { return parts.loss(input, target); });
  } else if (
      parts.row.optimizer == "RollbackSGD" || parts.row.optimizer == "LBFGS") {
    loss = optimizer.step(with_backward);
  } else if (parts.guard) {
    loss = parts.guard->step(with_backward);
  } else if (parts.noise) {
    optimizer.zero_grad();
    parts.noise->begin_update();
    for (int64_t part = 0; part < 2; ++part) {
      loss = parts.loss(
          input.slice(0, 4 * part, 4 * part + 4),
          target.slice(0, 4 * part, 4 * part + 4));
      loss.backward();
      parts.noise->add_micro_batch();
    }
    parts.noise->finish_update();
    optimizer.step();
  } else {
    optimizer.zero_grad();
    loss = parts.loss(input, target);
    if (parts.curvature) parts.curvature->observe(loss);
    loss.backward();
    optimizer.step();
  }
  const auto value = loss.item<double>();
  if (parts.scheduler) parts.scheduler->step();
  if (parts.curvature) parts.curvature->step();
  if (parts.plateau) parts.plateau->step(value);
  if (parts.phases) {
    torch::optim::LRScheduler& time = *parts.phases;
    time.step();
    parts.phases->observe(value);
  }
  if (parts.stopping) parts.stopping->step(value);
  return value;
}

void TrainingRun::train(int64_t steps) {
  Parts& parts = *parts_;
  for (int64_t i = 0; i < steps; ++i) {
    const double loss = step();
    losses_.push_back(loss);
    ++parts.step;
    parts.best = std::min(parts.best, loss);
    parts.note += std::to_string(parts.step) + "\n";
    const auto point = torch::full({1}, loss, torch::kFloat64);
    parts.curve =
        parts.curve.defined() ? torch::cat({parts.curve, point}) : point;
  }
}

Checkpoint TrainingRun::checkpoint() {
  Parts& parts = *parts_;
  Checkpoint checkpoint;
  // Companions first: a load must take them last all the same.
  if (parts.scheduler) checkpoint.state("scheduler", *parts.scheduler);
  if (parts.plateau) checkpoint.state("plateau", *parts.plateau);
  if (parts.phases) checkpoint.state("phases", *parts.phases);
  if (parts.curvature) checkpoint.state("curvature", *parts.curvature);
  if (parts.guard) checkpoint.state("guard", *parts.guard);
  if (parts.noise) checkpoint.state("noise", *parts.noise);
  if (parts.stopping) checkpoint.state("stopping", *parts.stopping);
  checkpoint.module("net", *parts.net)
      .optimizer("optimizer", *parts.optimizer)
      .generator("batches", parts.batches)
      .counter("step", parts.step)
      .number("best", parts.best)
      .text("note", parts.note)
      .tensor("curve", parts.curve);
  return checkpoint;
}

std::optional<int64_t> TrainingRun::rollbacks() const {
  if (parts_->row.optimizer == "RollbackSGD") {
    return static_cast<const RollbackSGD&>(*parts_->optimizer).rollbacks();
  }
  if (parts_->row.optimizer == "too fast SGD") {
    return parts_->guard->rollbacks();
  }
  return std::nullopt;
}

std::string TrainingRun::state() {
  Parts& parts = *parts_;
  std::string all = std::to_string(parts.step) + " " +
                    std::to_string(parts.best) + " " + parts.note;
  const auto add = [&all](const torch::Tensor& tensor) {
    const auto plain = tensor.detach().contiguous();
    all.append(
        static_cast<const char*>(plain.data_ptr()),
        static_cast<std::size_t>(plain.nbytes()));
  };
  for (const auto& tensor : parts.net->parameters()) add(tensor);
  for (const auto& tensor : parts.net->buffers()) add(tensor);
  if (parts.curve.defined()) add(parts.curve);
  add(parts.batches.get_state());
  add(at::globalContext().defaultGenerator(at::kCPU).get_state());
  for (const double lr : lrs_of(*parts.optimizer)) {
    all.append(reinterpret_cast<const char*>(&lr), sizeof(lr));
  }
  if (parts.scheduler) all += saved(*parts.scheduler);
  if (parts.plateau) all += saved(*parts.plateau);
  if (parts.phases) all += saved(*parts.phases);
  if (parts.curvature) all += saved(*parts.curvature);
  if (parts.guard) all += saved(*parts.guard);
  if (parts.noise) all += saved(*parts.noise);
  if (parts.stopping) all += saved(*parts.stopping);
  return all;
}

}  // namespace stepsize::test
