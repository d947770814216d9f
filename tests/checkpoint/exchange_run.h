#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/lr_scheduler/stateful_lr.h>
#include <stepsize/optim/gradient_norm_rollback.h>
#include <stepsize/tune/early_stopping.h>
#include <stepsize/tune/gradient_noise_scale.h>
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace stepsize::test {

struct ExchangeWeights : torch::nn::Module {
  ExchangeWeights();
  at::Tensor loss() const;

  at::Tensor first;
  at::Tensor second;
};

/// Weights with an optimizer and what goes along with it.
struct ExchangeRow {
  explicit ExchangeRow(std::string named);
  /// `metric`: for what goes by one.
  void step(double metric);

  std::string name;
  std::shared_ptr<ExchangeWeights> weights;
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  std::unique_ptr<StatefulLR> scheduler;
  std::unique_ptr<GradientNormRollback> guard;
  std::optional<GradientNoiseScale> noise;
  std::optional<EarlyStopping> stopping;
};

/// A run for two versions of LibTorch to exchange: every optimizer, the
/// schedulers that have a state of their own kind, all that watches a run, and
/// one entry of each other kind. It draws nothing but from its generators, and
/// is the same in each version but for the rounding of functions.
struct ExchangeRun {
  ExchangeRun();
  /// The row of a name that is there.
  ExchangeRow& row(const std::string& name);
  Checkpoint checkpoint();
  void train(int64_t count);
  /// Sets the entries that no training sets.
  void fill();

  std::vector<std::unique_ptr<ExchangeRow>> rows;
  /// The weights of all rows, and a buffer that counts the steps.
  torch::nn::Module weights;
  at::Tensor steps;
  at::Generator generator;
  int64_t counter = 0;
  double number = 0;
  std::string text;
  at::Tensor half;
  at::Tensor none;
};

}  // namespace stepsize::test
