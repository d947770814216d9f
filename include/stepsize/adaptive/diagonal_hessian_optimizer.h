#pragma once

#include <stepsize/optim/indexed_optimizer.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

namespace stepsize {

/// What AdaHessian and SophiaH have in common: an estimate of the Hessian's
/// diagonal by z * Hz, z a random vector of +1 and -1 (Hutchinson 1990; Bekas,
/// Kokiopoulou and Saad 2007), once every `interval` updates. The closure
/// returns the loss with its graph and does not call backward(); it is called
/// once, and the product takes the graph of the update's own gradient.
///
/// z comes from a generator of its own, seeded by `seed` and the number of the
/// product, on the CPU: the same on all ranks, whose estimates are averaged,
/// and after a load. The default generators do not notice.
///
/// A parameter is measured in every interval-th of its own updates, and one
/// that is new begins with the next product. A step whose loss, gradient or
/// estimate is not finite is left out and counted. Not a base of your own
/// classes.
class DiagonalHessianOptimizer : public IndexedOptimizer {
 public:
  /// One update; returns the loss. Throws c10::Error where there is no closure
  /// or it calls backward(), where an option is out of range, a gradient does
  /// not fit its parameter or an operator has no double backward; nothing has
  /// been changed then.
  at::Tensor step(LossClosure closure = nullptr) override;

  /// Hessian-vector products so far.
  int64_t products() const { return products_; }
  int64_t skipped_steps() const { return skipped_; }
  /// Norm of the whole gradient in the last step; NaN before it.
  double last_grad_norm() const { return last_grad_norm_; }

 protected:
  bool has_deciding_counters() const override { return true; }

  explicit DiagonalHessianOptimizer(
      std::unique_ptr<torch::optim::OptimizerOptions> defaults);

  virtual int64_t interval() const = 0;
  virtual int64_t seed() const = 0;
  /// Makes the updates, the states of which become the optimizer's after it.
  /// `diagonals`: the estimate for each, of the state's type; undefined where
  /// it was not measured this time.
  virtual void apply(
      std::vector<ParameterUpdate>& updates,
      const std::vector<at::Tensor>& diagonals) = 0;

  void save_counters(torch::serialize::OutputArchive& archive) const override;
  std::function<void()> read_counters(
      torch::serialize::InputArchive& archive) override;

 private:
  struct Evaluation;

  bool is_due(std::size_t group, std::size_t index);
  void evaluate_here(Evaluation& evaluation, const LossClosure& closure);
  void evaluate_with_graph(Evaluation& evaluation, const LossClosure& closure);
  std::vector<at::Tensor> estimate(
      const std::vector<at::Tensor>& gradients,
      const std::vector<at::Tensor>& parameters);

  int64_t updates_ = 0;
  int64_t products_ = 0;
  int64_t skipped_ = 0;
  double last_grad_norm_ = std::numeric_limits<double>::quiet_NaN();
};

}  // namespace stepsize
