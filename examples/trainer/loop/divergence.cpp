#include "examples/trainer/loop/divergence.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "examples/trainer/cli/text.h"

namespace stepsize::trainer {
namespace {

std::string diverged_message(
    const StepResult& result, const char* when, double lr_before) {
  return format(
             "the loss diverged: it was %g %s update %lld (epoch %lld), ",
             result.loss,
             when,
             static_cast<long long>(result.step),
             static_cast<long long>(result.epoch)) +
         (lr_before > 0 ? format("after one at the learning rate %g", lr_before)
                        : "before any was made");
}

}  // namespace

DivergedError::DivergedError(const StepResult& result, double lr_before)
    : DivergedError(result, "at", lr_before, result.step - 1) {}

DivergedError::DivergedError(const EpochResult& result)
    : DivergedError(
          StepResult{result.epoch, result.step, result.lr, result.test_loss},
          "in the test after",
          result.lr,
          result.step) {}

DivergedError::DivergedError(
    const StepResult& result,
    const char* when,
    double lr_before,
    std::int64_t lost_after)
    : std::runtime_error(diverged_message(result, when, lr_before)),
      result_(result),
      lost_after_(lost_after) {}

bool is_hopeless(double loss, std::int64_t classes) {
  constexpr double kTimesAGuess = 1000;
  // A single class has a guess of 0.
  const double guess =
      std::log(static_cast<double>(std::max<std::int64_t>(classes, 2)));
  return !std::isfinite(loss) || loss > kTimesAGuess * guess;
}

}  // namespace stepsize::trainer
