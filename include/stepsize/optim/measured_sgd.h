#pragma once

#include <stepsize/distributed/average.h>
#include <stepsize/kernels/sgd.h>
#include <stepsize/optim/indexed_optimizer.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

namespace stepsize {

/// What AutoSGD and PowerMethodSGD have in common: stochastic gradient descent
/// at a rate that it measures, by a closure that returns the loss with its
/// graph and does not call backward(). Steps whose loss or gradient is not
/// finite are left out and counted. Not a base of your own classes: its parts
/// are the library's.
class MeasuredSGD : public IndexedOptimizer {
 public:
  /// The rate of the last step, of the first group or a given one, all factors
  /// included; 0 before the first step.
  double current_lr(std::size_t group = 0) const;
  /// Norm of the gradient in the last step, before it was cut; NaN before the
  /// first. It is kept by a save.
  double last_grad_norm() const { return last_norm_; }
  /// Steps left out: their loss, the norm of their gradient (which is computed
  /// as a double) or what the class measures was not finite.
  int64_t skipped_steps() const { return skipped_; }

 protected:
  struct Update;

  // The kinds of state.
  static constexpr std::size_t kMomentum = 0;
  static constexpr std::size_t kVector = 1;

  explicit MeasuredSGD(
      std::unique_ptr<torch::optim::OptimizerOptions> defaults);

  /// Checks of the class, before the closure is called, and what the update is
  /// to have.
  virtual void prepare(Update& update) = 0;
  /// Throws where it can do nothing with such a loss.
  virtual void check_loss(const at::Tensor& loss) const;
  /// What must be the same on all ranks, besides the options.
  virtual CommonNumbers common_numbers() const = 0;
  /// A group's numbers, its factor `lr` among them.
  virtual SGDHyperparameters hyperparameters(std::size_t group) const = 0;

  /// Checks all, computes loss and gradients, the means over ranks, and the
  /// norm. False, and counted, where one is not finite: the step is over then.
  /// Else finish() or skip() is to follow; what throws before them has made no
  /// step.
  bool begin(Update& update, const LossClosure& closure);
  /// Where the gradient is more than twice as long as usual, the update is cut
  /// to that length.
  bool cut_if_long(Update& update) const;
  /// Makes the update at a rate a group, and counts its norm among the usual
  /// ones. Without rates, as nothing is known yet, no parameter moves.
  void finish(const Update& update, const std::vector<double>& rates);
  /// Leaves the update out, and counts it.
  void skip(const Update& update);

  /// Running mean of the gradient's norm, in which one that is far off counts
  /// as ten times the usual; 0 before the first that is not zero.
  double usual_norm() const { return usual_norm_; }
  /// The mean: the last bit may differ where processors do, and all must decide
  /// alike.
  double over_ranks(double own) const;

  void save_counters(torch::serialize::OutputArchive& archive) const override;
  std::function<void()> read_counters(
      torch::serialize::InputArchive& archive) override;

 private:
  void evaluate(Update& update, const LossClosure& closure);
  void evaluate_here(Update& update, const LossClosure& closure);
  void agree(Update& update, const std::exception_ptr& failure);

  std::vector<double> lrs_;
  double last_norm_ = std::numeric_limits<double>::quiet_NaN();
  double usual_norm_ = 0;
  int64_t skipped_ = 0;
};

}  // namespace stepsize
