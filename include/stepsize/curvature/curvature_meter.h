#pragma once

#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/linear_operator.h>
#include <stepsize/curvature/power_iteration.h>
#include <stepsize/state/option_list.h>
#include <torch/arg.h>
#include <torch/serialize/archive.h>

#include <cstdint>
#include <functional>
#include <limits>

namespace stepsize {

/// Options of CurvatureMeter.
class CurvatureMeterOptions {
 public:
  /// Products of each of the first five measurements; >= 1. From a random
  /// vector one product errs by nearly all, ten by a few percent; and in its
  /// first updates a network may outrun a single product each.
  TORCH_ARG(int64_t, start_products) = 20;
  /// Products of each one after them; >= 1.
  TORCH_ARG(int64_t, products) = 1;
  /// How products are computed where measure() is given a closure. kAutomatic:
  /// exact, by differences where that throws or is not finite.
  TORCH_ARG(HessianMethod, method) = HessianMethod::kAutomatic;
  /// model->buffers(): put back after each evaluation of such a closure.
  TORCH_ARG(TensorVector, buffers);
  /// Seed of the first vector; no other random state is touched.
  TORCH_ARG(int64_t, seed) = 0;

 public:
  static const OptionList<CurvatureMeterOptions>& option_list();
};

/// For computers that measure one operator together: each function puts the
/// same on all, as their own may differ. All go on from vectors that have the
/// same parts.
struct MeterAgreement {
  /// The numbers by which an iteration decides.
  AgreeOnNumbers numbers;
  /// The parts of a vector that have been drawn, in place.
  std::function<void(const TensorVector& parts)> parts;
};

/// What CurvatureMeter measures in place of the Hessian, made of it.
using FromHessian = std::function<LinearOperator(const HessianOperator&)>;

/// The sharpness of a loss along a run, and nothing else: it controls no rate.
/// The power method runs along with training, from the vector of last time,
///
///   sharpness = |H v|,        v = H v / |H v| of last time,
///
/// so that a measurement costs one product once it has found its direction
/// (LeCun, Simard, Pearlmutter 1993).
///
///     CurvatureMeter meter;
///     if (step % 10 == 0) meter.measure(loss_of_batch, model->parameters());
///     double limit = max_stable_lr(meter.sharpness(), /*momentum=*/0.9);
///
/// Pass the parameters that require a gradient. Where count or shapes are
/// others than last time, the next measurement starts anew; a swap of equal
/// shapes is not noticed. Memory: one vector. A value: a copy measures by
/// itself.
class CurvatureMeter {
 public:
  /// So many measurements take start_products products each.
  static constexpr int64_t kStartMeasurements = 5;

  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of its range.
  explicit CurvatureMeter(const CurvatureMeterOptions& options = {});

  /// Measures, and returns the sharpness. NaN where a product is not finite;
  /// that and a zero, which tells no direction, leave a vector that is there as
  /// it was.
  /// Throws what hessian_operator() and its products throw; nothing has changed
  /// then. With `make` it measures what that makes of the Hessian, such as a
  /// preconditioned_operator(), of as many tensors of the same shapes.
  double measure(
      const GraphClosure& closure,
      const TensorVector& parameters,
      const FromHessian& make = nullptr);
  /// The same of a loss with its graph, which is kept; products are exact.
  double measure(
      const at::Tensor& loss,
      const TensorVector& parameters,
      const FromHessian& make = nullptr);
  /// The same of any operator: a mean over micro-batches, Gauss-Newton.
  double measure(const LinearOperator& op, const MeterAgreement& agree = {});

  /// The last measurement that was finite; NaN before the first.
  double sharpness() const { return sharpness_; }
  /// Finite measurements above zero so far.
  int64_t measurements() const { return measurements_; }
  /// Those that were not finite.
  int64_t failed_measurements() const { return failed_; }
  /// Hessian-vector products so far.
  int64_t products() const { return products_; }

  /// Where the next measurement starts: the leading eigenvector, of length 1,
  /// as far as it is known; one tensor a parameter, of float32 at least. Empty
  /// before the first.
  const TensorVector& vector() const { return vector_; }
  /// Goes on from a vector, after so many measurements. What is undefined in it
  /// is drawn by the next one, which then makes start_products products; all
  /// is, where the rest is zero.
  void go_on_from(TensorVector vector, int64_t measurements);

  const CurvatureMeterOptions& options() const { return options_; }
  /// Goes on with other options. Throws as the constructor does.
  void set_options(const CurvatureMeterOptions& options);

  /// The state, options aside; bit for bit. load() throws c10::Error where the
  /// archive has none, and changes nothing then.
  void save(torch::serialize::OutputArchive& archive) const;
  void load(torch::serialize::InputArchive& archive);

 private:
  struct Start;
  Start start(const TensorVector& like, const MeterAgreement& agree) const;
  PowerIterationResult iterate(
      const LinearOperator& op, const MeterAgreement& agree) const;
  double take(const PowerIterationResult& result);

  CurvatureMeterOptions options_;
  TensorVector vector_;
  double sharpness_ = std::numeric_limits<double>::quiet_NaN();
  int64_t measurements_ = 0;
  int64_t failed_ = 0;
  int64_t products_ = 0;
};

}  // namespace stepsize
