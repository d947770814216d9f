#include <stepsize/curvature/curvature_meter.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/half.h"
#include "csrc/curvature/vector_math.h"

namespace stepsize {
namespace {

constexpr char kCurvatureMeter[] = "CurvatureMeter";

const CurvatureMeterOptions& checked(const CurvatureMeterOptions& options) {
  CurvatureMeterOptions::option_list().check(options, kCurvatureMeter);
  return options;
}

bool fits(const TensorVector& vector, const TensorVector& like) {
  if (vector.size() != like.size()) return false;
  for (std::size_t i = 0; i < like.size(); ++i) {
    if (vector[i].defined() && vector[i].sizes() != like[i].sizes()) {
      return false;
    }
  }
  return true;
}

// Whether a vector has all the parts that it is to have.
bool is_whole(const TensorVector& vector, const TensorVector& like) {
  return fits(vector, like) &&
         std::all_of(vector.begin(), vector.end(), [](const at::Tensor& part) {
           return part.defined();
         });
}

LinearOperator made_of(
    const HessianOperator& hessian, const FromHessian& make) {
  if (!make) return hessian;
  return make(hessian);
}

// A part of the vector, to be written; of the type that the state of our
// optimizers has, which keeps it.
at::Tensor new_part(const at::Tensor& like) {
  return at::zeros_like(
      like, like.options().dtype(detail::widened(like.scalar_type())));
}

}  // namespace

// The buffers belong to a model and are in no archive.
const OptionList<CurvatureMeterOptions>& CurvatureMeterOptions::option_list() {
  static const auto list = OptionList<CurvatureMeterOptions>(kCurvatureMeter)
                               .option(STEPSIZE_OPTION(start_products))
                               .at_least(1)
                               .option(STEPSIZE_OPTION(products))
                               .at_least(1)
                               .choice(
                                   STEPSIZE_OPTION(method),
                                   {"kAutomatic",
                                    "kExact",
                                    "kFiniteDifference",
                                    "kCentralDifference"})
                               .seed(STEPSIZE_OPTION(seed));
  return list;
}

struct CurvatureMeter::Start {
  TensorVector vector;
  bool all_known = false;
};

CurvatureMeter::CurvatureMeter(const CurvatureMeterOptions& options)
    : options_(checked(options)) {}

void CurvatureMeter::set_options(const CurvatureMeterOptions& options) {
  options_ = checked(options);
}

void CurvatureMeter::go_on_from(TensorVector vector, int64_t measurements) {
  vector_ = std::move(vector);
  measurements_ = measurements;
}

CurvatureMeter::Start CurvatureMeter::start(
    const TensorVector& like, const MeterAgreement& agree) const {
  const c10::AutoGradMode no_grad(false);
  Start start;
  start.vector = fits(vector_, like) ? vector_ : TensorVector(like.size());
  TensorVector known;
  for (const at::Tensor& part : start.vector) {
    if (part.defined()) known.push_back(part);
  }
  if (!known.empty() && detail::norm(known) == 0) {
    // What there was lay in parameters that are not here: nothing to go on.
    known.clear();
    start.vector.assign(like.size(), at::Tensor());
  }
  start.all_known = known.size() == like.size();
  if (start.all_known) return start;
  TensorVector drawn;
  auto generator =
      at::detail::createCPUGenerator(static_cast<uint64_t>(options_.seed()));
  for (std::size_t i = 0; i < like.size(); ++i) {
    at::Tensor& part = start.vector[i];
    if (part.defined()) continue;
    part = new_part(like[i]);
    // Drawn on the CPU, so that a seed means the same everywhere.
    part.copy_(
        at::randn(part.sizes(), generator, at::TensorOptions(at::kDouble)));
    drawn.push_back(part);
  }
  if (agree.parts) agree.parts(drawn);
  if (!known.empty()) {
    // As much of what is new as of what is known.
    const double length = detail::norm(drawn);
    for (at::Tensor& part : drawn) {
      if (length > 0) part.div_(length);
    }
  }
  return start;
}

PowerIterationResult CurvatureMeter::iterate(
    const LinearOperator& op, const MeterAgreement& agree) const {
  const Start from = start(op.like(), agree);
  const bool settled = measurements_ >= kStartMeasurements && from.all_known;
  auto result = power_iteration(
      op,
      PowerIterationOptions()
          .max_iterations(
              settled ? options_.products() : options_.start_products())
          .tolerance(0)
          .initial(from.vector),
      agree.numbers);
  for (at::Tensor& part : result.vector) {
    part = part.to(detail::widened(part.scalar_type()));
  }
  return result;
}

double CurvatureMeter::take(const PowerIterationResult& result) {
  products_ += result.iterations;
  if (!std::isfinite(result.magnitude)) {
    ++failed_;
    return std::numeric_limits<double>::quiet_NaN();
  }
  sharpness_ = result.magnitude;
  if (sharpness_ > 0) ++measurements_;
  // After a zero this is where it started from, which is not drawn twice.
  if (sharpness_ > 0 || !is_whole(vector_, result.vector)) {
    vector_ = result.vector;
  }
  return sharpness_;
}

double CurvatureMeter::measure(
    const LinearOperator& op, const MeterAgreement& agree) {
  return take(iterate(op, agree));
}

double CurvatureMeter::measure(
    const at::Tensor& loss,
    const TensorVector& parameters,
    const FromHessian& make) {
  return measure(made_of(hessian_operator(loss, parameters), make));
}

double CurvatureMeter::measure(
    const GraphClosure& closure,
    const TensorVector& parameters,
    const FromHessian& make) {
  HessianOptions options;
  options.method(options_.method()).buffers(options_.buffers());
  const auto hessian = hessian_operator(closure, parameters, options);
  auto result = iterate(made_of(hessian, make), {});
  if (!std::isfinite(result.magnitude) &&
      options.method() == HessianMethod::kAutomatic &&
      hessian.method() == HessianMethod::kExact) {
    // A second derivative may be computed as 0 * infinity where the loss is
    // smooth.
    options.method(HessianMethod::kFiniteDifference)
        .gradient(hessian.used_gradient());
    const int64_t products = result.iterations;
    result = iterate(
        made_of(hessian_operator(closure, parameters, options), make), {});
    result.iterations += products;
  }
  return take(result);
}

void CurvatureMeter::save(torch::serialize::OutputArchive& archive) const {
  detail::write_tensors(archive, "vector", vector_);
  detail::write_double(archive, "sharpness", sharpness_);
  detail::write_int(archive, "measurements", measurements_);
  detail::write_int(archive, "failed", failed_);
  detail::write_int(archive, "products", products_);
}

void CurvatureMeter::load(torch::serialize::InputArchive& archive) {
  auto vector = detail::read_tensors(archive, kCurvatureMeter, "vector");
  const double sharpness =
      detail::read_double(archive, kCurvatureMeter, "sharpness");
  const auto measurements =
      detail::read_int(archive, kCurvatureMeter, "measurements");
  const auto failed = detail::read_int(archive, kCurvatureMeter, "failed");
  const auto products = detail::read_int(archive, kCurvatureMeter, "products");
  TORCH_CHECK(
      std::isnan(sharpness) || (std::isfinite(sharpness) && sharpness >= 0),
      kCurvatureMeter,
      ": 'sharpness' of the archive is no measurement");
  for (at::Tensor& part : vector) {
    if (part.defined()) part = part.clone();
  }
  vector_ = std::move(vector);
  sharpness_ = sharpness;
  measurements_ = measurements;
  failed_ = failed;
  products_ = products;
}

}  // namespace stepsize
