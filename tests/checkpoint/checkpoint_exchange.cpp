// Writes a checkpoint, or reads one that this program wrote, perhaps with
// another version of LibTorch:
//
//   checkpoint_exchange write FILE
//   checkpoint_exchange read FILE
//
// The reader checks every value against a run of its own, and that the run goes
// on from the file as its own did. Exits with 1 where something differs, and
// says what.

#include <ATen/Functions.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/checkpoint/checkpoint_info.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/nn/module.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace stepsize {
namespace {

using torch::optim::Optimizer;
using torch::optim::OptimizerParamGroup;

constexpr int64_t kSteps = 5;

struct Weights : torch::nn::Module {
  Weights() {
    const at::TensorOptions options(at::kDouble);
    first = register_parameter("first", at::linspace(-1, 1, 6, options));
    second = register_parameter(
        "second", at::linspace(0.5, 2, 6, options).reshape({2, 3}));
    count = register_buffer("count", at::zeros({}, at::kLong));
  }
  at::Tensor loss() const {
    return (first * first).sum() + (second * second * second).mean();
  }
  at::Tensor first;
  at::Tensor second;
  at::Tensor count;
};

template <typename Class, typename Options>
std::unique_ptr<Optimizer> made(const Weights& weights, Options options) {
  auto optimizer = std::make_unique<Class>(
      std::vector<OptimizerParamGroup>{
          OptimizerParamGroup({weights.first}),
          OptimizerParamGroup({weights.second})},
      options);
  auto& second = optimizer->param_groups()[1];
  second.set_options(std::make_unique<Options>(options));
  second.options().set_lr(0.5 * options.get_lr());
  return optimizer;
}

// Weights with an optimizer and a scheduler.
struct Row {
  using Make = std::function<std::unique_ptr<Optimizer>(const Weights&)>;

  Row(std::string named, const Make& make)
      : name(std::move(named)),
        optimizer(make(weights)),
        scheduler(*optimizer, StepLROptions(2).gamma(0.5)) {}

  void step() {
    optimizer->step([this] {
      optimizer->zero_grad();
      at::Tensor loss = weights.loss();
      loss.backward();
      return loss;
    });
    scheduler.step();
    weights.count += 1;
  }

  std::string name;
  Weights weights;
  std::unique_ptr<Optimizer> optimizer;
  StepLR scheduler;
};

std::vector<std::unique_ptr<Row>> rows() {
  using namespace torch::optim;
  std::vector<std::unique_ptr<Row>> all;
  const auto add = [&all](const char* name, const Row::Make& make) {
    all.push_back(std::make_unique<Row>(name, make));
  };
  add("SGD", [](const Weights& weights) {
    return made<SGD>(weights, SGDOptions(0.1).momentum(0.9).nesterov(true));
  });
  add("SGD without momentum", [](const Weights& weights) {
    return made<SGD>(weights, SGDOptions(0.1).weight_decay(0.01));
  });
  add("Adam", [](const Weights& weights) {
    return made<Adam>(weights, AdamOptions(0.1).amsgrad(true));
  });
  add("AdamW", [](const Weights& weights) {
    return made<AdamW>(weights, AdamWOptions(0.1).betas({0.8, 0.95}));
  });
  add("RMSprop", [](const Weights& weights) {
    return made<RMSprop>(
        weights, RMSpropOptions(0.1).momentum(0.9).centered(true));
  });
  add("Adagrad", [](const Weights& weights) {
    return made<Adagrad>(weights, AdagradOptions(0.1).lr_decay(0.1));
  });
  add("LBFGS", [](const Weights& weights) -> std::unique_ptr<Optimizer> {
    return std::make_unique<LBFGS>(
        std::vector<at::Tensor>{weights.first, weights.second},
        LBFGSOptions(0.2).max_iter(2));
  });
  add("ClippedSGD", [](const Weights& weights) {
    return made<ClippedSGD>(
        weights, ClippedSGDOptions(0.1).momentum(0.9).max_norm(1));
  });
  add("ClippedAdamW", [](const Weights& weights) {
    return made<ClippedAdamW>(weights, ClippedAdamWOptions(0.1).max_norm(1));
  });
  add("RollbackSGD", [](const Weights& weights) {
    return made<RollbackSGD>(weights, RollbackSGDOptions(0.1).momentum(0.9));
  });
  return all;
}

// All rows, and one entry of each other kind.
struct Run {
  Run() : all(rows()) {}

  Checkpoint checkpoint() {
    Checkpoint made;
    for (const auto& row : all) {
      made.module(row->name + " weights", row->weights)
          .optimizer(row->name, *row->optimizer)
          .state(row->name + " scheduler", row->scheduler);
    }
    made.counter("counter", counter)
        .number("number", number)
        .text("text", text)
        .tensor("half", half)
        .tensor("none", none);
    return made;
  }

  void train(int64_t steps) {
    for (const auto& row : all) {
      for (int64_t i = 0; i < steps; ++i) row->step();
    }
  }

  std::vector<std::unique_ptr<Row>> all;
  int64_t counter = 0;
  double number = 0;
  std::string text;
  at::Tensor half;
  at::Tensor none;
};

void fill(Run& run) {
  run.counter = std::numeric_limits<int64_t>::min();
  run.number = 1.0 / 3;
  run.text = std::string("\xC3\xA9\0\n", 4);
  run.half = at::linspace(-2, 2, 9, at::kFloat).to(at::kHalf);
}

int differences = 0;

void expect(bool holds, const std::string& what) {
  if (holds) return;
  ++differences;
  std::cout << "differs: " << what << '\n';
}

// Two versions may round the last bit of a function in another way.
void expect_close(
    const at::Tensor& own, const at::Tensor& other, const std::string& what) {
  expect(at::allclose(own, other, 1e-11, 1e-13), what);
}

void compare(Run& loaded, Run& own, const std::string& when) {
  for (std::size_t i = 0; i < own.all.size(); ++i) {
    Row& left = *loaded.all[i];
    Row& right = *own.all[i];
    const std::string what = right.name + ", " + when;
    expect_close(left.weights.first, right.weights.first, what);
    expect_close(left.weights.second, right.weights.second, what);
    expect(left.weights.count.equal(right.weights.count), what + ": buffer");
    for (std::size_t g = 0; g < right.optimizer->param_groups().size(); ++g) {
      const auto rate = [g](Row& row) {
        return row.optimizer->param_groups()[g].options().get_lr();
      };
      expect(rate(left) == rate(right), what + ": rate");
    }
    expect(
        left.scheduler.last_epoch() == right.scheduler.last_epoch(),
        what + ": scheduler");
  }
}

int write(const std::string& path) {
  Run run;
  run.train(kSteps);
  fill(run);
  Checkpoint checkpoint = run.checkpoint();
  checkpoint.values()["a name"] = "a value";
  save_checkpoint(path, checkpoint);
  std::cout << "written by LibTorch "
            << read_checkpoint_info(path).torch_version << '\n';
  return 0;
}

int read(const std::string& path) {
  Run own;
  own.train(kSteps);
  fill(own);
  Run loaded;
  // Another number of steps and other rates: a load must replace them all.
  loaded.train(1);
  for (const auto& row : loaded.all) {
    for (auto& group : row->optimizer->param_groups()) {
      group.options().set_lr(0.77);
    }
  }
  loaded.none = at::ones({1});
  Checkpoint checkpoint = loaded.checkpoint();
  load_checkpoint(path, checkpoint);
  compare(loaded, own, "as loaded");
  expect(loaded.counter == own.counter, "counter");
  expect(loaded.number == own.number, "number");
  expect(loaded.text == own.text, "text");
  expect(loaded.half.defined() && loaded.half.equal(own.half), "half");
  expect(!loaded.none.defined(), "none");
  expect(checkpoint.values()["a name"] == "a value", "values");
  own.train(2);
  loaded.train(2);
  compare(loaded, own, "two steps on");
  std::cout << "read what LibTorch " << read_checkpoint_info(path).torch_version
            << " wrote: " << differences << " differences\n";
  return differences == 0 ? 0 : 1;
}

}  // namespace
}  // namespace stepsize

int main(int argc, char** argv) {
  const std::string mode = argc == 3 ? argv[1] : "";
  try {
    if (mode == "write") return stepsize::write(argv[2]);
    if (mode == "read") return stepsize::read(argv[2]);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  std::cerr << "usage: checkpoint_exchange write|read FILE\n";
  return 2;
}
