#include "tests/checkpoint/exchange_run.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <stepsize/lr_scheduler/curvature_lr.h>
#include <stepsize/lr_scheduler/exponential_lr.h>
#include <stepsize/lr_scheduler/linear_lr.h>
#include <stepsize/lr_scheduler/one_cycle_lr.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/lr_scheduler/sequential_lr.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

namespace stepsize::test {
namespace {

using torch::optim::Optimizer;
using torch::optim::OptimizerParamGroup;

// Two groups, of which the second has a rate of its own where the class lets it
// have one.
template <typename Class, typename Options>
std::unique_ptr<Optimizer> two_groups(
    const ExchangeWeights& weights, const Options& options) {
  auto optimizer = std::make_unique<Class>(
      std::vector<OptimizerParamGroup>{
          OptimizerParamGroup({weights.first}),
          OptimizerParamGroup({weights.second})},
      options);
  if constexpr (!std::is_same_v<Class, PowerMethodSGD>) {
    auto& second = optimizer->param_groups()[1];
    second.set_options(std::make_unique<Options>(options));
    second.options().set_lr(0.5 * options.get_lr());
  }
  return optimizer;
}

// Finds growth at once. With the rate of 2 that goes with it the gradient of
// the first weights is three times as long at each step.
RollbackOptions quick_rollback() {
  return RollbackOptions().window(2).ratio(1.2).early_ratio(1.2);
}

class Rows {
 public:
  template <typename Class, typename Options>
  ExchangeRow& add(const std::string& name, const Options& options) {
    all_.push_back(std::make_unique<ExchangeRow>(name));
    ExchangeRow& row = *all_.back();
    row.optimizer = two_groups<Class>(*row.weights, options);
    return row;
  }

  void add_lbfgs() {
    all_.push_back(std::make_unique<ExchangeRow>("LBFGS"));
    ExchangeRow& row = *all_.back();
    row.optimizer = std::make_unique<torch::optim::LBFGS>(
        std::vector<at::Tensor>{row.weights->first, row.weights->second},
        torch::optim::LBFGSOptions(0.2).max_iter(2));
  }

  std::vector<std::unique_ptr<ExchangeRow>> take() { return std::move(all_); }

 private:
  std::vector<std::unique_ptr<ExchangeRow>> all_;
};

template <typename Scheduler, typename Options>
void schedule(ExchangeRow& row, const Options& options) {
  row.scheduler = std::make_unique<Scheduler>(*row.optimizer, options);
}

// Each entry takes room in a file, so that a row has more to it than one class.
void add_rows_of_libtorch(Rows& rows) {
  using namespace torch::optim;
  schedule<OneCycleLR>(
      rows.add<SGD>("SGD", SGDOptions(0.1).momentum(0.9).nesterov(true)),
      OneCycleLROptions(0.1).total_steps(9));
  ExchangeRow& guarded =
      rows.add<SGD>("guarded SGD", SGDOptions(2).weight_decay(0.01));
  guarded.guard = std::make_unique<GradientNormRollback>(
      *guarded.optimizer, quick_rollback());
  // The turn of the second one comes after the save.
  schedule<SequentialLR>(
      rows.add<Adam>("Adam", AdamOptions(0.1).amsgrad(true)),
      SequentialLROptions(
          {LinearLROptions().total_iters(4), ExponentialLROptions(0.5)}, {6}));
  schedule<ReduceLROnPlateau>(
      rows.add<AdamW>("AdamW", AdamWOptions(0.1).betas({0.8, 0.95})),
      ReduceLROnPlateauOptions().patience(1));
  ExchangeRow& watched = rows.add<RMSprop>(
      "RMSprop", RMSpropOptions(0.1).momentum(0.9).centered(true));
  watched.noise.emplace(*watched.optimizer, GradientNoiseScaleOptions(4));
  watched.stopping.emplace(
      *watched.weights, EarlyStoppingOptions().patience(2));
  rows.add<Adagrad>("Adagrad", AdagradOptions(0.1).lr_decay(0.1));
  rows.add_lbfgs();
}

void add_rows_of_ours(Rows& rows) {
  schedule<CurvatureLR>(
      rows.add<ClippedSGD>(
          "ClippedSGD", ClippedSGDOptions(0.1).momentum(0.9).max_norm(1)),
      CurvatureLROptions().seed(5));
  rows.add<ClippedAdamW>("ClippedAdamW", ClippedAdamWOptions(0.1).max_norm(1));
  rows.add<PowerMethodSGD>(
      "PowerMethodSGD", PowerMethodSGDOptions().momentum(0.5).seed(3));
  schedule<StepLR>(
      rows.add<RollbackSGD>(
          "RollbackSGD",
          RollbackSGDOptions(2).momentum(0.1).rollback(quick_rollback())),
      StepLROptions(4).gamma(0.5));
}

}  // namespace

ExchangeWeights::ExchangeWeights() {
  const at::TensorOptions options(at::kDouble);
  first = register_parameter("first", at::linspace(-1, 1, 6, options));
  second = register_parameter(
      "second", at::linspace(0.5, 2, 6, options).reshape({2, 3}));
}

at::Tensor ExchangeWeights::loss() const {
  return (first * first).sum() + (second * second * second).mean();
}

ExchangeRow::ExchangeRow(std::string named)
    : name(std::move(named)), weights(std::make_shared<ExchangeWeights>()) {}

void ExchangeRow::step(double metric) {
  auto* curvature = dynamic_cast<CurvatureLR*>(scheduler.get());
  auto* plateau = dynamic_cast<ReduceLROnPlateau*>(scheduler.get());
  const bool is_measured = dynamic_cast<PowerMethodSGD*>(optimizer.get());
  const auto closure = [&] {
    optimizer->zero_grad();
    at::Tensor loss = weights->loss();
    if (curvature) curvature->observe(loss);
    if (!is_measured) loss.backward();
    return loss;
  };
  if (noise) {
    optimizer->zero_grad();
    noise->begin_update();
    for (const double share : {0.25, 0.75}) {
      at::Tensor loss = share * weights->loss() + share * weights->first.sum();
      loss.backward();
      noise->add_micro_batch();
    }
    noise->finish_update();
    optimizer->step();
  } else if (guard) {
    guard->step(closure);
  } else {
    optimizer->step(closure);
  }
  if (stopping) stopping->step(metric);
  if (plateau) {
    plateau->step(metric);
  } else if (scheduler) {
    static_cast<torch::optim::LRScheduler&>(*scheduler).step();
  }
}

ExchangeRun::ExchangeRun() : generator(at::detail::createCPUGenerator(17)) {
  Rows all;
  add_rows_of_libtorch(all);
  add_rows_of_ours(all);
  rows = all.take();
  for (const auto& each : rows) {
    weights.register_module(each->name, each->weights);
  }
  steps = weights.register_buffer("steps", at::zeros({}, at::kLong));
}

ExchangeRow& ExchangeRun::row(const std::string& name) {
  for (const auto& each : rows) {
    if (each->name == name) return *each;
  }
  throw std::invalid_argument("no row " + name);
}

Checkpoint ExchangeRun::checkpoint() {
  Checkpoint made;
  made.module("weights", weights);
  for (const auto& each : rows) {
    const std::string& name = each->name;
    made.optimizer(name, *each->optimizer);
    if (each->scheduler) made.state(name + " scheduler", *each->scheduler);
    if (each->guard) made.state(name + " guard", *each->guard);
    if (each->noise) made.state(name + " noise", *each->noise);
    if (each->stopping) made.state(name + " stopping", *each->stopping);
  }
  made.generator("generator", generator)
      .counter("counter", counter)
      .number("number", number)
      .text("text", text)
      .tensor("half", half)
      .tensor("none", none);
  return made;
}

void ExchangeRun::train(int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    steps += 1;
    // Falls to 0 at the third step and rises from there.
    const double metric = std::abs(steps.item<double>() - 3);
    for (const auto& each : rows) each->step(metric);
    at::rand({3}, generator, at::kDouble);
  }
}

void ExchangeRun::fill() {
  counter = std::numeric_limits<int64_t>::min();
  number = 1.0 / 3;
  text = std::string("\xC3\xA9\0\n", 4);
  half = at::linspace(-2, 2, 9, at::kFloat).to(at::kHalf);
}

}  // namespace stepsize::test
