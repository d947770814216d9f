#include <stepsize/adaptive/hypergradient_rates.h>

#include <c10/util/Exception.h>

#include <cmath>
#include <limits>
#include <utility>

#include "csrc/core/archive.h"

namespace stepsize {

double HypergradientRates::current(std::size_t group, double lr) const {
  return group < rates_.size() && rates_[group].set == lr ? rates_[group].now
                                                          : lr;
}

double HypergradientRates::renew(
    std::size_t group,
    double lr,
    const Sums& sums,
    double hypergrad_lr,
    HypergradientForm form) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  if (group >= rates_.size()) rates_.resize(group + 1, {kNone, kNone});
  Rate& rate = rates_[group];
  if (rate.set != lr) {
    rate = {lr, lr};
    return lr;
  }
  if (form == HypergradientForm::kAdditive) {
    rate.now += hypergrad_lr * sums.dot;
    return rate.now;
  }
  const double norms = std::sqrt(sums.gradient) * std::sqrt(sums.direction);
  if (norms != 0) rate.now *= 1 + hypergrad_lr * sums.dot / norms;
  return rate.now;
}

void HypergradientRates::save(
    torch::serialize::OutputArchive& archive, std::size_t groups) const {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> now(groups, kNone);
  std::vector<double> set(groups, kNone);
  for (std::size_t g = 0; g < groups && g < rates_.size(); ++g) {
    now[g] = rates_[g].now;
    set[g] = rates_[g].set;
  }
  detail::write_doubles(archive, "rates", now);
  detail::write_doubles(archive, "rates_set", set);
}

std::function<void()> HypergradientRates::read(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    std::size_t groups) {
  const auto now = detail::read_doubles(archive, kind, "rates");
  const auto set = detail::read_doubles(archive, kind, "rates_set");
  TORCH_CHECK(
      now.size() == groups && set.size() == groups,
      kind,
      ": the archive has rates of ",
      now.size(),
      " parameter groups, the optimizer ",
      groups);
  std::vector<Rate> rates;
  for (std::size_t g = 0; g < groups; ++g) rates.push_back({now[g], set[g]});
  return [this, rates] { rates_ = rates; };
}

}  // namespace stepsize
