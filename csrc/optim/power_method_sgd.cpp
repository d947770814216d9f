#include <stepsize/optim/power_method_sgd.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/curvature/power_iteration.h>
#include <stepsize/kernels/grad_norm.h>
#include <stepsize/kernels/sgd.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/serialize/archive.h>

#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/optim/default_random_state.h"
#include "csrc/optim/power_method_checks.h"
#include "csrc/optim/state_tensor.h"

namespace stepsize {
namespace {

constexpr const char* kKind = detail::kPowerMethodSGD;
// Between measurements a gradient this many times as long as usual is cut to
// that length, and the next update is measured: a spike of curvature would
// multiply the iterate in every update until then.
constexpr double kLongest = 2;
constexpr double kNormDecay = 0.9;

constexpr std::size_t kMomentum = 0;
constexpr std::size_t kVector = 1;

const PowerMethodSGDOptions& checked(const PowerMethodSGDOptions& options) {
  detail::check_power_method_options(options);
  return options;
}

bool is_difference(HessianMethod method) {
  return method == HessianMethod::kFiniteDifference ||
         method == HessianMethod::kCentralDifference;
}

// What tells whether somebody has written to a gradient.
struct GradMark {
  const void* tensor;
  int64_t version;

  explicit GradMark(const at::Tensor& parameter)
      : tensor(
            parameter.grad().defined() ? parameter.grad().unsafeGetTensorImpl()
                                       : nullptr),
        version(parameter.grad().defined() ? parameter.grad()._version() : 0) {}

  bool operator!=(const GradMark& other) const {
    return tensor != other.tensor || version != other.version;
  }
};

// A finished backward pass shows in gradients that are new and not zero.
void check_no_backward(
    const TensorVector& parameters, const std::vector<GradMark>& before) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& grad = parameters[i].grad();
    if (grad.defined() && before[i] != GradMark(parameters[i])) {
      TORCH_CHECK(
          !grad.ne(0).any().item<bool>(),
          kKind,
          ": the closure must not call backward(): it returns the loss with "
          "its graph, and the gradient is computed by the step");
    }
  }
}

}  // namespace

struct PowerMethodSGD::Update {
  TensorVector parameters;
  /// Group and position of each.
  std::vector<std::pair<std::size_t, std::size_t>> places;
  at::Tensor loss;
  /// Undefined where the loss does not depend on the parameter.
  TensorVector gradients;
  /// The same with their graph, where a product is to be exact.
  TensorVector graph;
  std::optional<detail::DefaultRandomState> random_before;
  /// Factor of the gradients; undefined for 1.
  at::Tensor scale;
};

PowerMethodSGD::PowerMethodSGD(
    std::vector<at::Tensor> parameters, const PowerMethodSGDOptions& options)
    : PowerMethodSGD(
          std::vector<torch::optim::OptimizerParamGroup>{
              torch::optim::OptimizerParamGroup(std::move(parameters))},
          options) {}

PowerMethodSGD::PowerMethodSGD(
    const std::vector<torch::optim::OptimizerParamGroup>& groups,
    const PowerMethodSGDOptions& defaults)
    : IndexedOptimizer(
          kKind,
          {"momentum_buffer", "power_vector"},
          std::make_unique<PowerMethodSGDOptions>(checked(defaults))),
      tracker_(defaults.tracker()),
      method_(defaults.method()) {
  add_groups(groups);
}

const PowerMethodSGDOptions& PowerMethodSGD::options_of(
    std::size_t group) const {
  return static_cast<const PowerMethodSGDOptions&>(
      param_groups()[group].options());
}

void PowerMethodSGD::check_options(
    const torch::optim::OptimizerOptions& options) const {
  const auto* own = dynamic_cast<const PowerMethodSGDOptions*>(&options);
  TORCH_CHECK(
      own != nullptr,
      kKind,
      ": the options of a parameter group must be PowerMethodSGDOptions");
  detail::check_power_method_options(*own);
}

void PowerMethodSGD::check_agreement(
    const torch::optim::OptimizerOptions& first,
    const torch::optim::OptimizerOptions& other) const {
  TORCH_CHECK(
      detail::same_measurement(
          static_cast<const PowerMethodSGDOptions&>(first),
          static_cast<const PowerMethodSGDOptions&>(other)),
      kKind,
      ": tracker, start_products, method and seed must be the same in all "
      "parameter groups");
}

double PowerMethodSGD::current_lr(std::size_t group) const {
  TORCH_CHECK(
      group < param_groups().size(),
      kKind,
      ": there is no parameter group ",
      std::to_string(group));
  return group < lrs_.size() ? lrs_[group] : 0.0;
}

void PowerMethodSGD::evaluate(Update& update, const LossClosure& closure) {
  std::vector<GradMark> marks;
  for (const auto& parameter : update.parameters) {
    marks.emplace_back(parameter);
  }
  const bool due = tracker_.due();
  if (due && method_ != HessianMethod::kExact) {
    update.random_before.emplace(update.parameters);
  }
  bool exact = due && !is_difference(method_);
  const c10::AutoGradMode enable_grad(true);
  const at::Tensor loss = closure();
  TORCH_CHECK(
      loss.defined() && loss.numel() == 1 && loss.requires_grad(),
      kKind,
      ": the closure must return the loss as a scalar with its graph");
  check_no_backward(update.parameters, marks);
  const auto gradients_of = [&](bool create_graph) {
    return torch::autograd::grad(
        {loss.reshape({})},
        update.parameters,
        /*grad_outputs=*/{},
        /*retain_graph=*/create_graph,
        create_graph,
        /*allow_unused=*/true);
  };
  try {
    try {
      update.gradients = gradients_of(exact);
    } catch (const std::exception&) {
      if (!exact || method_ == HessianMethod::kExact) throw;
      // Some operators throw as soon as the gradient is to have a graph.
      update.gradients = gradients_of(false);
      method_ = HessianMethod::kFiniteDifference;
      exact = false;
    }
  } catch (const std::exception& error) {
    TORCH_CHECK(
        std::string(error.what()).find("a second time") == std::string::npos,
        kKind,
        ": the closure must not call backward(): it returns the loss with its "
        "graph, and the gradient is computed by the step");
    throw;
  }
  update.loss = loss.detach();
  if (exact) {
    update.graph = update.gradients;
    for (auto& gradient : update.gradients) {
      if (gradient.defined()) gradient = gradient.detach();
    }
  }
}

double PowerMethodSGD::power_step(
    const LinearOperator& hessian, Update& update) {
  const bool first = !tracker_.started();
  const auto& options = options_of(0);
  TensorVector start;
  bool any = false;
  for (std::size_t i = 0; i < update.parameters.size(); ++i) {
    const auto [group, position] = update.places[i];
    const at::Tensor& kept = group_state(group).slots[kVector][position];
    const at::Tensor& parameter = update.parameters[i];
    if (kept.defined()) {
      start.push_back(kept);
      any = true;
    } else {
      start.push_back(detail::new_state_like(parameter));
    }
  }
  if (!any) {
    auto generator =
        at::detail::createCPUGenerator(static_cast<uint64_t>(options.seed()));
    for (auto& part : start) {
      // Drawn on the CPU, so that a seed means the same everywhere.
      part.copy_(
          at::randn(part.sizes(), generator, at::TensorOptions(at::kDouble)));
    }
  }
  const auto result = power_iteration(
      hessian,
      PowerIterationOptions()
          .max_iterations(first ? options.start_products() : 1)
          .tolerance(0)
          .initial(start));
  products_ += result.iterations;
  if (result.status == CurvatureStatus::kNotFinite) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  for (std::size_t i = 0; i < update.parameters.size(); ++i) {
    const auto [group, position] = update.places[i];
    group_state(group).slots[kVector][position] = result.vector[i];
  }
  return result.magnitude;
}

void PowerMethodSGD::measure(Update& update, const LossClosure& closure) {
  double sharpness = 0;
  bool exact = !is_difference(method_);
  if (exact) {
    try {
      sharpness =
          power_step(hessian_operator(update.graph, update.parameters), update);
    } catch (const std::exception&) {
      if (method_ == HessianMethod::kExact) throw;
      exact = false;
    }
    update.graph.clear();
    if (method_ == HessianMethod::kAutomatic) {
      method_ =
          exact ? HessianMethod::kExact : HessianMethod::kFiniteDifference;
    }
  }
  if (!exact) {
    detail::DefaultRandomState after(update.parameters);
    // The same dropout masks as in the gradient at hand.
    update.random_before->restore();
    TensorVector gradient = update.gradients;
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      if (!gradient[i].defined()) {
        gradient[i] = at::zeros_like(update.parameters[i]);
      }
    }
    HessianOptions options;
    options.method(method_).buffers(options_of(0).buffers());
    if (method_ == HessianMethod::kFiniteDifference) {
      options.gradient(std::move(gradient));
    }
    try {
      sharpness = power_step(
          hessian_operator(closure, update.parameters, options), update);
    } catch (...) {
      after.restore();
      throw;
    }
    after.restore();
  }
  // A curvature that is no number leaves the rate as it is, and is measured
  // again in the next update.
  if (std::isfinite(sharpness)) {
    tracker_.measure(sharpness);
  }
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
    const double widened =
        max_stable_lr(2.0, options.momentum(), options.nesterov());
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
    if (numbers.momentum == 0) {
      sgd_step(parameters, gradients[group], {}, {}, numbers, update.scale);
      continue;
    }
    auto& buffers = group_state(group).slots[kMomentum];
    detail::FirstSteps first(buffers.size());
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      if (!buffers[i].defined() && gradients[group][i].defined()) {
        buffers[i] = detail::new_state_like(parameters[i]);
        first.set(i);
      }
    }
    sgd_step(
        parameters,
        gradients[group],
        buffers,
        first.flags(),
        numbers,
        update.scale);
  }
}

at::Tensor PowerMethodSGD::step(LossClosure closure) {
  TORCH_CHECK(
      closure != nullptr,
      kKind,
      ": step() wants a closure that returns the loss with its graph");
  check_all_options();
  tracker_.set_options(options_of(0).tracker());
  Update update;
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
      !update.parameters.empty(), kKind, ": no parameter requires a gradient");
  evaluate(update, closure);
  for (std::size_t i = 0; i < update.gradients.size(); ++i) {
    const auto& gradient = update.gradients[i];
    TORCH_CHECK(
        !gradient.defined() || gradient.layout() == at::kStrided,
        kKind,
        ": gradients must be dense; parameter ",
        std::to_string(update.places[i].second),
        " of group ",
        std::to_string(update.places[i].first),
        " has one of layout ",
        gradient.layout());
  }
  const c10::AutoGradMode no_grad(false);
  const at::Tensor norm = global_norm(update.gradients);
  const double length = norm.item<double>();
  if (!std::isfinite(length)) {
    ++skipped_;
    return update.loss;
  }
  if (tracker_.due()) {
    measure(update, closure);
  } else if (length > kLongest * usual_norm_) {
    update.scale = clip_coefficient(norm, kLongest * usual_norm_);
    tracker_.hurry();
  }
  if (!tracker_.started()) {
    // Not one product was finite: there is no rate to step with.
    ++skipped_;
    return update.loss;
  }
  apply(update);
  usual_norm_ = usual_norm_ > 0
                    ? kNormDecay * usual_norm_ + (1 - kNormDecay) * length
                    : length;
  return update.loss;
}

void PowerMethodSGD::save_counters(
    torch::serialize::OutputArchive& archive) const {
  detail::write_doubles(archive, "tracker", tracker_.state());
  detail::write_int(archive, "method", static_cast<int64_t>(method_));
  detail::write_doubles(archive, "lrs", lrs_);
  detail::write_double(archive, "usual_norm", usual_norm_);
  detail::write_int(archive, "products", products_);
  detail::write_int(archive, "skipped_steps", skipped_);
}

std::function<void()> PowerMethodSGD::read_counters(
    torch::serialize::InputArchive& archive) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  SharpnessTracker tracker(tracker_.options());
  tracker.restore(detail::read_doubles(archive, kKind, "tracker"));
  const auto method =
      static_cast<HessianMethod>(detail::read_int(archive, kKind, "method", 3));
  auto lrs = detail::read_doubles(archive, kKind, "lrs");
  const auto usual_norm = detail::read_double(archive, kKind, "usual_norm");
  TORCH_CHECK(
      std::isfinite(usual_norm) && usual_norm >= 0,
      kKind,
      ": 'usual_norm' of the archive is no norm");
  const auto products = detail::read_int(archive, kKind, "products", kMost);
  const auto skipped = detail::read_int(archive, kKind, "skipped_steps", kMost);
  return [this, tracker, method, lrs, usual_norm, products, skipped] {
    tracker_ = tracker;
    method_ = method;
    lrs_ = lrs;
    usual_norm_ = usual_norm;
    products_ = products;
    skipped_ = skipped;
  };
}

}  // namespace stepsize
