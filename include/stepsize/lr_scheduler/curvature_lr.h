#pragma once

#include <stepsize/curvature/curvature_meter.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/curvature/sharpness_tracker.h>
#include <stepsize/lr_scheduler/per_group.h>
#include <stepsize/lr_scheduler/stateful_lr.h>
#include <stepsize/schedule/schedule.h>
#include <torch/arg.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace stepsize {

/// Options of CurvatureLR.
class CurvatureLROptions {
 public:
  /// How the rate follows the measurements: the safety factor s and others.
  TORCH_ARG(SharpnessTrackerOptions, tracker);
  /// What the rate is multiplied by, for all groups or one a group; finite and
  /// >= 0.
  TORCH_ARG(PerGroup, factor) = 1.0;
  /// Multiplies the measured rate over the steps, as in ScheduleLR: a cooldown,
  /// say. It does nothing before the first measurement.
  TORCH_ARG(Schedule, schedule);
  /// How the optimizer's momentum m changes the rate: times 1 - m, which
  /// mini-batches want, or up to the limit of a quadratic, for full batches and
  /// losses without noise: (1 + m) / (1 - m) times as fast, and it diverges
  /// where batches are small.
  TORCH_ARG(MomentumLimit, momentum_limit) = MomentumLimit::kEffectiveRate;
  /// Products of each of the first five measurements; >= 1.
  TORCH_ARG(int64_t, start_products) = 20;
  /// How products are computed where observe() is given a closure. kAutomatic:
  /// exact, by differences where that throws or is not finite.
  TORCH_ARG(HessianMethod, method) = HessianMethod::kAutomatic;
  /// model->buffers(): put back after each evaluation of such a closure.
  TORCH_ARG(TensorVector, buffers);
  /// Seed of the first vector, >= 0; no other random state is touched.
  TORCH_ARG(int64_t, seed) = 0;

 public:
  /// The options as text; throws c10::Error where one is out of its range.
  std::string describe() const;
  /// The same, for the library's own use.
  detail::NamedOptions options() const;
};

/// Measures the rate of an optimizer that descends along the gradient, as
/// PowerMethodSGD measures its own, or along one that it scales by coordinate:
///
///   rate = 2 s / lambda,        lambda = |H v|, v = H v / |H v| of last time
///
/// with P^-1/2 H P^-1/2 in place of H where the optimizer divides by P.
///
///     CurvatureLR scheduler(optimizer);
///     for (...) {
///       optimizer.zero_grad();
///       auto loss = loss_of(model->forward(batch));
///       scheduler.observe(loss);  // a product, every few updates
///       loss.backward();
///       optimizer.step();
///       scheduler.step();
///     }
///
/// observe() and step() are called once an update. observe() sets the rates of
/// the update at hand, where it has measured, and step() those of the next:
/// they grow there. Whether it is time to measure, SharpnessTracker says, with
/// its interval counted in calls of observe() or of step(), whichever are more.
/// Until the first measurement rates and `schedule` rest; the tenth step()
/// without one warns. A loss without any curvature is none.
///
/// The loss must be the one whose gradient the update takes, as its scale is
/// that of the rate. With N micro-batches whose losses are divided by N observe
/// the first one's, once an update and before the division; with a gradient
/// scaler, before the scaling. Ranks that observe batches of their own would
/// come to rates of their own: let one observe and send its rates to the
/// others.
///
/// With momentum m the rate is 1 - m times as large, so that the effective
/// rate, that over 1 - m, is the same; MomentumLimit::kQuadratic asks for 1 + m
/// times, with Nesterov's (1 + m) / (1 + 2 m). Coupled weight decay adds to
/// lambda. Both are read anew each time. Momentum with dampening is refused.
///
/// Optimizers take part whose OptimizerTraits say that they descend along the
/// gradient (torch::optim::SGD, ClippedSGD, RollbackSGD) or name a
/// preconditioner (torch::optim::Adam, AdamW, RMSprop, Adagrad, ClippedAdamW),
/// and yours where you have described it. All others are refused. When not to
/// use it: beside a scheduler that writes rates as well; give that as
/// `schedule`.
///
/// With a preconditioner (coming_preconditioner(); Cohen et al. 2022,
/// arXiv:2207.14484) coupled decay is preconditioned too. Adam's momentum is a
/// mean, and its effective rate the rate itself: the limit is 2 / lambda, by
/// kQuadratic (2 + 2 m) / ((1 - m) lambda), 38 / lambda at m = 0.9. In the
/// first twenty updates of a parameter P grows by tens and hundreds: each is
/// measured, earlier measurements do not count, and the rate grows by a factor
/// of 1.3 an update at most.
///
/// Cost: with a loss, a measurement takes a gradient that keeps its graph,
/// which your backward() computes again, and a product of 1.5 to 2.8 gradients;
/// the first five take start_products products each. With a closure it takes a
/// loss besides, by differences a gradient a product, two by central ones. The
/// host waits for each product. One buffer as large as the parameters, and four
/// more while P is in use.
class CurvatureLR : public StatefulLR {
 public:
  /// Throws c10::Error where an option is out of its range, for an optimizer
  /// whose limit no Hessian tells or that measures for itself, for one of
  /// which nothing is known, a subclass of SGD say, or whose state cannot be
  /// read where its preconditioner needs that, and for momentum with
  /// dampening, which step() and observe() refuse as well: the
  /// first gradient is not dampened, and one rate cannot suit both.
  explicit CurvatureLR(
      torch::optim::Optimizer& optimizer,
      const CurvatureLROptions& options = {});

  /// Looks at the batch of the coming update, and sets its rates where it is
  /// time to measure. The loss is a scalar with its graph, on which backward()
  /// has not been called, and the one whose gradient the update takes, neither
  /// scaled nor divided; products are exact.
  /// Returns whether it has measured: not where it was not time, where the
  /// curvature is not finite (failed_measurements() counts that) and where
  /// there has been none so far; the last two leave it due(). Throws c10::Error
  /// for a loss without a graph, and passes on what a double backward throws;
  /// nothing has changed then.
  bool observe(const at::Tensor& loss);
  /// The same from a closure that computes the loss and does not call
  /// backward(): also by finite differences, for what has no double backward
  /// or none that is finite. It is not called where it is not time.
  bool observe(const GraphClosure& closure);

  void set_base_lrs(const PerGroup& base_lrs) override;

  std::function<void()> keep_options() override;

  /// Whether it is time: the next observe() measures.
  bool due() const { return tracker_.due(); }
  /// The sharpness that the rates go by; NaN before the first measurement.
  double sharpness() const { return tracker_.sharpness(); }
  /// Hessian-vector products so far.
  int64_t products() const { return products_; }
  /// Measurements so far that came to no finite number. The rates stayed, and
  /// the next observe() measures again.
  int64_t failed_measurements() const { return failed_; }

 protected:
  std::vector<double> get_lrs() override;
  const char* state_class() const override { return "CurvatureLR"; }
  void save_state(torch::serialize::OutputArchive& archive) const override;
  void load_state(
      torch::serialize::InputArchive& archive,
      const std::vector<double>& lrs) override;
  void load_state_only(
      torch::serialize::InputArchive& archive,
      const detail::NamedOptions& saved,
      int64_t epoch,
      const std::vector<double>& lrs) override;
  void take_options(const detail::NamedOptions& options) override;

 private:
  TensorVector trained_parameters() const;
  void check_dampening() const;
  bool is_time();
  template <typename Loss>
  bool measure(const Loss& loss);
  std::vector<double> lrs_at(int64_t epoch, double rate) const;

  CurvatureLROptions options_;
  SharpnessTracker tracker_;
  CurvatureMeter meter_;
  int64_t products_ = 0;
  int64_t failed_ = 0;
  // Calls of observe() since a measurement, its own with them.
  int64_t observed_ = 0;
  bool warned_ = false;
};

}  // namespace stepsize
