#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adam.h>
#include <torch/types.h>

#include <cstdint>
#include <string>
#include <type_traits>

#include "csrc/state/parameter_key.h"
#include "tests/support/archive_bytes.h"

namespace stepsize::test {

/// A module, an optimizer with state, a scheduler and the rest, all filled from
/// a seed: two of them differ in every number.
struct SmallRun {
  explicit SmallRun(int64_t seed, int64_t width = 4)
      : net(torch::nn::Linear(3, width), torch::nn::BatchNorm1d(width)),
        adam(net->parameters(), torch::optim::AdamOptions(0.1)),
        scheduler(adam, StepLROptions(2)),
        generator(
            at::detail::createCPUGenerator(static_cast<uint64_t>(seed) + 1)),
        step(seed),
        best(0.5 * static_cast<double>(seed)),
        note("seed " + std::to_string(seed)),
        curve(torch::full({seed % 5}, seed)) {
    torch::manual_seed(static_cast<uint64_t>(seed));
    for (int64_t i = 0; i <= seed % 3; ++i) {
      adam.zero_grad();
      net->forward(torch::randn({5, 3})).square().sum().backward();
      adam.step();
      scheduler.step();
    }
  }

  Checkpoint checkpoint() {
    Checkpoint made;
    made.module("net", *net)
        .optimizer("adam", adam)
        .state("scheduler", scheduler)
        .generator("batches", generator)
        .counter("step", step)
        .number("best", best)
        .text("note", note)
        .tensor("curve", curve);
    return made;
  }

  /// All of it and the random state, bit for bit.
  std::string bits() {
    std::string all = note + std::to_string(step) + std::to_string(best);
    const auto add = [&all](const torch::Tensor& tensor) {
      if (!tensor.defined()) {
        all += "undefined";
        return;
      }
      const auto plain = tensor.detach().contiguous();
      all.append(
          static_cast<const char*>(plain.data_ptr()),
          static_cast<std::size_t>(plain.nbytes()));
    };
    for (const auto& tensor : net->parameters()) add(tensor);
    for (const auto& tensor : net->buffers()) add(tensor);
    add(curve);
    add(generator.get_state());
    add(at::globalContext().defaultGenerator(at::kCPU).get_state());
    auto& group = adam.param_groups()[0];
    auto& options = static_cast<torch::optim::AdamOptions&>(group.options());
    for (const double value : {options.lr(), options.eps()}) {
      all.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
    for (const auto& parameter : group.params()) {
      const auto found =
          adam.state().find(detail::parameter_state_key(parameter));
      if (found == adam.state().end()) continue;
      const auto& state =
          static_cast<torch::optim::AdamParamState&>(*found->second);
      all += std::to_string(state.step());
      add(state.exp_avg());
      add(state.exp_avg_sq());
    }
    return all + saved(scheduler);
  }

  torch::nn::Sequential net;
  torch::optim::Adam adam;
  StepLR scheduler;
  at::Generator generator;
  int64_t step;
  double best;
  std::string note;
  torch::Tensor curve;
};

}  // namespace stepsize::test
