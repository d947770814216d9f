#pragma once

#include <stepsize/lr_scheduler/lambda_lr.h>

#include <utility>
#include <vector>

namespace stepsize {

/// Options of MultiplicativeLR.
class MultiplicativeLROptions {
 public:
  /// One function for all groups. It returns a finite factor >= 0.
  MultiplicativeLROptions(LRLambda lr_lambda)  // NOLINT: implicit
      : lr_lambdas_{std::move(lr_lambda)} {}
  /// One function a group.
  MultiplicativeLROptions(std::vector<LRLambda> lr_lambdas)  // NOLINT: implicit
      : lr_lambdas_(std::move(lr_lambdas)), is_list_(true) {}

  /// Throws c10::Error where a function is empty or the list is.
  LRRule rule() const;

 private:
  std::vector<LRLambda> lr_lambdas_;
  bool is_list_ = false;
};

/// lr(t) = base_lr * lr_lambda(1) * lr_lambda(2) * ... * lr_lambda(t). Python:
/// torch.optim.lr_scheduler.MultiplicativeLR.
///
/// A step costs one call of the function; a seek to t up to t calls. Errors
/// and state are as for LambdaLR.
class MultiplicativeLR : public RuleLR {
 public:
  MultiplicativeLR(
      torch::optim::Optimizer& optimizer,
      const MultiplicativeLROptions& options);
};

}  // namespace stepsize
