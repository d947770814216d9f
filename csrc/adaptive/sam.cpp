#include <stepsize/adaptive/sam.h>

#include <ATen/Functions.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/kernels/grad_norm.h>
#include <stepsize/optim/indexed_optimizer.h>
#include <stepsize/state/optimizer_traits.h>

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "csrc/core/check.h"
#include "csrc/core/overlap.h"
#include "csrc/optim/operand_checks.h"
#include "csrc/optim/rank_evaluation.h"
#include "csrc/state/random_state.h"

namespace stepsize {
namespace {

constexpr char kSAM[] = "SAM";

void check_sam_number(const char* option, double value) {
  detail::check_option(
      std::isfinite(value) && value >= 0,
      kSAM,
      option,
      "finite and >= 0",
      value);
}

torch::optim::Optimizer& checked_for_sam(torch::optim::Optimizer& optimizer) {
  const OptimizerTraits* const traits = find_traits(optimizer);
  TORCH_CHECK(
      traits == nullptr ||
          (!traits->wants_graph() &&
           traits->closure_calls() != ClosureCalls::kManyTimes),
      kSAM,
      ": cannot step ",
      traits == nullptr ? "" : traits->name(),
      ", which needs the closure itself");
  return optimizer;
}

void check_sam_gradients(const torch::optim::Optimizer& optimizer) {
  const auto& groups = optimizer.param_groups();
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto& parameters = groups[g].params();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const at::Tensor& gradient = parameters[i].grad();
      if (!gradient.defined()) continue;
      detail::check_gradient_fits(kSAM, {g, i}, gradient, parameters[i]);
    }
  }
}

// Of the type that is computed in.
at::Tensor widened_for_sam(
    const at::Tensor& tensor, const at::Tensor& parameter) {
  return tensor.to(detail::state_type(parameter));
}

}  // namespace

SAMOptions::SAMOptions(double rho) : rho_(rho) {}

SAM::SAM(torch::optim::Optimizer& optimizer, const SAMOptions& options)
    : optimizer_(&checked_for_sam(optimizer)), options_(options) {
  check_sam_number("rho", options.rho());
  check_sam_number("eta", options.eta());
}

void SAM::set_rho(double rho) {
  check_sam_number("rho", rho);
  options_.rho(rho);
}

void SAM::set_reduction(std::shared_ptr<Reduction> reduction) {
  reduction_ = std::move(reduction);
}

Reduction* SAM::reduction() const {
  if (reduction_ != nullptr) return reduction_.get();
  const auto* known = dynamic_cast<const IndexedOptimizer*>(optimizer_);
  return known == nullptr ? nullptr : known->reduction().get();
}

// Takes parameters uphill, and puts all back when it goes.
class SAM::Ascent {
 public:
  // `direction`: T g, one a parameter; undefined where there is none. The
  // random state becomes that of `before`.
  Ascent(
      const SAM& sam,
      const std::vector<at::Tensor>& parameters,
      const TensorVector& direction,
      double norm,
      const detail::RandomState& before)
      : Ascent(sam, parameters, direction) {
    // Autocast keeps what it has cast by the tensor's identity.
    at::autocast::clear_cache();
    const c10::AutoGradMode no_grad(false);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (!direction[i].defined()) continue;
      at::Tensor parameter = parameters[i];
      at::Tensor wide = widened_for_sam(parameter, parameter);
      // First the division: of a small norm alone float32 has no inverse.
      at::Tensor step = direction[i] / norm;
      if (sam.options_.adaptive()) {
        step.mul_(wide.abs().add_(sam.options_.eta()));
      }
      wide.add_(step, sam.options_.rho());
      if (!wide.is_same(parameter)) parameter.copy_(wide);
    }
    before.restore();
  }
  ~Ascent() {
    at::autocast::clear_cache();
    after_.restore();
    const c10::AutoGradMode no_grad(false);
    for (auto& [tensor, copy] : kept_) detail::put_back(tensor, copy);
  }
  Ascent(const Ascent&) = delete;
  Ascent& operator=(const Ascent&) = delete;

 private:
  // What throws in the other constructor is undone: this one is over by then.
  Ascent(
      const SAM& sam,
      const std::vector<at::Tensor>& parameters,
      const TensorVector& direction)
      : after_(detail::generators_of(parameters)) {
    for (const at::Tensor& buffer : sam.options_.buffers()) {
      if (buffer.defined()) kept_.emplace_back(buffer, buffer.detach().clone());
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (!direction[i].defined()) continue;
      kept_.emplace_back(parameters[i], parameters[i].detach().clone());
    }
  }

  detail::RandomState after_;
  std::vector<std::pair<at::Tensor, at::Tensor>> kept_;
};

TensorVector SAM::scaled_gradients() const {
  const c10::AutoGradMode no_grad(false);
  TensorVector scaled;
  for (const at::Tensor& parameter : detail::parameters_of(*optimizer_)) {
    at::Tensor gradient = parameter.grad();
    if (gradient.defined()) {
      gradient = widened_for_sam(gradient.detach(), parameter);
      if (options_.adaptive()) {
        gradient = widened_for_sam(parameter.detach(), parameter).abs() +
                   options_.eta();
        gradient.mul_(parameter.grad());
      }
    }
    scaled.push_back(std::move(gradient));
  }
  return scaled;
}

at::Tensor SAM::step(const torch::optim::Optimizer::LossClosure& closure) {
  TORCH_CHECK(
      closure != nullptr,
      kSAM,
      ": step() wants a closure, which it calls at two points");
  Reduction* const ranks = reduction();
  const auto evaluate = [&] {
    return detail::evaluate_gradients(
        closure,
        [this] { check_sam_gradients(*optimizer_); },
        *optimizer_,
        ranks);
  };
  const auto parameters = detail::parameters_of(*optimizer_);
  const detail::RandomState before(detail::generators_of(parameters));
  const at::Tensor loss = evaluate();
  {
    const TensorVector direction = scaled_gradients();
    std::vector<at::Tensor> defined;
    for (const at::Tensor& own : direction) {
      if (own.defined()) defined.push_back(own);
    }
    double norm = defined.empty() ? 0 : global_norm(defined).item<double>();
    // Processors may differ in the last bit, and must not decide otherwise.
    if (ranks != nullptr) norm = ranks->mean(norm);
    last_norm_ = norm;
    const bool climbs = std::isfinite(norm) && norm > 0;
    if (!climbs) ++skipped_;
    if (climbs && options_.rho() > 0) {
      const Ascent here(*this, parameters, direction, norm, before);
      optimizer_->zero_grad();
      evaluate();
    }
  }
  optimizer_->step();
  return loss;
}

}  // namespace stepsize
