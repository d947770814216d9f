#include <stepsize/lr_scheduler/curvature_lr.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/curvature/power_iteration.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/lr_scheduler/group_writes.h"
#include "csrc/lr_scheduler/option_text.h"
#include "csrc/state/optimizer_traits.h"

namespace stepsize {
namespace {

constexpr char kCurvatureLR[] = "CurvatureLR";
constexpr int64_t kMostCount = std::numeric_limits<int64_t>::max();
// Steps without any measurement, after which a warning is due.
constexpr int64_t kPatience = 10;

const char* name_of(HessianMethod method) {
  switch (method) {
    case HessianMethod::kExact:
      return "exact";
    case HessianMethod::kFiniteDifference:
      return "finite difference";
    case HessianMethod::kCentralDifference:
      return "central difference";
    default:
      return "automatic";
  }
}

const char* name_of(MomentumLimit limit) {
  return limit == MomentumLimit::kQuadratic ? "quadratic" : "effective rate";
}

bool same_shapes(const TensorVector& a, const TensorVector& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!a[i].defined() || a[i].sizes() != b[i].sizes()) return false;
  }
  return true;
}

}  // namespace

std::string CurvatureLROptions::describe() const {
  check_tracker_options(kCurvatureLR, tracker_);
  detail::check_rates(kCurvatureLR, "factor", factor_);
  check_momentum_limit(kCurvatureLR, momentum_limit_);
  detail::check_option(
      start_products_ >= 1,
      kCurvatureLR,
      "start_products",
      ">= 1",
      start_products_);
  detail::check_option(seed_ >= 0, kCurvatureLR, "seed", ">= 0", seed_);
  return detail::OptionText(kCurvatureLR)
      .add("safety", tracker_.safety())
      .add("max_interval", tracker_.max_interval())
      .add("lr_growth", tracker_.lr_growth())
      .add("lr_cap", tracker_.lr_cap())
      .add("max_lr", tracker_.max_lr())
      .add("decay", tracker_.decay())
      .add("factor", factor_)
      .add("schedule", schedule_.to_string())
      .add("momentum_limit", name_of(momentum_limit_))
      .add("start_products", start_products_)
      .add("method", name_of(method_))
      .add("seed", seed_)
      .str();
}

CurvatureLR::CurvatureLR(
    torch::optim::Optimizer& optimizer, const CurvatureLROptions& options)
    : StatefulLR(optimizer, kCurvatureLR, options.describe()),
      options_(options),
      tracker_(options.tracker()) {
  check_dampening();
  if (options_.factor().is_list()) {
    detail::check_list_length(
        kCurvatureLR,
        "factor",
        options_.factor().values().size(),
        static_cast<int64_t>(optimizer.param_groups().size()));
  }
  commit(0, lrs_in_force());
}

void CurvatureLR::check_dampening() const {
  const auto& traits = detail::check_descends(kCurvatureLR, optimizer());
  const auto& groups = optimizer().param_groups();
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const double dampening =
        detail::descent_numbers(traits, groups[i].options()).dampening;
    TORCH_CHECK(
        dampening == 0,
        kCurvatureLR,
        ": dampening of parameter group ",
        std::to_string(i),
        " must be 0, got ",
        detail::number_text(dampening),
        ": the first gradient enters the buffer undampened, and no rate is the "
        "limit of that step and of the later ones");
  }
}

TensorVector CurvatureLR::trained_parameters() const {
  TensorVector parameters;
  for (const auto& group : optimizer().param_groups()) {
    for (const auto& parameter : group.params()) {
      if (parameter.requires_grad()) parameters.push_back(parameter);
    }
  }
  return parameters;
}

TensorVector CurvatureLR::start_vector(const TensorVector& parameters) const {
  const c10::AutoGradMode no_grad(false);
  auto generator =
      at::detail::createCPUGenerator(static_cast<uint64_t>(options_.seed()));
  TensorVector start;
  for (const auto& parameter : parameters) {
    // Drawn on the CPU, so that a seed means the same everywhere.
    start.push_back(
        at::randn(parameter.sizes(), generator, at::TensorOptions(at::kDouble))
            .to(parameter.options()));
  }
  return start;
}

std::vector<double> CurvatureLR::lrs_at(int64_t epoch, double rate) const {
  check_dampening();
  const auto& traits = detail::check_descends(kCurvatureLR, optimizer());
  const double shape = options_.schedule()(static_cast<double>(epoch));
  const auto& groups = optimizer().param_groups();
  std::vector<double> lrs;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const auto descent = detail::descent_numbers(traits, groups[i].options());
    // The limit with momentum over that without.
    const double widened = max_stable_lr(
        2.0, descent.momentum, descent.nesterov, options_.momentum_limit());
    // 2 s / (lambda + decay), written with the rate.
    const double decayed =
        1 + rate * descent.coupled_decay / (2 * options_.tracker().safety());
    const double factor = options_.factor()[static_cast<int64_t>(i)];
    lrs.push_back(shape * factor * widened * rate / decayed);
  }
  detail::check_finite(kCurvatureLR, "rates", lrs);
  return lrs;
}

bool CurvatureLR::is_time() {
  if (due()) return true;
  ++observed_;
  if (observed_ >= tracker_.interval()) tracker_.hurry();
  return false;
}

bool CurvatureLR::observe(const at::Tensor& loss) {
  if (!is_time()) return false;
  const TensorVector parameters = trained_parameters();
  return take(iterate(hessian_operator(loss, parameters), parameters));
}

bool CurvatureLR::observe(const LossClosure& closure) {
  if (!is_time()) return false;
  const TensorVector parameters = trained_parameters();
  HessianOptions options;
  options.method(options_.method()).buffers(options_.buffers());
  const auto hessian = hessian_operator(closure, parameters, options);
  auto result = iterate(hessian, parameters);
  if (!std::isfinite(result.magnitude) &&
      options.method() == HessianMethod::kAutomatic &&
      hessian.method() == HessianMethod::kExact) {
    // A second derivative may be computed as 0 * infinity where the loss is
    // smooth.
    options.method(HessianMethod::kFiniteDifference)
        .gradient(hessian.gradient());
    const int64_t products = result.iterations;
    result =
        iterate(hessian_operator(closure, parameters, options), parameters);
    result.iterations += products;
  }
  return take(result);
}

PowerIterationResult CurvatureLR::iterate(
    const LinearOperator& hessian, const TensorVector& parameters) const {
  // Parameters that were added, frozen or freed want a vector of their own.
  const bool warm = same_shapes(vector_, parameters);
  return power_iteration(
      hessian,
      PowerIterationOptions()
          .max_iterations(
              warm && tracker_.settled() ? 1 : options_.start_products())
          .tolerance(0)
          .initial(warm ? vector_ : start_vector(parameters)));
}

bool CurvatureLR::take(const PowerIterationResult& result) {
  if (!std::isfinite(result.magnitude)) {
    products_ += result.iterations;
    ++failed_;
    return false;
  }
  if (result.magnitude == 0 && !tracker_.started()) {
    // Flat ground says nothing of the curvature to come, and the user's rate
    // is as good as any.
    products_ += result.iterations;
    return false;
  }
  SharpnessTracker tracker = tracker_;
  const bool first = !tracker.started();
  tracker.measure(result.magnitude);
  const double rate = first ? tracker.next_rate() : tracker.rate();
  if (tracker.interval() == 1) tracker.hurry();
  auto lrs = lrs_at(last_epoch(), rate);
  detail::GroupWrites writes(optimizer());
  writes.set_lrs(lrs);
  tracker_ = tracker;
  observed_ = 1;
  vector_ = result.vector;
  products_ += result.iterations;
  commit(last_epoch(), std::move(lrs));
  writes.keep();
  return true;
}

std::vector<double> CurvatureLR::get_lrs() {
  const int64_t epoch = next_epoch();
  SharpnessTracker tracker = tracker_;
  auto lrs =
      tracker.started() ? lrs_at(epoch, tracker.next_rate()) : lrs_in_force();
  if (!tracker.started() && epoch >= kPatience && !warned_) {
    warned_ = true;
    TORCH_WARN(
        kCurvatureLR,
        ": no measurement in ",
        std::to_string(epoch),
        " steps: the rates are still the optimizer's own, and `schedule` has "
        "no effect. Call observe() before backward().");
  }
  tracker_ = tracker;
  commit(epoch, std::move(lrs));
  return get_last_lr();
}

void CurvatureLR::save_state(torch::serialize::OutputArchive& archive) const {
  detail::write_doubles(archive, "tracker", tracker_.state());
  detail::write_tensors(archive, "vector", vector_);
  detail::write_int(archive, "products", products_);
  detail::write_int(archive, "failed", failed_);
  detail::write_int(archive, "observed", observed_);
}

void CurvatureLR::load_state(
    torch::serialize::InputArchive& archive, const std::vector<double>& lrs) {
  SharpnessTracker tracker(options_.tracker());
  tracker.restore(detail::read_doubles(archive, kCurvatureLR, "tracker"));
  TensorVector vector = detail::read_tensors(archive, kCurvatureLR, "vector");
  const TensorVector parameters = trained_parameters();
  TORCH_CHECK(
      vector.empty() || same_shapes(vector, parameters),
      kCurvatureLR,
      ": the archive was written for other parameters: it has a vector of ",
      std::to_string(vector.size()),
      " tensors, and ",
      std::to_string(parameters.size()),
      " parameters are trained here, or their shapes differ");
  for (std::size_t i = 0; i < vector.size(); ++i) {
    vector[i] = vector[i].to(
        parameters[i].device(),
        vector[i].scalar_type(),
        /*non_blocking=*/false,
        /*copy=*/true);
  }
  const auto products =
      detail::read_int(archive, kCurvatureLR, "products", kMostCount);
  const auto failed =
      detail::read_int(archive, kCurvatureLR, "failed", kMostCount);
  const auto observed =
      detail::read_int(archive, kCurvatureLR, "observed", kMostCount);
  detail::GroupWrites writes(optimizer());
  writes.set_lrs(lrs);
  writes.keep();
  tracker_ = tracker;
  vector_ = std::move(vector);
  products_ = products;
  failed_ = failed;
  observed_ = observed;
}

}  // namespace stepsize
