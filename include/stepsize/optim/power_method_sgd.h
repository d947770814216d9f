#pragma once

#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/curvature/sharpness_tracker.h>
#include <stepsize/optim/measured_sgd.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace stepsize {

/// Options of PowerMethodSGD. The first six are a group's own, the others
/// must be the same in all groups.
class PowerMethodSGDOptions : public ListedOptions<PowerMethodSGDOptions> {
 public:
  /// `lr`: a factor of the measured rate, which a scheduler may move (its
  /// get_last_lr() is then this factor); finite and >= 0. The rate in force is
  /// PowerMethodSGD::current_lr().
  PowerMethodSGDOptions(double lr = 1.0);  // NOLINT: implicit, as LibTorch's

  TORCH_ARG(double, lr);
  /// In [0, 1).
  TORCH_ARG(double, momentum) = 0;
  /// Nesterov's momentum; wants momentum > 0.
  TORCH_ARG(bool, nesterov) = false;
  /// How momentum m changes the rate: times 1 - m, which mini-batches want, or
  /// up to the limit of a quadratic, for full batches and losses without noise:
  /// (1 + m) / (1 - m) times as fast, and it diverges where batches are small.
  TORCH_ARG(MomentumLimit, momentum_limit) = MomentumLimit::kEffectiveRate;
  /// Finite and >= 0. Coupled decay adds to the curvature, and the rate takes
  /// that into account.
  TORCH_ARG(double, weight_decay) = 0;
  /// Shrink the parameters by 1 - rate * weight_decay instead.
  TORCH_ARG(bool, decoupled_weight_decay) = false;
  /// How the rate follows the measurements: the safety factor s and others.
  TORCH_ARG(SharpnessTrackerOptions, tracker);
  /// Products of each of the first five measurements; >= 1. From a random
  /// vector one product errs by nearly all, ten by a few percent; and in its
  /// first updates a network may outrun a single product each.
  TORCH_ARG(int64_t, start_products) = 20;
  /// How products are computed. kAutomatic: exact, by finite differences from
  /// the first product on that throws, and by one difference where an exact
  /// product is not finite.
  TORCH_ARG(HessianMethod, method) = HessianMethod::kAutomatic;
  /// model->buffers(), for finite differences: BatchNorm's running statistics
  /// are put back after the closure's extra evaluations.
  TORCH_ARG(TensorVector, buffers);
  /// Seed of the first vector; no other random state is touched.
  TORCH_ARG(int64_t, seed) = 0;

 public:
  static const OptionList<PowerMethodSGDOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// Stochastic gradient descent that measures its rate:
///
///   rate = 2 s / lambda,        lambda = |H v|, v = H v / |H v| of last time
///
/// a share s (the tracker's safety) of the limit of stability on a quadratic,
/// by the power method: a Hessian-vector product every few updates, on the
/// batch at hand. Momentum changes it as momentum_limit says.
///
///     PowerMethodSGD optimizer(model->parameters(), PowerMethodSGDOptions());
///     optimizer.step([&] { return loss_of(model->forward(batch)); });
///
/// The closure returns the loss with its graph and does not call backward();
/// `grad` of the parameters is left alone. Steps whose loss or gradient is not
/// finite are left out and counted. Cost, ranks, sources, and when not to use
/// it: docs/optimizers.md.
class PowerMethodSGD : public MeasuredSGD {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range.
  PowerMethodSGD(
      std::vector<at::Tensor> parameters,
      const PowerMethodSGDOptions& options = {});
  PowerMethodSGD(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const PowerMethodSGDOptions& defaults = {});

  /// One update; returns the loss of before it, without a graph. Throws
  /// c10::Error where there is no closure, where it returns no scalar with a
  /// graph or has called backward(), and passes on what it throws; the
  /// parameters are unchanged then.
  at::Tensor step(LossClosure closure = nullptr) override;

  /// The sharpness that the rate goes by; NaN before the first step.
  double sharpness() const { return tracker_.sharpness(); }
  /// Hessian-vector products so far.
  int64_t products() const { return products_; }
  /// Steps whose curvature should have been measured and was not finite.
  int64_t unmeasured_steps() const { return unmeasured_; }
  /// How products are computed; kAutomatic until the first has decided.
  HessianMethod method() const { return method_; }
  /// Why kAutomatic went over to differences: what the exact product threw.
  /// Empty where it did not.
  const std::string& fallback_reason() const { return fallback_reason_; }

 protected:
  void save_counters(torch::serialize::OutputArchive& archive) const override;
  std::function<void()> read_counters(
      torch::serialize::InputArchive& archive) override;

  void prepare(Update& update) override;
  CommonNumbers common_numbers() const override;
  SGDHyperparameters hyperparameters(std::size_t group) const override;

 private:
  // The parameters that have a gradient, by their index: the Hessian is zero in
  // the others, whose parts of the vector wait for their return.
  using Used = std::vector<std::size_t>;

  std::function<void()> way_back();
  at::Tensor measured_step(const LossClosure& closure);
  void use_options();
  void fall_back(const std::string& reason);
  LinearOperator over_ranks(const LinearOperator& own) const;
  void together(const std::function<void()>& work) const;
  void measure(Update& update, const LossClosure& closure);
  double measured(Update& update, const Used& used, const LossClosure& closure);
  at::Tensor& slot(const Update& update, std::size_t index);
  double power_step(
      const LinearOperator& hessian, const Update& update, const Used& used);
  double difference_step(
      const Update& update, const Used& used, const LossClosure& closure);
  std::vector<double> rates();
  const PowerMethodSGDOptions& options_of(std::size_t group) const;

  SharpnessTracker tracker_;
  HessianMethod method_;
  std::string fallback_reason_;
  int64_t products_ = 0;
  int64_t unmeasured_ = 0;
  int64_t unmeasured_in_a_row_ = 0;
};

}  // namespace stepsize
