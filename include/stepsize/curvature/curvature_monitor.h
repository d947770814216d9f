#pragma once

#include <stepsize/curvature/curvature_measurement.h>
#include <stepsize/curvature/curvature_meter.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/linear_operator.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/state/option_list.h>
#include <torch/arg.h>
#include <torch/optim/optimizer.h>
#include <torch/serialize/archive.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

namespace stepsize {

/// Options of CurvatureMonitor.
class CurvatureMonitorOptions {
 public:
  /// Makes one operator of another.
  using Transform = std::function<LinearOperator(const LinearOperator&)>;

  /// Updates between two measurements, or the least of them where there is a
  /// budget; >= 1.
  TORCH_ARG(int64_t, every) = 10;
  /// Percent of the training's own time that measuring may take; finite and
  /// >= 0. The monitor stops the time of both and waits, in steps of `every`,
  /// until it can afford the next one: when it measures is then a matter of the
  /// machine. 0: every `every` updates, and no look at a clock.
  TORCH_ARG(double, budget) = 0;
  /// Of the optimizer, for the limit; in [0, 1). Where the monitor has the
  /// optimizer itself, this and nesterov are not looked at, and has_limit and
  /// preconditioner are refused.
  TORCH_ARG(double, momentum) = 0;
  TORCH_ARG(bool, nesterov) = false;
  /// What max_stable_lr() does with momentum.
  TORCH_ARG(MomentumLimit, momentum_limit) = MomentumLimit::kQuadratic;
  /// Whether there is a limit to compare with. Not for an optimizer that does
  /// not go along the gradient, or along what `preconditioner` makes of it:
  /// Lion, and Adam's kin without one.
  TORCH_ARG(bool, has_limit) = true;
  /// P^(-1/2) H P^(-1/2) of the Hessian H, for an optimizer that goes along
  /// P^-1 g. Called at each measurement. Empty: there is no P.
  TORCH_ARG(Transform, preconditioner);
  /// Random vectors of each estimate of the trace, a product each; 0 for none,
  /// or >= 2, which an error bar takes.
  TORCH_ARG(int64_t, trace_samples) = 0;
  /// How the sharpness is measured. Give it model->buffers(), and its seed
  /// draws the trace's vectors, too.
  TORCH_ARG(CurvatureMeterOptions, meter);
  /// Seconds from any moment on. Empty: std::chrono::steady_clock.
  TORCH_ARG(std::function<double()>, clock);

 public:
  static const OptionList<CurvatureMonitorOptions>& option_list();
};

/// Watches the curvature of any training loop and changes nothing: sharpness,
/// rate * sharpness beside its limit, and the trace, every few updates or
/// within a share of the time.
///
///     CurvatureMonitor monitor(
///         optimizer, CurvatureMonitorOptions().budget(5));
///     for (...) {                               // one update
///       ...
///       optimizer.step();
///       monitor.step(lr, [&] { return loss_of(batch); });
///     }
///     write_csv("curvature.csv", monitor.measurements());
///     write_svg("curvature.svg", curvature_plot(monitor.measurements()));
///
/// The first update is measured, then those whose number is a multiple of
/// `every`. Where none is due a step is one counter: the closure is not even
/// copied. Neither parameters nor their `grad`, random state, optimizer and
/// the buffers named in meter() notice a measurement.
///
/// Cost of a measurement: what CurvatureMeter's costs; as much again with a
/// preconditioner, with an optimizer that clips, or where groups differ in rate
/// or coupled decay; a product a sample of the trace. Rows are kept. A value,
/// but for parameters and optimizer, which copies share.
class CurvatureMonitor {
 public:
  using OperatorClosure = std::function<LinearOperator()>;

  /// Throws c10::Error where there is no parameter, and, naming option, rule
  /// and value, where an option is out of its range. Parameters that do not
  /// require a gradient are left out while they do not.
  explicit CurvatureMonitor(
      TensorVector parameters, const CurvatureMonitorOptions& options = {});
  explicit CurvatureMonitor(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const CurvatureMonitorOptions& options = {});
  /// Watches what the optimizer makes of the Hessian (coming_operator()):
  /// parameters, momentum, coupled weight decay and the preconditioner of
  /// Adam's kin are its own, as they are at each measurement; with a
  /// preconditioner the closure returns a loss. Where there is no such
  /// operator, as with Lion, there is no limit. The optimizer must outlive the
  /// monitor.
  explicit CurvatureMonitor(
      torch::optim::Optimizer& optimizer,
      const CurvatureMonitorOptions& options = {});

  /// To be called after each update, with the rate that it was made with.
  /// Measures where that is due; the row then, which stays in place until the
  /// next one, and else null. `closure` is a GraphClosure, or returns an
  /// operator over the parameters: a mean over micro-batches, say. Throws what
  /// measure() throws; the update is counted, and the next one tries again.
  template <typename Closure>
  const CurvatureMeasurement* step(double lr, const Closure& closure) {
    return count_update() ? &measure_by({lr}, closure) : nullptr;
  }
  /// The same with the rate of each group: scheduler.get_last_lr() of before
  /// the scheduler's step().
  template <typename Closure>
  const CurvatureMeasurement* step(
      const std::vector<double>& lrs, const Closure& closure) {
    return count_update() ? &measure_by(lrs, closure) : nullptr;
  }

  /// Measures now, whether it is due or not, and counts no update; the next
  /// measurement is planned from here. `lrs`: one rate, or one a group. Throws
  /// c10::Error where a rate is not finite or negative or their number is
  /// another, and what hessian_operator() and its products throw; nothing has
  /// changed then.
  const CurvatureMeasurement& measure(
      const std::vector<double>& lrs, const GraphClosure& closure);
  const CurvatureMeasurement& measure(
      const std::vector<double>& lrs, const OperatorClosure& closure);

  /// All of them, in their order.
  const std::vector<CurvatureMeasurement>& measurements() const {
    return rows_;
  }
  /// Updates counted so far.
  int64_t updates() const { return updates_; }
  /// The update that is measured next, if the budget then allows it.
  int64_t next_update() const { return next_; }
  /// Percent of the training's own time that measuring has taken; NaN where
  /// there is no budget, and no clock is looked at.
  double overhead() const;
  /// What measures, for its numbers: measurements that failed, products.
  const CurvatureMeter& meter() const { return meter_; }
  const CurvatureMonitorOptions& options() const { return options_; }

  /// The state, rows included, options aside; bit for bit. load() throws
  /// c10::Error where the archive has none, and changes nothing then.
  void save(torch::serialize::OutputArchive& archive) const;
  void load(torch::serialize::InputArchive& archive);

 private:
  struct Watched;
  struct Rates;
  struct Trial;

  bool count_update() { return ++updates_ >= wake_ && wake(); }
  template <typename Closure>
  const CurvatureMeasurement& measure_by(
      const std::vector<double>& lrs, const Closure& closure) {
    if constexpr (std::is_convertible_v<decltype(closure()), LinearOperator>) {
      return measure(lrs, OperatorClosure(closure));
    } else {
      return measure(lrs, GraphClosure(closure));
    }
  }
  const CurvatureMeasurement& timed(const std::function<Trial()>& work);

  bool wake();
  void plan_next();
  double now() const;
  Watched watched() const;
  std::size_t group_count() const;
  std::vector<double> limits() const;
  Rates rates_of(const std::vector<double>& lrs) const;
  LinearOperator scaled(const LinearOperator& op, const Rates& rates) const;
  Trial attempt(
      const std::vector<double>& lrs,
      const LinearOperator& op,
      const TensorVector& gradients) const;
  std::optional<double> added_to_hessian(const TensorVector& gradients) const;
  LinearOperator changed(
      const LinearOperator& op, const TensorVector& gradients) const;
  static void measure_with_decay(
      Trial& trial, const LinearOperator& op, double decay);

  TensorVector parameters_;
  // Null: the options say what it does.
  torch::optim::Optimizer* optimizer_ = nullptr;
  // Of each parameter.
  std::vector<std::size_t> groups_;
  std::size_t group_count_ = 1;
  CurvatureMonitorOptions options_;
  CurvatureMeter meter_;
  CurvatureMeter effective_meter_;
  std::vector<CurvatureMeasurement> rows_;

  int64_t updates_ = 0;
  int64_t next_ = 1;
  // The update at which there is something to do: next_, or an earlier one
  // that starts the clock.
  int64_t wake_ = 1;
  // In seconds: the last measurement, all of them, and the updates' own.
  double cost_ = 0;
  double spent_ = 0;
  double trained_ = 0;
  // Updates in trained_.
  int64_t timed_updates_ = 0;
  // Where trained_ and timed_updates_ end; NaN where the clock has not started.
  double mark_ = std::numeric_limits<double>::quiet_NaN();
  int64_t marked_update_ = 0;
};

}  // namespace stepsize
