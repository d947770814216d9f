#include <stepsize/adaptive/distance_adam.h>

#include <c10/core/GradMode.h>
#include <torch/serialize/archive.h>

#include <utility>

#include "csrc/adaptive/distance_estimate.h"
#include "csrc/core/archive.h"
#include "csrc/optim/rank_evaluation.h"

namespace stepsize {

DistanceAdam::DistanceAdam(
    std::unique_ptr<torch::optim::OptimizerOptions> defaults)
    : IndexedOptimizer(std::move(defaults)) {}

double DistanceAdam::d() const {
  if (d_ > 0) return d_;
  return d0(
      param_groups().empty() ? defaults() : param_groups().front().options());
}

at::Tensor DistanceAdam::step(LossClosure closure) {
  const at::Tensor loss = evaluate(closure);
  const c10::AutoGradMode no_grad(false);
  auto updates = coming_updates();
  const detail::GroupRates rates(param_groups());
  detail::drop_resting(rates, updates);
  if (updates.empty()) return loss;
  std::vector<double> sums = update_all(updates, rates);
  detail::agree_on(sums, reduction().get());
  take_over(std::move(updates));
  last_d_ = d();
  const Estimate estimate = renewed({last_d_, numerator_}, sums, rates);
  d_ = estimate.d;
  numerator_ = estimate.numerator;
  ++updates_;
  return loss;
}

void DistanceAdam::save_counters(
    torch::serialize::OutputArchive& archive) const {
  detail::write_double(archive, "d", d());
  detail::write_double(archive, "last_d", last_d_);
  detail::write_double(archive, "d_numerator", numerator_);
  detail::write_int(archive, "updates", updates_);
}

std::function<void()> DistanceAdam::read_counters(
    torch::serialize::InputArchive& archive) {
  const double d = detail::read_estimate(archive, kind(), "d");
  const double last = detail::read_double(archive, kind(), "last_d");
  const double numerator = detail::read_double(archive, kind(), "d_numerator");
  const int64_t updates = detail::read_int(archive, kind(), "updates");
  return [this, d, last, numerator, updates] {
    d_ = updates > 0 ? d : 0;
    last_d_ = last;
    numerator_ = numerator;
    updates_ = updates;
  };
}

}  // namespace stepsize
