#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>

#include <functional>
#include <utility>
#include <vector>

namespace stepsize {

/// A user's function of the step: of a whole number, unless a schedule that
/// holds it was extended, which stretches time. It must be pure, or a seek
/// and a resumed run differ from an unbroken one. A function of an integer
/// (`[](int64_t epoch) { ... }`) will do.
using LRLambda = std::function<double(double)>;

/// Options of LambdaLR.
class LambdaLROptions {
 public:
  /// One function for all groups. It returns a finite factor >= 0.
  LambdaLROptions(LRLambda lr_lambda)  // NOLINT: implicit, as in LibTorch
      : lr_lambdas_{std::move(lr_lambda)} {}
  /// One function a group.
  LambdaLROptions(std::vector<LRLambda> lr_lambdas)  // NOLINT: implicit
      : lr_lambdas_(std::move(lr_lambdas)), is_list_(true) {}

  /// Throws c10::Error where a function is empty or the list is.
  LRRule rule() const;

 private:
  std::vector<LRLambda> lr_lambdas_;
  bool is_list_ = false;
};

/// lr(t) = base_lr * lr_lambda(t). Python: torch.optim.lr_scheduler.LambdaLR.
///
///     LambdaLR scheduler(optimizer, LambdaLROptions([](double epoch) {
///       return std::pow(0.95, epoch);
///     }));
///
/// step() throws c10::Error, having changed nothing, where the function
/// returns what is no factor; what the function throws passes through. The
/// state of the function is not saved, and a saved state fits every LambdaLR.
class LambdaLR : public RuleLR {
 public:
  LambdaLR(torch::optim::Optimizer& optimizer, const LambdaLROptions& options);
};

}  // namespace stepsize
