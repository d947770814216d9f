#include <stepsize/optim/power_method_sgd.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/curvature/curvature_meter.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/broadcast.h>
#include <stepsize/distributed/reduction.h>
#include <torch/serialize/archive.h>

#include <cmath>
#include <exception>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/optim/common_options.h"
#include "csrc/optim/measured_sgd_update.h"
#include "csrc/state/random_state.h"

namespace stepsize {
namespace {

constexpr char kPowerMethodSGD[] = "PowerMethodSGD";
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// So many updates in a row go on at the rate that they have while their
// curvature is not finite; those that follow are left out.
constexpr int64_t kMostUnmeasured = 3;

TensorVector chosen(
    const TensorVector& tensors, const std::vector<std::size_t>& indices) {
  TensorVector some;
  for (const std::size_t i : indices) some.push_back(tensors[i]);
  return some;
}

}  // namespace

PowerMethodSGDOptions::PowerMethodSGDOptions(double lr) : lr_(lr) {}

// The buffers belong to a model and are in no archive.
const OptionList<PowerMethodSGDOptions>& PowerMethodSGDOptions::option_list() {
  static const auto list = [] {
    OptionList<PowerMethodSGDOptions> own(kPowerMethodSGD);
    own.include(
           SharpnessTrackerOptions::option_list(),
           [](auto& options) -> auto& { return options.tracker(); })
        .option(STEPSIZE_OPTION(start_products))
        .at_least(1)
        .choice(
            STEPSIZE_OPTION(method),
            {"kAutomatic", "kExact", "kFiniteDifference", "kCentralDifference"})
        .seed(STEPSIZE_OPTION(seed))
        .all_same_in_groups();
    detail::add_nesterov(detail::add_rate_and_momentum(own))
        .choice(
            STEPSIZE_OPTION(momentum_limit), {"kEffectiveRate", "kQuadratic"});
    return detail::add_decoupled_weight_decay(detail::add_weight_decay(own));
  }();
  return list;
}

const OptimizerTraits& PowerMethodSGDOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<PowerMethodSGD>(option_list())
          .gradient(GradientUse::kDescends)
          .sets_own_rate(true)
          .wants_graph(true)
          .state({"momentum_buffer", "power_vector"})
          .skipped_steps(detail::skipped_by<PowerMethodSGD>);
  return traits;
}

PowerMethodSGD::PowerMethodSGD(
    std::vector<at::Tensor> parameters, const PowerMethodSGDOptions& options)
    : PowerMethodSGD(
          std::vector<torch::optim::OptimizerParamGroup>{
              torch::optim::OptimizerParamGroup(std::move(parameters))},
          options) {}

PowerMethodSGD::PowerMethodSGD(
    const std::vector<torch::optim::OptimizerParamGroup>& groups,
    const PowerMethodSGDOptions& defaults)
    : MeasuredSGD(std::make_unique<PowerMethodSGDOptions>(defaults)),
      tracker_(defaults.tracker()),
      method_(defaults.method()) {
  add_groups(groups);
}

const PowerMethodSGDOptions& PowerMethodSGD::options_of(
    std::size_t group) const {
  return static_cast<const PowerMethodSGDOptions&>(
      param_groups()[group].options());
}

SGDHyperparameters PowerMethodSGD::hyperparameters(std::size_t group) const {
  return detail::sgd_numbers(options_of(group));
}

at::Tensor PowerMethodSGD::step(LossClosure closure) {
  const auto put_back = way_back();
  try {
    return measured_step(closure);
  } catch (...) {
    put_back();
    throw;
  }
}

// Makes all counters what they are now.
std::function<void()> PowerMethodSGD::way_back() {
  return [this,
          tracker = tracker_,
          method = method_,
          reason = fallback_reason_,
          products = products_,
          unmeasured = unmeasured_,
          in_a_row = unmeasured_in_a_row_] {
    tracker_ = tracker;
    method_ = method;
    fallback_reason_ = reason;
    products_ = products;
    unmeasured_ = unmeasured;
    unmeasured_in_a_row_ = in_a_row;
  };
}

at::Tensor PowerMethodSGD::measured_step(const LossClosure& closure) {
  Update update;
  const bool is_finite = begin(update, closure);
  if (!update.graph_failure.empty()) {
    fall_back(update.graph_failure);
    update.graph.clear();
  }
  if (!is_finite) return update.loss;
  if (update.norm == 0 && !tracker_.started()) {
    // Flat ground says nothing of the curvature to come.
    finish(update, {});
    return update.loss;
  }
  const c10::AutoGradMode no_grad(false);
  if (tracker_.due()) {
    measure(update, closure);
  } else if (cut_if_long(update) || (usual_norm() == 0 && update.norm > 0)) {
    // Far too long, or the first that is not zero, at a rate that knows nothing
    // of it.
    tracker_.hurry();
  }
  if (!tracker_.started() || unmeasured_in_a_row_ > kMostUnmeasured) {
    skip(update);
    return update.loss;
  }
  finish(update, rates());
  return update.loss;
}

void PowerMethodSGD::prepare(Update& update) {
  use_options();
  const bool automatic = options_of(0).method() == HessianMethod::kAutomatic;
  const bool due = tracker_.due();
  update.wants_graph = due && !is_difference(method_);
  update.may_lack_graph = automatic;
  update.wants_random = due && (automatic || is_difference(method_));
  update.wants_own_gradients = update.wants_random;
}

CommonNumbers PowerMethodSGD::common_numbers() const {
  return {{"whether a measurement is due", tracker_.due() ? 1.0 : 0.0}};
}

// A user may have changed them.
void PowerMethodSGD::use_options() {
  const auto& options = options_of(0);
  tracker_.set_options(options.tracker());
  if (options.method() != HessianMethod::kAutomatic) {
    method_ = options.method();
  } else if (method_ == HessianMethod::kCentralDifference) {
    method_ = HessianMethod::kAutomatic;
  }
}

void PowerMethodSGD::fall_back(const std::string& reason) {
  method_ = HessianMethod::kFiniteDifference;
  fallback_reason_ = reason;
}

// The mean over ranks, in which one that throws makes all throw.
LinearOperator PowerMethodSGD::over_ranks(const LinearOperator& own) const {
  if (reduction() == nullptr) return own;
  return function_operator(own.like(), [this, own](const TensorVector& v) {
    RankShare share;
    share.failure = reduction()->attempt([&] { share.tensors = own.apply(v); });
    return average(own.like(), share, *reduction()).tensors;
  });
}

void PowerMethodSGD::together(const std::function<void()>& work) const {
  reduction() != nullptr ? reduction()->together(work) : work();
}

double PowerMethodSGD::power_step(
    const LinearOperator& hessian, const Update& update, const Used& used) {
  CurvatureMeter meter(CurvatureMeterOptions()
                           .start_products(options_of(0).start_products())
                           .seed(options_of(0).seed()));
  TensorVector vector;
  for (const std::size_t i : used) vector.push_back(slot(update, i));
  meter.go_on_from(std::move(vector), tracker_.measurements());
  MeterAgreement agree;
  if (reduction() != nullptr) {
    agree.numbers = [this](std::vector<double>& numbers) {
      RankShare share;
      share.numbers = numbers;
      numbers = average({}, share, *reduction()).numbers;
    };
    agree.parts = [this](const TensorVector& parts) {
      broadcast_state(parts, *reduction());
    };
  }
  const double sharpness = meter.measure(over_ranks(hessian), agree);
  products_ += meter.products();
  for (std::size_t i = 0; i < meter.vector().size(); ++i) {
    slot(update, used[i]) = meter.vector()[i];
  }
  return sharpness;
}

double PowerMethodSGD::difference_step(
    const Update& update, const Used& used, const LossClosure& closure) {
  const detail::RandomState after(detail::generators_of(update.parameters));
  // The same dropout masks as in the gradient at hand.
  update.random_before->restore();
  HessianOptions options;
  options.buffers(options_of(0).buffers())
      .method(
          is_difference(method_) ? method_ : HessianMethod::kFiniteDifference);
  if (options.method() == HessianMethod::kFiniteDifference) {
    TensorVector gradient = chosen(update.own_gradients, used);
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      if (!gradient[i].defined()) {
        gradient[i] = at::zeros_like(update.parameters[used[i]]);
      }
    }
    options.gradient(std::move(gradient));
  }
  try {
    std::optional<LinearOperator> hessian;
    together([&] {
      hessian =
          hessian_operator(closure, chosen(update.parameters, used), options);
    });
    const double sharpness = power_step(*hessian, update, used);
    after.restore();
    return sharpness;
  } catch (...) {
    after.restore();
    throw;
  }
}

at::Tensor& PowerMethodSGD::slot(const Update& update, std::size_t index) {
  const auto [group, position] = update.places[index];
  return group_state(group).slots[kVector][position];
}

double PowerMethodSGD::measured(
    Update& update, const Used& used, const LossClosure& closure) {
  const bool automatic = options_of(0).method() == HessianMethod::kAutomatic;
  double sharpness = kNaN;
  if (automatic && update.graphless) {
    // So does a loss that is linear look, and a backward that leaves the graph.
    // A difference is right for both.
    fall_back("the gradient has no graph");
    update.graph.clear();
  }
  if (!update.graph.empty()) {
    try {
      sharpness = power_step(
          hessian_operator(
              chosen(update.graph, used), chosen(update.parameters, used)),
          update,
          used);
      method_ = HessianMethod::kExact;
    } catch (const RankLostError&) {
      throw;
    } catch (const std::exception& error) {
      if (!automatic) throw;
      fall_back(error.what());
    }
    update.graph.clear();
  }
  if (is_difference(method_) || (automatic && !std::isfinite(sharpness))) {
    sharpness = difference_step(update, used, closure);
  }
  return sharpness;
}

void PowerMethodSGD::measure(Update& update, const LossClosure& closure) {
  Used used;
  for (std::size_t i = 0; i < update.gradients.size(); ++i) {
    if (update.gradients[i].defined()) used.push_back(i);
  }
  TensorVector vector;
  for (const std::size_t i : used) vector.push_back(slot(update, i));
  // A loss that depends on no parameter has no curvature.
  double sharpness = 0;
  try {
    if (!used.empty()) sharpness = measured(update, used, closure);
  } catch (...) {
    for (std::size_t i = 0; i < used.size(); ++i) {
      slot(update, used[i]) = vector[i];
    }
    throw;
  }
  if (std::isfinite(sharpness)) {
    tracker_.measure(sharpness);
    unmeasured_in_a_row_ = 0;
  } else {
    // The tracker has seen nothing and asks again in the next update.
    ++unmeasured_;
    ++unmeasured_in_a_row_;
  }
}

std::vector<double> PowerMethodSGD::rates() {
  const double rate = tracker_.next_rate();
  const double safety = tracker_.options().safety();
  std::vector<double> all;
  for (std::size_t group = 0; group < param_groups().size(); ++group) {
    const auto& options = options_of(group);
    // The limit with momentum over that without.
    const double widened = max_stable_lr(
        2.0, options.momentum(), options.nesterov(), options.momentum_limit());
    // Coupled decay adds to the curvature: 2 s / (lambda + decay), written
    // with the rate.
    const double coupled =
        options.decoupled_weight_decay() ? 0 : options.weight_decay();
    all.push_back(
        options.lr() * widened * rate / (1 + rate * coupled / (2 * safety)));
  }
  return all;
}

void PowerMethodSGD::save_counters(
    torch::serialize::OutputArchive& archive) const {
  detail::write_doubles(archive, "tracker", tracker_.state());
  detail::write_int(archive, "method", static_cast<int64_t>(method_));
  detail::write_int(archive, "products", products_);
  detail::write_int(archive, "unmeasured_steps", unmeasured_);
  detail::write_int(archive, "unmeasured_in_a_row", unmeasured_in_a_row_);
  detail::write_string(archive, "fallback_reason", fallback_reason_);
  MeasuredSGD::save_counters(archive);
}

std::function<void()> PowerMethodSGD::read_counters(
    torch::serialize::InputArchive& archive) {
  SharpnessTracker tracker(tracker_.options());
  tracker.restore(detail::read_doubles(archive, kPowerMethodSGD, "tracker"));
  const auto method = static_cast<HessianMethod>(
      detail::read_int(archive, kPowerMethodSGD, "method", 3));
  const auto products = detail::read_int(archive, kPowerMethodSGD, "products");
  const auto unmeasured =
      detail::read_int(archive, kPowerMethodSGD, "unmeasured_steps");
  const auto in_a_row =
      detail::read_int(archive, kPowerMethodSGD, "unmeasured_in_a_row");
  const auto reason =
      detail::read_string(archive, kPowerMethodSGD, "fallback_reason");
  const auto take_norms = MeasuredSGD::read_counters(archive);
  return [this,
          tracker,
          method,
          products,
          unmeasured,
          in_a_row,
          reason,
          take_norms] {
    tracker_ = tracker;
    method_ = method;
    products_ = products;
    unmeasured_ = unmeasured;
    unmeasured_in_a_row_ = in_a_row;
    fallback_reason_ = reason;
    take_norms();
  };
}

}  // namespace stepsize
