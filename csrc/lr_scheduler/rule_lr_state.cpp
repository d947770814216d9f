#include <c10/util/Exception.h>
#include <stepsize/lr_scheduler/rule_lr.h>

#include <cstddef>
#include <utility>

#include "csrc/lr_scheduler/archive.h"
#include "csrc/lr_scheduler/time_map.h"

namespace stepsize {

void RuleLR::save_state(torch::serialize::OutputArchive& archive) const {
  std::vector<double> knots;
  for (const Knot& knot : knots_) {
    knots.push_back(knot.t);
    knots.push_back(knot.u);
  }
  detail::write_int(archive, "started", started_ ? 1 : 0);
  detail::write_int(archive, "bound_groups", bound_groups_);
  detail::write_doubles(archive, "base_lrs", base_lrs_);
  detail::write_doubles(archive, "base_momenta", base_momenta_);
  detail::write_doubles(archive, "last_momenta", last_momenta_);
  detail::write_doubles(archive, "knots", knots);
}

void RuleLR::load_state(
    torch::serialize::InputArchive& archive,
    const std::vector<double>& last_lrs) {
  const auto doubles = [&](const char* key) {
    auto values = detail::read_doubles(archive, kind(), key);
    detail::check_finite(kind(), key, values);
    return values;
  };
  const auto check_size = [&](const std::vector<double>& values,
                              const char* key,
                              std::size_t expected) {
    TORCH_CHECK(
        values.size() == expected,
        kind(),
        ": '",
        key,
        "' of the archive has ",
        values.size(),
        " values, expected ",
        expected);
  };

  const bool started = detail::read_int(archive, kind(), "started") != 0;
  const int64_t bound = detail::read_int(archive, kind(), "bound_groups");
  auto base_lrs = doubles("base_lrs");
  auto base_momenta = doubles("base_momenta");
  auto last_momenta = doubles("last_momenta");
  const auto flat_knots = doubles("knots");

  const std::size_t groups = last_lrs.size();
  TORCH_CHECK(
      bound >= 0 && bound <= static_cast<int64_t>(groups),
      kind(),
      ": 'bound_groups' of the archive must be in [0, ",
      groups,
      "], got ",
      bound);
  check_size(base_lrs, "base_lrs", groups);
  const MomentumAccess* access = rule_.momentum_access();
  check_size(base_momenta, "base_momenta", access != nullptr ? groups : 0);
  check_size(last_momenta, "last_momenta", base_momenta.size());
  std::vector<Knot> knots;
  for (std::size_t i = 0; i + 1 < flat_knots.size(); i += 2) {
    knots.push_back({flat_knots[i], flat_knots[i + 1]});
  }
  TORCH_CHECK(
      flat_knots.size() % 2 == 0 && detail::is_time_map(knots),
      kind(),
      ": 'knots' of the archive are no map of time");
  auto& param_groups = optimizer().param_groups();
  if (access != nullptr) {
    for (std::size_t i = 0; i < groups; ++i) {
      TORCH_CHECK(
          access->get(param_groups[i].options()).has_value(),
          kind(),
          ": the options of parameter group ",
          i,
          " have no momentum known to momentum_access");
    }
    for (std::size_t i = 0; i < groups; ++i) {
      access->set(param_groups[i].options(), last_momenta[i]);
    }
  }
  started_ = started;
  bound_groups_ = bound;
  base_lrs_ = std::move(base_lrs);
  base_momenta_ = std::move(base_momenta);
  last_momenta_ = std::move(last_momenta);
  knots_ = std::move(knots);
}

}  // namespace stepsize
