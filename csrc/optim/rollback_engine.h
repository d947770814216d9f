#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/optim/rollback_rule.h>
#include <torch/optim/optimizer.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "csrc/optim/rollback_point.h"
#include "csrc/state/random_state.h"

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
  /// refuse the gradients by throwing: nothing has been changed then. Where
  /// `update` throws, the rule is as it was before the step; a rollback that it
  /// was to follow stays and counts.
  at::Tensor step(
      const LossClosure& closure,
      const std::function<void(double scale)>& update,
      const std::function<void()>& check);

  RollbackRule& rule() { return rule_; }
  const RollbackRule& rule() const { return rule_; }
  void set_buffers(Tensors buffers) { buffers_ = std::move(buffers); }
  /// Null: no other ranks.
  void set_reduction(std::shared_ptr<Reduction> reduction) {
    reduction_ = std::move(reduction);
  }
  /// The state of the rule and the earlier point, without the options.
  void write(torch::serialize::OutputArchive& archive) const;
  std::function<void()> read(torch::serialize::InputArchive& archive);

 private:
  double measure(const at::Tensor& loss) const;
  at::Tensor look_back(const LossClosure& closure, const at::Tensor& loss);
  at::Tensor decide(const LossClosure& closure, const at::Tensor& loss);
  template <typename Function>
  void for_each_parameter(const Function& function) const;

  std::string kind_;
  torch::optim::Optimizer* optimizer_;
  RollbackRule rule_;
  RollbackPoint point_;
  Tensors buffers_;
  std::shared_ptr<Reduction> reduction_;
  // As they were before the closure.
  Tensors buffers_before_;
  // As it was before the closure.
  std::optional<RandomState> random_before_;
  // Kept from step to step for its memory.
  RollbackRule::State state_before_;
};

}  // namespace stepsize::detail
