#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <stepsize/optim/rollback_rule.h>
#include <torch/optim/optimizer.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "csrc/optim/rollback_point.h"

namespace stepsize::detail {

/// Carries out what RollbackRule says, for any optimizer.
class RollbackEngine {
 public:
  using LossClosure = torch::optim::Optimizer::LossClosure;

  /// Throws c10::Error where the state of the optimizer cannot be put back.
  RollbackEngine(
      std::string kind,
      torch::optim::Optimizer& optimizer,
      const RollbackOptions& options);

  /// One guarded step. `update` makes one update of all groups from the
  /// gradients at hand, with rates multiplied by its argument. `check` may
  /// refuse the gradients by throwing.
  at::Tensor step(
      const LossClosure& closure,
      const std::function<void(double scale)>& update,
      const std::function<void()>& check);

  RollbackRule& rule() { return rule_; }
  const RollbackRule& rule() const { return rule_; }
  void set_buffers(Tensors buffers) { buffers_ = std::move(buffers); }
  /// The state of the rule and the earlier point, without the options.
  void write(torch::serialize::OutputArchive& archive) const;
  std::function<void()> read(torch::serialize::InputArchive& archive);

 private:
  void capture_random_state();
  double measure(const at::Tensor& loss) const;
  at::Tensor look_back(const LossClosure& closure, const at::Tensor& loss);
  template <typename Function>
  void for_each_parameter(const Function& function) const;

  std::string kind_;
  torch::optim::Optimizer* optimizer_;
  RollbackRule rule_;
  RollbackPoint point_;
  Tensors buffers_;
  // As they were before the closure.
  Tensors buffers_before_;
  std::vector<at::Generator> generators_;
  std::vector<at::Tensor> random_states_;
};

}  // namespace stepsize::detail
