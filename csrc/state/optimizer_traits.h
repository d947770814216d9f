#pragma once

#include <stepsize/state/optimizer_traits.h>

namespace stepsize::detail {

/// Makes the options of a group equal to `value`: in place where their class is
/// known, else by replacing them with a clone.
void assign_options(
    torch::optim::OptimizerParamGroup& group,
    const torch::optim::OptimizerOptions& value);

/// Throws c10::Error in the name of `kind`, naming class and reason, for an
/// optimizer that goes another way than along the gradient or measures a rate
/// itself, and for one of which nothing is known.
const OptimizerTraits& check_descends(
    const char* kind, const torch::optim::Optimizer& optimizer);
/// Whether it would not throw.
bool descends(const torch::optim::Optimizer& optimizer);

/// What a rule of descent along the gradient does besides.
struct DescentNumbers {
  double momentum = 0;
  /// Of the gradient that enters the buffer; 0 where there is no momentum.
  double dampening = 0;
  bool nesterov = false;
  /// The weight decay that is added to the gradient.
  double coupled_decay = 0;
};

DescentNumbers descent_numbers(
    const OptimizerTraits& traits,
    const torch::optim::OptimizerOptions& options);

}  // namespace stepsize::detail
