#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <stepsize/curvature/power_iteration.h>
#include <stepsize/kernels/grad_norm.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <string>
#include <utility>

#include "csrc/optim/power_method_checks.h"
#include "csrc/optim/power_method_update.h"
#include "csrc/optim/state_tensor.h"

namespace stepsize {
namespace {

constexpr const char* kKind = detail::kPowerMethodSGD;
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
      kKind,
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

void PowerMethodSGD::evaluate(Update& update, const LossClosure& closure) {
  std::vector<GradMark> marks;
  marks.reserve(update.parameters.size());
  for (const auto& parameter : update.parameters) {
    marks.emplace_back(parameter);
  }
  const bool automatic = options_of(0).method() == HessianMethod::kAutomatic;
  if (update.due && (automatic || is_difference(method_))) {
    update.random_before.emplace(update.parameters);
  }
  bool exact = update.due && !is_difference(method_);
  const c10::AutoGradMode enable_grad(true);
  const at::Tensor loss = closure();
  TORCH_CHECK(
      loss.defined() && loss.numel() == 1 && loss.requires_grad(),
      kKind,
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
      fall_back(error.what());
      exact = false;
    }
  } catch (const std::exception& error) {
    TORCH_CHECK(
        std::string(error.what()).find("a second time") == std::string::npos,
        kKind,
        kBackwardText);
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
    const double length = global_norm(drawn).item<double>();
    if (!kept.empty() && length > 0) {
      // As much of what is new as of what is known.
      for (auto& part : drawn) part.div_(length);
    }
  }
  const auto result = power_iteration(
      hessian,
      PowerIterationOptions()
          .max_iterations(
              drawn.empty() && tracker_.settled()
                  ? 1
                  : options_of(0).start_products())
          .tolerance(0)
          .initial(start));
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
  detail::DefaultRandomState after(update.parameters);
  // The same dropout masks as in the gradient at hand.
  update.random_before->restore();
  HessianOptions options;
  options.buffers(options_of(0).buffers())
      .method(
          is_difference(method_) ? method_ : HessianMethod::kFiniteDifference);
  if (options.method() == HessianMethod::kFiniteDifference) {
    TensorVector gradient = update.gradients;
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      if (!gradient[i].defined()) {
        gradient[i] = at::zeros_like(update.parameters[i]);
      }
    }
    options.gradient(std::move(gradient));
  }
  try {
    const double sharpness = power_step(
        hessian_operator(closure, update.parameters, options), update);
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
  if (automatic && any_defined(update.graph) && !has_graph(update.graph)) {
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
