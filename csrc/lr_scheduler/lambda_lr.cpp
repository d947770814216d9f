#include <stepsize/lr_scheduler/lambda_lr.h>

#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {

LRRule LambdaLROptions::rule() const {
  const std::string kind = "LambdaLR";
  return detail::make_function_rule(
      detail::lambda_options(kind, lr_lambdas_, is_list_),
      lr_lambdas_,
      is_list_);
}

LambdaLR::LambdaLR(
    torch::optim::Optimizer& optimizer, const LambdaLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
