#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <stepsize/optim/optimizer_snapshot.h>
#include <torch/nn/module.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "csrc/state/random_state.h"

namespace stepsize::detail {

using Tensors = std::vector<at::Tensor>;

/// What a trial run may touch.
struct Touched {
  torch::nn::Module* module = nullptr;  ///< null where there is none
  Tensors parameters;                   ///< beside those of the optimizer
  Tensors buffers;
  std::vector<at::Generator> generators;
};

/// Keeps all that a trial run changes and puts it back bit for bit: parameters,
/// buffers, the optimizer, gradients, requires_grad, the modes of modules and
/// the random state. While it lives the parameters have no gradients; the
/// tensors that they had are set aside.
class TrainingStateGuard {
 public:
  TrainingStateGuard(
      torch::optim::Optimizer& optimizer, const Touched& touched);
  /// Puts everything back where restore() has not, and warns of what it cannot.
  ~TrainingStateGuard();
  TrainingStateGuard(const TrainingStateGuard&) = delete;
  TrainingStateGuard& operator=(const TrainingStateGuard&) = delete;

  /// Puts everything back. Where one part throws, the others are put back
  /// nevertheless, and the first error is thrown on.
  void restore();

  /// The modes alone, and the random state alone.
  void restore_modes();
  void restore_random_state();

  /// All parameters, each once.
  const Tensors& parameters() const { return parameters_; }
  /// The buffers that are defined.
  const Tensors& buffers() const { return buffers_; }

 private:
  struct Kept {
    at::Tensor owner;
    at::Tensor place;
    at::Tensor copy;
  };
  struct Gradient {
    at::Tensor gradient;
    bool required;
  };
  struct Mode {
    std::shared_ptr<torch::nn::Module> owner;  // null for the outermost
    torch::nn::Module* module;
    bool training;
  };

  void keep_modes(torch::nn::Module& module);
  void restore_tensors();
  void restore_gradients();

  Tensors parameters_;
  Tensors buffers_;
  OptimizerSnapshot snapshot_;
  std::vector<Kept> kept_;
  std::vector<Gradient> gradients_;
  std::vector<Mode> modes_;
  std::optional<RandomState> random_state_;
  bool restored_ = false;
};

}  // namespace stepsize::detail
