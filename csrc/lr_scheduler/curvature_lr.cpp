#include <stepsize/lr_scheduler/curvature_lr.h>

#include <stepsize/curvature/coming_operator.h>
#include <stepsize/curvature/max_stable_lr.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/lr_scheduler/group_writes.h"
#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/options_of_list.h"
#include "csrc/state/optimizer_state.h"
#include "csrc/state/optimizer_traits.h"

namespace stepsize {
namespace {

constexpr char kCurvatureLR[] = "CurvatureLR";
constexpr int64_t kMostCount = std::numeric_limits<int64_t>::max();
// Steps without any measurement, after which a warning is due.
constexpr int64_t kPatience = 10;
// The first updates of a preconditioner (of its youngest parameter), in which
// its means fill and it grows by tens and hundreds: each is measured, and what
// was before does not count. The rate must not jump: where it is too high
// gradients and preconditioner grow, and would allow a higher one.
constexpr int64_t kYoungSteps = 20;
constexpr double kYoungGrowth = 1.3;

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

CurvatureMeterOptions meter_of(const CurvatureLROptions& options) {
  return CurvatureMeterOptions()
      .start_products(options.start_products())
      .method(options.method())
      .buffers(options.buffers())
      .seed(options.seed());
}

bool same_shapes(const TensorVector& a, const TensorVector& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!a[i].defined() || a[i].sizes() != b[i].sizes()) return false;
  }
  return true;
}

bool scales_coordinates(const OptimizerTraits& traits) {
  return traits.gradient() == GradientUse::kScalesCoordinates;
}

}  // namespace

std::string CurvatureLROptions::describe() const { return options().text(); }

detail::NamedOptions CurvatureLROptions::options() const {
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
      .add("factor", factor_, 1.0)
      .add("schedule", schedule_.to_string())
      .add(
          "momentum_limit",
          name_of(momentum_limit_),
          name_of(MomentumLimit::kEffectiveRate))
      .add("start_products", start_products_, 20)
      .add("method", name_of(method_), name_of(HessianMethod::kAutomatic))
      .add("seed", seed_, 0)
      .list();
}

CurvatureLR::CurvatureLR(
    torch::optim::Optimizer& optimizer, const CurvatureLROptions& options)
    : StatefulLR(optimizer, options.options()),
      options_(options),
      tracker_(options.tracker()),
      meter_(meter_of(options)) {
  check_dampening();
  if (scales_coordinates(*find_traits(optimizer))) {
    // That it can be read.
    detail::state_by_parameter(kCurvatureLR, optimizer);
  }
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
  const auto& traits =
      detail::check_follows_curvature(kCurvatureLR, optimizer());
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
  return detail::trained_parameters(optimizer());
}

std::vector<double> CurvatureLR::lrs_at(int64_t epoch, double rate) const {
  check_dampening();
  const auto& traits =
      detail::check_follows_curvature(kCurvatureLR, optimizer());
  const double shape = options_.schedule()(static_cast<double>(epoch));
  const auto& groups = optimizer().param_groups();
  std::vector<double> lrs;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const auto descent = detail::descent_numbers(traits, groups[i].options());
    // The limit with momentum over that without.
    const double widened = max_stable_lr(
                               2.0,
                               descent.momentum,
                               descent.nesterov,
                               options_.momentum_limit()) /
                           (descent.is_mean ? 1 - descent.momentum : 1);
    // 2 s / (lambda + decay), written with the rate; a preconditioned lambda
    // has the decay in it.
    const double decay = scales_coordinates(traits) ? 0 : descent.coupled_decay;
    const double decayed = 1 + rate * decay / (2 * options_.tracker().safety());
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

bool CurvatureLR::observe(const at::Tensor& loss) { return measure(loss); }

bool CurvatureLR::observe(const GraphClosure& closure) {
  return measure(closure);
}

template <typename Loss>
bool CurvatureLR::measure(const Loss& loss) {
  if (!is_time()) return false;
  CurvatureMeter meter = meter_;
  meter.go_on_from(meter.vector(), tracker_.measurements());
  const auto& traits =
      detail::check_follows_curvature(kCurvatureLR, optimizer());
  FromHessian make;
  bool young = false;
  if (scales_coordinates(traits)) {
    make = [&](const HessianOperator& hessian) {
      const auto coming =
          coming_operator(hessian, optimizer(), hessian.used_gradient());
      young = coming.step <= kYoungSteps;
      return coming.op;
    };
  }
  const double sharpness = meter.measure(loss, trained_parameters(), make);
  const int64_t products = products_ + meter.products() - meter_.products();
  // Flat ground says nothing of the curvature to come, and the user's rate is
  // as good as any.
  const bool flat = sharpness == 0 && !tracker_.started();
  if (flat || !std::isfinite(sharpness)) {
    if (!flat) ++failed_;
    products_ = products;
    meter_ = std::move(meter);
    return false;
  }
  SharpnessTracker tracker = tracker_;
  const bool first = !tracker.started() || (young && sharpness > 0);
  if (first) {
    tracker.measure_anew(sharpness, kYoungGrowth);
  } else {
    tracker.measure(sharpness);
  }
  const double rate = first ? tracker.next_rate() : tracker.rate();
  if (tracker.interval() == 1) tracker.hurry();
  auto lrs = lrs_at(last_epoch(), rate);
  detail::GroupWrites writes(optimizer());
  writes.set_lrs(lrs);
  tracker_ = tracker;
  observed_ = 1;
  meter_ = std::move(meter);
  products_ = products;
  commit(last_epoch(), std::move(lrs));
  writes.keep();
  return true;
}

void CurvatureLR::set_base_lrs(const PerGroup& base_lrs) {
  TORCH_CHECK(
      !tracker_.started(),
      kCurvatureLR,
      ": set_base_lrs: it measures its rates, and no base rate has a say in "
      "them: their factor is an option");
  StatefulLR::set_base_lrs(base_lrs);
}

std::vector<double> CurvatureLR::get_lrs() {
  if (follows_a_skipped_step()) return lrs_in_force();
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
  detail::write_tensors(archive, "vector", meter_.vector());
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
  meter_.go_on_from(std::move(vector), tracker_.measurements());
  products_ = products;
  failed_ = failed;
  observed_ = observed;
}

void CurvatureLR::load_state_only(
    torch::serialize::InputArchive& archive,
    const detail::NamedOptions& /*saved*/,
    int64_t epoch,
    const std::vector<double>& lrs) {
  // The rates of its own options, where a measurement says what they are.
  SharpnessTracker tracker(options_.tracker());
  tracker.restore(detail::read_doubles(archive, kCurvatureLR, "tracker"));
  load_state(archive, tracker.started() ? lrs_at(epoch, tracker.rate()) : lrs);
}

void CurvatureLR::take_options(const detail::NamedOptions& options) {
  auto taken = detail::curvature_of(options, options_);
  if (taken.factor().is_list()) {
    detail::check_list_length(
        kCurvatureLR,
        "factor",
        taken.factor().values().size(),
        static_cast<int64_t>(optimizer().param_groups().size()));
  }
  set_options(taken.options());
  options_ = std::move(taken);
  meter_.set_options(meter_of(options_));
}

std::function<void()> CurvatureLR::keep_options() {
  return [this, mine = options_, options = StatefulLR::keep_options()] {
    options_ = mine;
    meter_.set_options(meter_of(mine));
    options();
  };
}

}  // namespace stepsize
