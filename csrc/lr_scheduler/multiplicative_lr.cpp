#include <stepsize/lr_scheduler/multiplicative_lr.h>

#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {

LRRule MultiplicativeLROptions::rule() const {
  const std::string kind = "MultiplicativeLR";
  return detail::make_product_rule(
      detail::lambda_options(kind, lr_lambdas_, is_list_),
      lr_lambdas_,
      is_list_);
}

MultiplicativeLR::MultiplicativeLR(
    torch::optim::Optimizer& optimizer, const MultiplicativeLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
