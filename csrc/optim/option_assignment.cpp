#include "csrc/optim/option_assignment.h"

#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <typeinfo>

namespace stepsize::detail {
namespace {

using torch::optim::OptimizerOptions;

// Where both are of this very class: a subclass may hold more.
template <typename Options>
bool assigned(OptimizerOptions& to, const OptimizerOptions& from) {
  if (typeid(to) != typeid(Options) || typeid(from) != typeid(Options)) {
    return false;
  }
  static_cast<Options&>(to) = static_cast<const Options&>(from);
  return true;
}

template <typename... Options>
bool any_assigned(OptimizerOptions& to, const OptimizerOptions& from) {
  return (assigned<Options>(to, from) || ...);
}

}  // namespace

void assign_options(
    torch::optim::OptimizerParamGroup& group, const OptimizerOptions& value) {
  using namespace torch::optim;
  const bool done =
      group.has_options() && any_assigned<
                                 SGDOptions,
                                 AdamOptions,
                                 AdamWOptions,
                                 RMSpropOptions,
                                 AdagradOptions,
                                 LBFGSOptions,
                                 ClippedSGDOptions,
                                 ClippedAdamWOptions,
                                 PowerMethodSGDOptions,
                                 RollbackSGDOptions>(group.options(), value);
  if (!done) {
    group.set_options(value.clone());
  }
}

}  // namespace stepsize::detail
