#pragma once

#include <stepsize/state/optimizer_traits.h>

#include <vector>

namespace stepsize::detail {

/// Makes the options of a group equal to `value`: in place where their class is
/// known, else by replacing them with a clone.
void assign_options(
    torch::optim::OptimizerParamGroup& group,
    const torch::optim::OptimizerOptions& value);

/// Throws c10::Error in the name of `kind`, naming class and reason, for an
/// optimizer whose largest stable rate no Hessian tells: it must go along the
/// gradient, or along one that it scales by a preconditioner that is known, and
/// not measure a rate itself.
const OptimizerTraits& check_follows_curvature(
    const char* kind, const torch::optim::Optimizer& optimizer);
/// Whether it goes along the gradient itself, and would not throw.
bool descends(const torch::optim::Optimizer& optimizer);

/// The parameters that require a gradient, by groups.
std::vector<at::Tensor> trained_parameters(
    const torch::optim::Optimizer& optimizer);

/// What a rule of descent along the gradient does besides.
struct DescentNumbers {
  double momentum = 0;
  /// Of the gradient that enters the buffer; 0 where there is no momentum.
  double dampening = 0;
  bool nesterov = false;
  /// Whether the gradient enters the buffer with 1 - momentum.
  bool is_mean = false;
  /// The weight decay that is added to the gradient.
  double coupled_decay = 0;
  /// Whether it goes up the gradient of the loss.
  bool maximizes = false;

  /// The share of the gradient that enters the buffer.
  double entering() const { return is_mean ? 1 - momentum : 1 - dampening; }
};

DescentNumbers descent_numbers(
    const OptimizerTraits& traits,
    const torch::optim::OptimizerOptions& options);

}  // namespace stepsize::detail
