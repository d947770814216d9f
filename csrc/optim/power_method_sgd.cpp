#include <stepsize/optim/power_method_sgd.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/kernels/grad_norm.h>
#include <stepsize/kernels/sgd.h>
#include <torch/serialize/archive.h>

#include <cmath>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/optim/power_method_update.h"
#include "csrc/optim/rank_evaluation.h"
#include "csrc/optim/sgd_group_step.h"

namespace stepsize {
namespace {

// Between measurements a gradient this many times as long as usual is cut to
// that length, and the next update is measured: a spike of curvature would
// multiply the iterate in every update until then.
constexpr double kLongest = 2;
constexpr double kNormDecay = 0.9;

// So many updates in a row go on at the rate that they have while their
// curvature is not finite; those that follow are left out.
constexpr int64_t kMostUnmeasured = 3;

struct Numbers {
  double norm;
  double loss;
};

// An accelerator is waited for once.
Numbers read(const at::Tensor& norm, const at::Tensor& loss) {
  if (norm.is_cpu() && loss.is_cpu()) {
    return {norm.item<double>(), loss.item<double>()};
  }
  const at::Tensor both =
      at::stack({norm.to(at::kDouble),
                 loss.reshape({}).to(norm.device(), at::kDouble)})
          .cpu();
  return {both[0].item<double>(), both[1].item<double>()};
}

}  // namespace

PowerMethodSGD::PowerMethodSGD(
    std::vector<at::Tensor> parameters, const PowerMethodSGDOptions& options)
    : PowerMethodSGD(
          std::vector<torch::optim::OptimizerParamGroup>{
              torch::optim::OptimizerParamGroup(std::move(parameters))},
          options) {}

PowerMethodSGD::PowerMethodSGD(
    const std::vector<torch::optim::OptimizerParamGroup>& groups,
    const PowerMethodSGDOptions& defaults)
    : IndexedOptimizer(std::make_unique<PowerMethodSGDOptions>(defaults)),
      tracker_(defaults.tracker()),
      method_(defaults.method()) {
  add_groups(groups);
}

const PowerMethodSGDOptions& PowerMethodSGD::options_of(
    std::size_t group) const {
  return static_cast<const PowerMethodSGDOptions&>(
      param_groups()[group].options());
}

double PowerMethodSGD::current_lr(std::size_t group) const {
  TORCH_CHECK(
      group < param_groups().size(),
      detail::kPowerMethodSGD,
      ": there is no parameter group ",
      std::to_string(group));
  return group < lrs_.size() ? lrs_[group] : 0.0;
}

void PowerMethodSGD::apply(const Update& update) {
  const double rate = tracker_.next_rate();
  const double safety = tracker_.options().safety();
  const std::size_t groups = param_groups().size();
  std::vector<std::vector<at::Tensor>> gradients(groups);
  for (std::size_t group = 0; group < groups; ++group) {
    gradients[group].resize(param_groups()[group].params().size());
  }
  for (std::size_t i = 0; i < update.parameters.size(); ++i) {
    const auto [group, position] = update.places[i];
    gradients[group][position] = update.gradients[i];
  }
  lrs_.assign(groups, 0.0);
  for (std::size_t group = 0; group < groups; ++group) {
    const auto& options = options_of(group);
    const auto& parameters = param_groups()[group].params();
    SGDHyperparameters numbers;
    // The limit with momentum over that without.
    const double widened = max_stable_lr(
        2.0, options.momentum(), options.nesterov(), options.momentum_limit());
    // Coupled decay adds to the curvature: 2 s / (lambda + decay), written
    // with the rate.
    const double coupled =
        options.decoupled_weight_decay() ? 0 : options.weight_decay();
    numbers.lr =
        options.lr() * widened * rate / (1 + rate * coupled / (2 * safety));
    numbers.momentum = options.momentum();
    numbers.nesterov = options.nesterov();
    numbers.weight_decay = options.weight_decay();
    numbers.decoupled_weight_decay = options.decoupled_weight_decay();
    lrs_[group] = numbers.lr;
    detail::sgd_group_step(
        parameters,
        gradients[group],
        group_state(group).slots[kMomentum],
        numbers,
        update.scale);
  }
}

at::Tensor PowerMethodSGD::step(LossClosure closure) {
  Update update;
  update.refusal = detail::refusal_of(
      [&] {
        TORCH_CHECK(
            closure != nullptr,
            detail::kPowerMethodSGD,
            ": step() wants a closure that returns the loss with its graph");
        check_all_options();
        use_options();
        update.due = tracker_.due();
      },
      reduction().get());
  for (std::size_t group = 0; group < param_groups().size(); ++group) {
    const auto& parameters = param_groups()[group].params();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (parameters[i].requires_grad()) {
        update.parameters.push_back(parameters[i]);
        update.places.emplace_back(group, i);
      }
    }
  }
  TORCH_CHECK(
      !update.parameters.empty(),
      detail::kPowerMethodSGD,
      ": no parameter requires a gradient");
  evaluate(update, closure);
  const c10::AutoGradMode no_grad(false);
  const at::Tensor norm = global_norm(update.gradients);
  Numbers numbers = read(norm, update.loss);
  numbers.norm = over_ranks(numbers.norm);
  last_norm_ = numbers.norm;
  if (!std::isfinite(numbers.norm) || !std::isfinite(numbers.loss)) {
    ++skipped_;
    return update.loss;
  }
  if (numbers.norm == 0 && !tracker_.started()) {
    // Flat ground says nothing of the curvature to come.
    return update.loss;
  }
  if (update.due) {
    measure(update, closure);
  } else if (usual_norm_ > 0) {
    if (numbers.norm > kLongest * usual_norm_) {
      update.scale = clip_coefficient(
          at::full_like(norm, numbers.norm), kLongest * usual_norm_);
      tracker_.hurry();
    }
  } else if (numbers.norm > 0) {
    // The first gradient that is not zero, at a rate that knows nothing of it.
    tracker_.hurry();
  }
  if (!tracker_.started() || unmeasured_in_a_row_ > kMostUnmeasured) {
    ++skipped_;
    return update.loss;
  }
  apply(update);
  usual_norm_ = usual_norm_ > 0
                    ? kNormDecay * usual_norm_ + (1 - kNormDecay) * numbers.norm
                    : numbers.norm;
  return update.loss;
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

void PowerMethodSGD::save_counters(
    torch::serialize::OutputArchive& archive) const {
  detail::write_doubles(archive, "tracker", tracker_.state());
  detail::write_int(archive, "method", static_cast<int64_t>(method_));
  detail::write_doubles(archive, "lrs", lrs_);
  detail::write_double(archive, "last_grad_norm", last_norm_);
  detail::write_double(archive, "usual_norm", usual_norm_);
  detail::write_int(archive, "products", products_);
  detail::write_int(archive, "skipped_steps", skipped_);
  detail::write_int(archive, "unmeasured_steps", unmeasured_);
  detail::write_int(archive, "unmeasured_in_a_row", unmeasured_in_a_row_);
  detail::write_string(archive, "fallback_reason", fallback_reason_);
}

std::function<void()> PowerMethodSGD::read_counters(
    torch::serialize::InputArchive& archive) {
  SharpnessTracker tracker(tracker_.options());
  tracker.restore(
      detail::read_doubles(archive, detail::kPowerMethodSGD, "tracker"));
  const auto method = static_cast<HessianMethod>(
      detail::read_int(archive, detail::kPowerMethodSGD, "method", 3));
  auto lrs = detail::read_doubles(archive, detail::kPowerMethodSGD, "lrs");
  const auto last_norm =
      detail::read_double(archive, detail::kPowerMethodSGD, "last_grad_norm");
  const auto usual_norm =
      detail::read_double(archive, detail::kPowerMethodSGD, "usual_norm");
  TORCH_CHECK(
      std::isfinite(usual_norm) && usual_norm >= 0,
      detail::kPowerMethodSGD,
      ": 'usual_norm' of the archive is no norm");
  const auto products =
      detail::read_int(archive, detail::kPowerMethodSGD, "products");
  const auto skipped =
      detail::read_int(archive, detail::kPowerMethodSGD, "skipped_steps");
  const auto unmeasured =
      detail::read_int(archive, detail::kPowerMethodSGD, "unmeasured_steps");
  const auto in_a_row =
      detail::read_int(archive, detail::kPowerMethodSGD, "unmeasured_in_a_row");
  const auto reason =
      detail::read_string(archive, detail::kPowerMethodSGD, "fallback_reason");
  return [this,
          tracker,
          method,
          lrs,
          last_norm,
          usual_norm,
          products,
          skipped,
          unmeasured,
          in_a_row,
          reason] {
    tracker_ = tracker;
    method_ = method;
    lrs_ = lrs;
    last_norm_ = last_norm;
    usual_norm_ = usual_norm;
    products_ = products;
    skipped_ = skipped;
    unmeasured_ = unmeasured;
    unmeasured_in_a_row_ = in_a_row;
    fallback_reason_ = reason;
  };
}

}  // namespace stepsize
