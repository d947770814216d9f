#pragma once

#include <stepsize/curvature/edge_policy.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/step_size_policy.h>
#include <stepsize/optim/measured_sgd.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace stepsize {

/// Options of AutoSGD. All are a group's own.
class AutoSGDOptions : public ListedOptions<AutoSGDOptions> {
 public:
  /// `lr`: a factor of the rate that the policy says, which a scheduler may
  /// move (its get_last_lr() is then this factor); finite and >= 0. The rate in
  /// force is AutoSGD::current_lr().
  AutoSGDOptions(double lr = 1.0);  // NOLINT: implicit, as LibTorch's

  TORCH_ARG(double, lr);
  /// In [0, 1).
  TORCH_ARG(double, momentum) = 0.9;
  /// Nesterov's momentum; wants momentum > 0.
  TORCH_ARG(bool, nesterov) = false;
  /// Finite and >= 0; added to the gradient, and to the curvature that is
  /// measured.
  TORCH_ARG(double, weight_decay) = 0;
  /// Shrink the parameters by 1 - rate * weight_decay instead.
  TORCH_ARG(bool, decoupled_weight_decay) = false;
  /// model->buffers(), of the first group: BatchNorm's running statistics are
  /// put back after the closure's extra evaluations. In no archive.
  TORCH_ARG(TensorVector, buffers);

 public:
  static const OptionList<AutoSGDOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// Stochastic gradient descent without a rate to choose: a StepSizePolicy looks
/// at the batch at hand and says it.
///
///     AutoSGD optimizer(model->parameters(), AutoSGDOptions());
///     optimizer.step([&] { return loss_of(model->forward(batch)); });
///
/// The closure returns the loss with its graph, of float32 or float64, and does
/// not call backward(): it may be called again in the same update, with the
/// same random numbers, and for a loss alone with gradients disabled. `grad` of
/// the parameters is left alone. A gradient more than twice as long as usual is
/// cut to that length. Steps whose loss or gradient, with coupled decay where
/// the policy asks for it, is not finite are left out and counted. Its cost,
/// and when not to use it: docs/optimizers.md.
class AutoSGD : public MeasuredSGD {
 public:
  /// The policy is copied. Throws c10::Error, naming option, rule and value,
  /// where an option is out of range.
  AutoSGD(
      std::vector<at::Tensor> parameters,
      const AutoSGDOptions& options = {},
      const StepSizePolicy& policy = EdgePolicy());
  AutoSGD(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const AutoSGDOptions& defaults = {},
      const StepSizePolicy& policy = EdgePolicy());

  /// One update; returns the loss of before it, without a graph. Throws
  /// c10::Error where there is no closure, where it returns no scalar with a
  /// graph, one of half precision, or has called backward(), and passes on what
  /// it throws; the parameters are unchanged then.
  at::Tensor step(LossClosure closure = nullptr) override;

  const StepSizePolicy& policy() const { return *policy_; }
  /// Evaluations of loss, and of loss and gradient, beyond one an update.
  int64_t extra_losses() const { return extra_losses_; }
  int64_t extra_gradients() const { return extra_gradients_; }
  /// Steps whose gradient was cut.
  int64_t cut_steps() const { return cut_; }

 protected:
  void save_counters(torch::serialize::OutputArchive& archive) const override;
  std::function<void()> read_counters(
      torch::serialize::InputArchive& archive) override;

  void prepare(Update& update) override;
  void check_loss(const at::Tensor& loss) const override;
  CommonNumbers common_numbers() const override;
  SGDHyperparameters hyperparameters(std::size_t group) const override;

 private:
  class Probe;

  const AutoSGDOptions& options_of(std::size_t group) const;
  std::optional<double> next_rate(Update& update, const LossClosure& closure);

  std::unique_ptr<StepSizePolicy> policy_;
  int64_t extra_losses_ = 0;
  int64_t extra_gradients_ = 0;
  int64_t cut_ = 0;
};

}  // namespace stepsize
