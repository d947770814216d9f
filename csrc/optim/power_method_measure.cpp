#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <stepsize/curvature/power_iteration.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/broadcast.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/kernels/grad_norm.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <string>
#include <utility>

#include "csrc/optim/power_method_update.h"
#include "csrc/optim/rank_evaluation.h"
#include "csrc/optim/state_tensor.h"

namespace stepsize {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr char kBackwardText[] =
    ": the closure must not call backward(): it returns the loss with its "
    "graph, and the gradient is computed by the step";

bool is_difference(HessianMethod method) {
  return method == HessianMethod::kFiniteDifference ||
         method == HessianMethod::kCentralDifference;
}

// What tells whether somebody has written to a gradient.
struct GradMark {
  const void* tensor = nullptr;
  uint32_t version = 0;

  explicit GradMark(const at::Tensor& parameter) {
    const at::Tensor& grad = parameter.grad();
    if (!grad.defined()) return;
    tensor = grad.unsafeGetTensorImpl();
    version = grad.unsafeGetTensorImpl()->version_counter().current_version();
  }

  bool operator!=(const GradMark& other) const {
    return tensor != other.tensor || version != other.version;
  }
};

// A finished backward pass shows in gradients that are new and not zero.
void check_no_backward(
    const TensorVector& parameters, const std::vector<GradMark>& before) {
  TensorVector changed;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& grad = parameters[i].grad();
    if (grad.defined() && before[i] != GradMark(parameters[i])) {
      changed.push_back(grad);
    }
  }
  TORCH_CHECK(
      changed.empty() || global_norm(changed).item<double>() == 0,
      detail::kPowerMethodSGD,
      kBackwardText);
}

bool any_defined(const TensorVector& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const auto& tensor) {
    return tensor.defined();
  });
}

bool has_graph(const TensorVector& gradients) {
  return std::any_of(gradients.begin(), gradients.end(), [](const auto& part) {
    return part.defined() && part.requires_grad();
  });
}

}  // namespace

void PowerMethodSGD::fall_back(const std::string& reason) {
  method_ = HessianMethod::kFiniteDifference;
  fallback_reason_ = reason;
}

// Gradients, loss and the ways to a product of this rank.
void PowerMethodSGD::evaluate_here(Update& update, const LossClosure& closure) {
  std::vector<GradMark> marks;
  marks.reserve(update.parameters.size());
  for (const auto& parameter : update.parameters) {
    marks.emplace_back(parameter);
  }
  const bool automatic = options_of(0).method() == HessianMethod::kAutomatic;
  if (update.due && (automatic || is_difference(method_))) {
    update.random_before.emplace(detail::generators_of(update.parameters));
  }
  bool exact = update.due && !is_difference(method_);
  const c10::AutoGradMode enable_grad(true);
  const at::Tensor loss = closure();
  TORCH_CHECK(
      loss.defined() && loss.numel() == 1 && loss.requires_grad(),
      detail::kPowerMethodSGD,
      ": the closure must return the loss as a scalar with its graph");
  check_no_backward(update.parameters, marks);
  const auto gradients_of = [&](bool create_graph) {
    return torch::autograd::grad(
        {loss.dim() == 0 ? loss : loss.reshape({})},
        update.parameters,
        /*grad_outputs=*/{},
        /*retain_graph=*/create_graph,
        create_graph,
        /*allow_unused=*/true);
  };
  try {
    try {
      update.gradients = gradients_of(exact);
    } catch (const std::exception& error) {
      if (!exact || !automatic) throw;
      // Some operators throw as soon as the gradient is to have a graph.
      update.gradients = gradients_of(false);
      update.graph_failure = error.what();
      exact = false;
    }
  } catch (const std::exception& error) {
    TORCH_CHECK(
        std::string(error.what()).find("a second time") == std::string::npos,
        detail::kPowerMethodSGD,
        kBackwardText);
    throw;
  }
  update.loss = loss.detach();
  if (exact) {
    update.graph = update.gradients;
    for (auto& gradient : update.gradients) {
      if (gradient.defined()) gradient = gradient.detach();
    }
    update.graphless = any_defined(update.graph) && !has_graph(update.graph);
  }
}

// Makes gradients and loss the means over ranks. Where one rank has no graph to
// measure by, none goes by its own.
void PowerMethodSGD::agree_on_gradients(
    Update& update, const std::exception_ptr& failure) {
  RankShare share;
  share.failure = failure;
  share.numbers = {0, 0, 0};
  share.common = detail::options_of(*this);
  share.common.emplace_back("whether a measurement is due", update.due);
  share.common.emplace_back(
      "start_products", static_cast<double>(options_of(0).start_products()));
  if (!failure) {
    share.tensors = update.gradients;
    share.numbers = {
        update.loss.item<double>(),
        update.graph_failure.empty() ? 0.0 : 1.0,
        update.graphless ? 1.0 : 0.0};
  }
  const RankMeans means = average(update.parameters, share, *reduction());
  update.own_gradients = std::exchange(update.gradients, means.tensors);
  update.loss = at::full_like(update.loss, means.numbers[0]);
  if (means.numbers[1] > 0 && update.graph_failure.empty()) {
    update.graph_failure = "the graph of another rank's gradient failed";
  }
  update.graphless = means.numbers[2] > 0;
}

void PowerMethodSGD::evaluate(Update& update, const LossClosure& closure) {
  const auto evaluate_and_check = [&] {
    if (update.refusal) std::rethrow_exception(update.refusal);
    evaluate_here(update, closure);
    for (std::size_t i = 0; i < update.gradients.size(); ++i) {
      const auto [group, position] = update.places[i];
      check_gradient(group, position, update.gradients[i]);
    }
  };
  if (reduction() != nullptr) {
    agree_on_gradients(update, reduction()->attempt(evaluate_and_check));
  } else {
    evaluate_and_check();
    update.own_gradients = update.gradients;
  }
  if (!update.graph_failure.empty()) {
    fall_back(update.graph_failure);
    update.graph.clear();
  }
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

// The last bit may differ where processors do, and all must decide alike.
double PowerMethodSGD::over_ranks(double own) const {
  return reduction() != nullptr ? reduction()->mean(own) : own;
}

void PowerMethodSGD::together(const std::function<void()>& work) const {
  reduction() != nullptr ? reduction()->together(work) : work();
}

double PowerMethodSGD::power_step(
    const LinearOperator& hessian, Update& update) {
  const std::size_t count = update.parameters.size();
  TensorVector start(count);
  TensorVector kept;
  bool all_used = true;
  for (std::size_t i = 0; i < count; ++i) {
    if (!update.gradients[i].defined()) {
      // The Hessian is zero there: the part waits for the parameter's return.
      all_used = false;
      continue;
    }
    const auto [group, position] = update.places[i];
    start[i] = group_state(group).slots[kVector][position];
    if (start[i].defined()) kept.push_back(start[i]);
  }
  if (!all_used && global_norm(kept).item<double>() == 0) {
    kept.clear();
    start.assign(count, at::Tensor());
  }
  // Parts of parameters that were not there, were frozen or had no gradient
  // until now.
  TensorVector drawn;
  for (std::size_t i = 0; i < count; ++i) {
    if (start[i].defined()) continue;
    start[i] = detail::new_state_like(update.parameters[i]);
    if (update.gradients[i].defined()) drawn.push_back(start[i]);
  }
  if (drawn.empty() && kept.empty()) {
    // The loss depends on no parameter.
    return 0;
  }
  if (!drawn.empty()) {
    auto generator = at::detail::createCPUGenerator(
        static_cast<uint64_t>(options_of(0).seed()));
    for (auto& part : drawn) {
      // Drawn on the CPU, so that a seed means the same everywhere.
      part.copy_(
          at::randn(part.sizes(), generator, at::TensorOptions(at::kDouble)));
    }
    if (reduction() != nullptr) broadcast_state(drawn, *reduction());
    const double length = global_norm(drawn).item<double>();
    if (!kept.empty() && length > 0) {
      // As much of what is new as of what is known.
      for (auto& part : drawn) part.div_(length);
    }
  }
  AgreeOnNumbers agree;
  if (reduction() != nullptr) {
    agree = [this](std::vector<double>& numbers) {
      RankShare share;
      share.numbers = numbers;
      numbers = average({}, share, *reduction()).numbers;
    };
  }
  const auto result = power_iteration(
      over_ranks(hessian),
      PowerIterationOptions()
          .max_iterations(
              drawn.empty() && tracker_.settled()
                  ? 1
                  : options_of(0).start_products())
          .tolerance(0)
          .initial(start),
      agree);
  products_ += result.iterations;
  if (result.status == CurvatureStatus::kNotFinite) return kNaN;
  for (std::size_t i = 0; i < update.parameters.size(); ++i) {
    if (!update.gradients[i].defined()) continue;
    const auto [group, position] = update.places[i];
    group_state(group).slots[kVector][position] =
        result.vector[i].to(detail::state_type(update.parameters[i]));
  }
  return result.magnitude;
}

double PowerMethodSGD::difference_step(
    Update& update, const LossClosure& closure) {
  const detail::RandomState after(detail::generators_of(update.parameters));
  // The same dropout masks as in the gradient at hand.
  update.random_before->restore();
  HessianOptions options;
  options.buffers(options_of(0).buffers())
      .method(
          is_difference(method_) ? method_ : HessianMethod::kFiniteDifference);
  if (options.method() == HessianMethod::kFiniteDifference) {
    TensorVector gradient = update.own_gradients;
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      if (!gradient[i].defined()) {
        gradient[i] = at::zeros_like(update.parameters[i]);
      }
    }
    options.gradient(std::move(gradient));
  }
  try {
    std::optional<LinearOperator> hessian;
    together([&] {
      hessian = hessian_operator(closure, update.parameters, options);
    });
    const double sharpness = power_step(*hessian, update);
    after.restore();
    return sharpness;
  } catch (...) {
    after.restore();
    throw;
  }
}

void PowerMethodSGD::measure(Update& update, const LossClosure& closure) {
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
      sharpness =
          power_step(hessian_operator(update.graph, update.parameters), update);
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
    sharpness = difference_step(update, closure);
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

}  // namespace stepsize
